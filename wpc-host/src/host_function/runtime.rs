//! Runs host functions that suspend guests: futures within a tokio runtime, blocking closures on helper threads.
//!
//! It does not depend on which functions these are, or on what waits for them.

use crate::error::Error;
use crate::options::Options;
use crate::system::background::Background;
#[cfg(feature = "wasi")]
use crate::system::background::Dropped;
#[cfg(all(feature = "tokio", feature = "wasi"))]
use crate::system::contain::contain;
#[cfg(feature = "tokio")]
use crate::system::reactor::Reactor;
#[cfg(all(feature = "tokio", feature = "wasi"))]
use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    task::{Context, Poll},
    time::Instant,
};

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

    /// Runs a task that may block on a helper thread. If the future is dropped before the task has begun, the task does not
    /// run. If it is dropped before the task has ended, the task's thread is abandoned.
    ///
    /// # Errors
    ///
    /// No helper thread runs, and the operating system allows no further one.
    #[cfg(feature = "wasi")]
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.helpers.run(Dropped::IsWithdrawn, |_| Ok(task()))?.await
    }

    /// Like [`run_blocking`](Self::run_blocking), for a task that begins even if the future is dropped.
    #[cfg(feature = "wasi")]
    pub(crate) async fn begin_blocking<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.helpers.run(Dropped::IsAbandoned, |_| Ok(task()))?.await
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

    /// Waits until `until`. Returns false if the runtime has no timers, or was shut down.
    ///
    /// # Errors
    ///
    /// Those of [`within`](Self::within).
    #[cfg(all(feature = "tokio", feature = "wasi"))]
    pub(crate) async fn sleep_until(&self, until: Instant) -> Result<bool, Error> {
        // Tokio panics if the embedder's runtime has no timers, and when it is shut down.
        let timer = self.within(|| contain(|| tokio::time::sleep_until(until.into())))?;
        let Ok(timer) = timer else { return Ok(false) };
        let mut timer = pin!(timer);
        let polled = |task: &mut Context<'_>| match contain(|| timer.as_mut().poll(task)) {
            Ok(polled) => polled.map(|()| true),
            Err(_) => Poll::Ready(false),
        };
        Ok(poll_fn(polled).await)
    }

    /// Runs `run`; this build has no tokio runtime.
    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unnecessary_wraps, reason = "with a runtime it may fail")]
    pub(super) fn within<T>(&self, run: impl FnOnce() -> T) -> Result<T, Error> {
        Ok(run())
    }
}
