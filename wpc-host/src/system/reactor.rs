//! The tokio runtime whose timers and sockets the embedder's futures use. The futures themselves are not tasks of it: they
//! are polled where their guests run.
//!
//! It is the runtime that the embedder passed, or the multi-threaded one within which the pool was created. Otherwise the pool
//! starts one of its own, with one thread, when it is first needed. A current-thread runtime is not used unless it was
//! passed: its timers do not run while its thread waits for a call.

use crate::error::Error;
use crate::system::os_limits;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

#[derive(Debug)]
pub(crate) struct Reactor {
    handle: OnceLock<Handle>,
    own: Mutex<Option<Runtime>>,
}

impl Reactor {
    pub(crate) fn new(given: Option<Handle>) -> Self {
        let is_driven = |handle: &Handle| handle.runtime_flavor() != RuntimeFlavor::CurrentThread;
        let current = || Handle::try_current().ok().filter(is_driven);
        let handle = given.or_else(current).map_or_else(OnceLock::new, OnceLock::from);
        Self { handle, own: Mutex::new(None) }
    }

    /// Runs `run` within the runtime.
    pub(crate) fn within<T>(&self, run: impl FnOnce() -> T) -> Result<T, Error> {
        let started;
        let handle = match self.handle.get() {
            Some(handle) => handle,
            None => {
                started = self.start()?;
                &started
            }
        };
        let _guard = handle.enter();
        Ok(run())
    }

    #[cold]
    fn start(&self) -> Result<Handle, Error> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*own {
            return Ok(runtime.handle().clone());
        }
        let what = "the thread of the tokio runtime for host functions";
        let runtime = os_limits::start_thread(what, os_limits::USUAL_STACK, || {
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("wpc-reactor")
                .enable_all()
                .build()
        })?;
        let handle = self.handle.get_or_init(|| runtime.handle().clone()).clone();
        *own = Some(runtime);
        Ok(handle)
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let own = self.own.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Dropping it would block, which panics within another runtime.
        own.into_iter().for_each(Runtime::shutdown_background);
    }
}
