//! Where host functions that suspend guests run: futures within a tokio runtime, blocking closures on helper threads.
//!
//! It does not know which functions these are, nor who waits for them.

use crate::error::Error;
use crate::options::Options;
use crate::system::background::Background;
#[cfg(feature = "tokio")]
use crate::system::reactor::Reactor;

/// How many helper threads may be abandoned, because their call ended before the host function returned, and be replaced by
/// others.
const MAX_ABANDONED: usize = 64;

/// What a pool needs to run host functions that suspend guests. Nothing is started before it is needed.
#[derive(Debug)]
pub(crate) struct HostRuntime {
    helpers: Background,
    #[cfg(feature = "tokio")]
    reactor: Reactor,
}

impl HostRuntime {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            helpers: Background::replacing(
                "wpc-blocking",
                options.max_helper_threads,
                MAX_ABANDONED,
            ),
            #[cfg(feature = "tokio")]
            reactor: Reactor::new(options.runtime.clone()),
        }
    }

    /// How many helper threads are abandoned.
    pub(crate) fn abandoned_helpers(&self) -> usize {
        self.helpers.abandoned()
    }

    pub(super) fn helpers(&self) -> &Background {
        &self.helpers
    }

    /// Runs `run` within the tokio runtime, so that it finds its timers and sockets.
    ///
    /// # Errors
    ///
    /// The runtime is started when it is first needed, which fails if the operating system allows no further thread.
    #[cfg(feature = "tokio")]
    pub(super) fn within<T>(&self, run: impl FnOnce() -> T) -> Result<T, Error> {
        self.reactor.within(run)
    }

    /// Runs `run`; this build has no tokio runtime.
    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unnecessary_wraps, reason = "with a runtime it may fail")]
    pub(super) fn within<T>(&self, run: impl FnOnce() -> T) -> Result<T, Error> {
        Ok(run())
    }
}
