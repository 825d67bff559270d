//! Starting, stopping and observing workers, and the resources they use.

use crate::error::Error;
use crate::information::{SandboxUsage, WorkerHealth};
use crate::pool::WorkerProcedureCall;
use crate::system::buffers::BufferUsage;

impl WorkerProcedureCall {
    /// Starts `count` workers, each on a thread of its own, and returns when all are ready.
    ///
    /// A call is dispatched to the worker that is predicted to start it soonest: a running one that is free soon, or else
    /// the least loaded one. While calls are few or short, some workers may therefore receive none, and the state that
    /// guests keep in memory is not spread evenly. An affinity key
    /// ([`CallOptions::affinity`](crate::CallOptions::affinity)) ties calls to one worker. One worker for each core is
    /// enough, unless guests wait for host functions.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyStarted`]; [`Error::InvalidOptions`] if the count is 0 or exceeds `max_live_instances`;
    /// [`Error::StartFailed`] if a worker was not ready in time; [`Error::OsLimit`] if a thread could not be created. On
    /// an error, the workers that did start are stopped.
    #[doc(alias = "startWorkers")]
    pub fn start_workers(&self, count: usize) -> Result<(), Error> {
        self.0.start(count)
    }

    /// Stops the workers. It refuses new calls, lets accepted ones run for up to
    /// [`Options::stop_timeout`](crate::Options::stop_timeout), interrupts the rest, and returns when all workers have
    /// ended. Definitions stay, and the workers can be started again. On a stopped pool it does nothing. Concurrent calls
    /// of this method all return when the pool has stopped.
    ///
    /// It waits for calls, so a host function, or other code that a running call waits for, must not call it.
    #[doc(alias = "stopWorkers")]
    pub fn stop_workers(&self) {
        self.0.stop(self.0.pool.options.stop_timeout);
    }

    /// Lists the health of every worker, sorted by number. Unresponsive workers are listed as `restarting` until they are
    /// replaced, or as `stopped` if they will not be replaced. The list is empty while the pool is stopped. A worker
    /// updates its state between calls, so a change may show shortly after its cause; the event
    /// `worker_health_state_changed` reports it.
    #[doc(alias = "getWorkerHealthStates")]
    #[must_use]
    pub fn get_worker_health_states(&self) -> Vec<WorkerHealth> {
        self.0.pool.workers.load().health()
    }

    /// Returns the resources that sandboxes hold at the moment.
    #[must_use]
    pub fn get_sandbox_usage(&self) -> SandboxUsage {
        self.0.pool.engines.usage()
    }

    /// Returns how many large buffers the pool keeps for later payloads at the moment.
    #[must_use]
    pub fn get_buffer_usage(&self) -> BufferUsage {
        self.0.pool.buffers.usage()
    }
}
