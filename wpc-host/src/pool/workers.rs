//! Starting, stopping and observing workers, and the resources they use.

use crate::error::Error;
use crate::information::{CompileCacheUsage, SandboxUsage, WorkerHealth};
use crate::pool::WorkerProcedureCall;
use crate::system::buffers::BufferUsage;
use std::sync::PoisonError;

impl WorkerProcedureCall {
    /// Starts `count` workers, each a thread, and returns when all are ready.
    ///
    /// A call goes to whichever worker comes to it soonest: one that is awake and soon free, or else the least loaded one.
    /// So some may get none while calls are few or tiny, and what guests keep in their memories is not spread evenly; a key
    /// ([`CallOptions::affinity`](crate::CallOptions::affinity)) ties calls to a worker. As many workers as cores are enough, unless guests wait for host
    /// functions.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyStarted`]; [`Error::InvalidOptions`] for a count of 0 or one beyond
    /// `max_live_instances`; [`Error::StartFailed`] if a thread did not come up in time, [`Error::OsLimit`] if
    /// one could not be created. Those that came up end.
    #[doc(alias = "startWorkers")]
    pub fn start_workers(&self, count: usize) -> Result<(), Error> {
        self.0.start(count)
    }

    /// Stops the workers: takes no more calls, lets the accepted ones end until
    /// [`Options::stop_timeout`](crate::Options::stop_timeout) is over, interrupts the rest, and returns when all are gone.
    /// Definitions stay, and the workers can be started again. On a stopped pool it does nothing;
    /// called twice at once, both return when it is done.
    ///
    /// It waits for calls, so it must not be called from where a call waits for it.
    #[doc(alias = "stopWorkers")]
    pub fn stop_workers(&self) {
        self.0.stop(self.0.pool.options.stop_timeout);
    }

    /// How every worker is, by number; lost ones as `restarting` until they are replaced, as
    /// `stopped` where they are not replaced any more. Empty while stopped. A worker looks around between
    /// calls, so a change may show a moment after its cause: `worker_health_state_changed` tells when.
    #[doc(alias = "getWorkerHealthStates")]
    #[must_use]
    pub fn get_worker_health_states(&self) -> Vec<WorkerHealth> {
        let workers = self.0.pool.workers.load();
        let mut states: Vec<_> = workers
            .iter()
            .map(|worker| WorkerHealth {
                worker_id: worker.id,
                health_state: worker.health(),
                pending_call_count: worker.in_flight(),
                restart_attempt: worker.restart_attempt,
            })
            .collect();
        states.extend(
            self.0.pool.lost.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned(),
        );
        states.sort_by_key(|state| state.worker_id);
        states
    }

    /// What the sandboxes hold at this moment.
    #[must_use]
    pub fn get_sandbox_usage(&self) -> SandboxUsage {
        self.0.pool.engines.usage()
    }

    /// What large buffers the pool keeps for the payloads of later calls at this moment.
    #[must_use]
    pub fn get_buffer_usage(&self) -> BufferUsage {
        self.0.pool.buffers.usage()
    }

    /// How the compile cache fared; `None` where the pool has none.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join("wpc-documentation");
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let options = Options { compile_cache: Some(folder), ..Options::default() };
    /// let wpc = WorkerProcedureCall::new(options)?;
    /// wpc.define_worker_module(wat::parse_str(r#"(module (func (export "nothing")))"#)?)?;
    /// let usage = wpc.get_compile_cache_usage().ok_or("there is one")?;
    /// assert_eq!(usage.hits + usage.misses, 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn get_compile_cache_usage(&self) -> Option<CompileCacheUsage> {
        self.0.pool.engines.cache_usage()
    }
}
