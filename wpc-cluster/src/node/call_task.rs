//! The task that answers a call.

use async_task::Runnable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The task that answers a call.
#[derive(Debug)]
pub(crate) enum CallTask {
    /// A task of the runtime.
    Runtime(AbortHandle),
    /// A task that is first continued by the thread that wakes it.
    Direct(async_task::Task<()>),
}

impl CallTask {
    /// Starts a task on this thread, which belongs to the runtime. If another thread wakes it, usually the worker that has run the call, that
    /// thread continues it, so that no thread of the runtime has to be woken. If a thread of the runtime wakes it, or if it is woken while it
    /// runs, the runtime continues it.
    pub(crate) fn start_direct(
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let continue_on = runtime.clone();
        let schedule = move |task: Runnable| {
            if Handle::try_current().is_ok() {
                continue_on.spawn(async move { run(task) });
            } else {
                let _entered = continue_on.enter();
                run(task);
            }
        };
        let (start, task) = async_task::spawn(task, schedule);
        let _entered = runtime.enter();
        run(start);
        Self::Direct(task)
    }

    /// Ends the task before it continues the next time.
    pub(crate) fn cancel(self) {
        match self {
            Self::Runtime(task) => task.abort(),
            Self::Direct(task) => drop(task),
        }
    }

    /// Lets the task run to its end.
    pub(crate) fn detach(self) {
        match self {
            Self::Runtime(_) => {}
            Self::Direct(task) => task.detach(),
        }
    }
}

/// Continues a task. A panic ends the task, but not this thread.
fn run(task: Runnable) {
    if catch_unwind(AssertUnwindSafe(|| task.run())).is_err() {
        tracing::error!("the task that answers a call has panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::ThreadId;
    use tokio::sync::oneshot;

    /// A task that records on which threads it ran: before and after it is woken.
    fn start(woken: oneshot::Receiver<()>) -> (CallTask, oneshot::Receiver<[ThreadId; 2]>) {
        let current = || std::thread::current().id();
        let (sender, threads) = oneshot::channel();
        let task = CallTask::start_direct(&Handle::current(), async move {
            let first = current();
            let _ = woken.await;
            let _ = sender.send([first, current()]);
        });
        (task, threads)
    }

    /// A thread that does not belong to the runtime.
    #[expect(clippy::disallowed_methods, reason = "one thread, which is joined")]
    fn worker<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
        let named = std::thread::Builder::new().name("worker".to_owned());
        named.spawn(run).unwrap().join().unwrap()
    }

    #[tokio::test]
    async fn a_worker_that_wakes_a_task_continues_it() {
        let (wake, woken) = oneshot::channel();
        let (task, threads) = start(woken);
        task.detach();
        let worker = worker(move || {
            wake.send(()).unwrap();
            std::thread::current().id()
        });
        assert_eq!(threads.await.unwrap(), [std::thread::current().id(), worker]);
    }

    #[tokio::test]
    async fn the_runtime_continues_a_task_that_it_wakes_or_that_yields() {
        let own = std::thread::current().id();
        let (wake, woken) = oneshot::channel();
        let (task, threads) = start(woken);
        task.detach();
        tokio::task::spawn_blocking(move || wake.send(())).await.unwrap().unwrap();
        assert_eq!(threads.await.unwrap(), [own, own]);

        let (wake, woken) = oneshot::channel::<()>();
        let (sender, thread) = oneshot::channel();
        let task = CallTask::start_direct(&Handle::current(), async move {
            let _ = woken.await;
            tokio::task::yield_now().await;
            let _ = sender.send(std::thread::current().id());
        });
        task.detach();
        worker(move || wake.send(()).unwrap());
        assert_eq!(thread.await.unwrap(), own);
    }

    #[tokio::test]
    async fn a_panic_ends_only_the_task() {
        let task = CallTask::start_direct(&Handle::current(), async { panic!("a bug") });
        task.cancel();
    }

    #[tokio::test]
    async fn a_cancelled_task_is_dropped() {
        let (wake, woken) = oneshot::channel();
        let (task, threads) = start(woken);
        task.cancel();
        assert!(threads.await.is_err());
        assert!(wake.is_closed());
    }
}
