//! The handle of a pool: its methods define, call, start, stop and observe.

pub(crate) mod function;
pub(crate) mod intake;
pub(crate) mod lifecycle;

mod asynchronous;
#[cfg(feature = "json")]
mod backend;
mod calls;
#[cfg(feature = "compile-cache")]
mod compile_cache;
mod definitions;
mod encoded;
mod events;
mod health;
mod instantiation;
#[cfg(feature = "json")]
mod json;
mod local;
mod metrics;
mod nested;
mod streams;
mod workers;

pub use asynchronous::Operation;
pub use definitions::changes::{Applied, Changes, Checked};
pub use local::LocalWorker;

use crate::error::Error;
use crate::options::Options;
use crate::pool::lifecycle::Lifecycle;
use crate::registry::Registry;
use std::sync::Arc;

/// A pool of workers that run WebAssembly functions by name.
///
/// It is cheap to clone, and every method can be called from any thread at any time.
///
/// # Dropping the last handle
///
/// Clones, [`Function`](crate::Function)s, [`LocalWorker`]s and [`Operation`]s are handles. When the last one is dropped,
/// the workers are stopped at once: running calls are interrupted. The drop returns when the threads of the workers have
/// ended, usually within a few milliseconds. It waits for a host function that does not return for at most
/// [`Options::unresponsive_worker_grace`], and for an event listener for at most one second more. An async task should await
/// [`stop_workers_async`](Self::stop_workers_async) first; the drop then waits for the listeners only.
///
/// Values that the embedder's host functions and listeners captured are dropped on this thread, or on the thread that
/// uses them last. The time that their destructors take is not included.
///
/// # Async tasks
///
/// [`call_async`](Self::call_async) and the methods named `…_async` never block their thread. The other methods may:
///
/// * Methods that compile, start, stop or warm block.
/// * Methods that define or undefine a constant or host function, or list definitions, wait at most until another
///   definition is published. If a host function changes from or to an async or blocking one, the functions that import it
///   are linked, and compiled if necessary, before the method returns.
#[derive(Debug, Clone)]
#[doc(alias = "workerprocedurecall")]
pub struct WorkerProcedureCall(Arc<Lifecycle>);

impl WorkerProcedureCall {
    /// Creates a stopped pool. Functions can be defined before it is started.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`], which names every invalid option, or the reason why the compile cache's folder cannot be
    /// used.
    pub fn new(options: Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self(Arc::new(Lifecycle::new(options)?)))
    }

    fn registry(&self) -> &Registry {
        &self.0.pool.registry
    }
}
