//! The task that answers a call.

use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Starts a task on this thread. The thread that wakes it first continues it, which is usually the worker that has run the call. So the
    /// answer needs no thread of the runtime, which would have to be woken. Whenever the task is woken again, the runtime continues it.
    pub(crate) fn start_direct(
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (runtime, was_woken) = (runtime.clone(), AtomicBool::new(false));
        let continue_on = runtime.clone();
        let schedule = move |task: async_task::Runnable| {
            if was_woken.swap(true, Ordering::Relaxed) {
                continue_on.spawn(async move {
                    task.run();
                });
            } else {
                let _entered = continue_on.enter();
                task.run();
            }
        };
        let (start, task) = async_task::spawn(task, schedule);
        let _entered = runtime.enter();
        start.run();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread::ThreadId;
    use tokio::sync::{Notify, oneshot};

    /// A task that records on which threads it ran: before it is woken, after that, and after it is woken again.
    fn start(
        woken: oneshot::Receiver<()>,
        woken_again: Arc<Notify>,
    ) -> (CallTask, oneshot::Receiver<[ThreadId; 3]>) {
        let current = || std::thread::current().id();
        let (sender, threads) = oneshot::channel();
        let task = CallTask::start_direct(&Handle::current(), async move {
            let first = current();
            let _ = woken.await;
            let second = current();
            woken_again.notified().await;
            let _ = sender.send([first, second, current()]);
        });
        (task, threads)
    }

    #[tokio::test]
    async fn the_first_thread_that_wakes_a_task_continues_it_and_later_the_runtime() {
        let (wake, woken) = oneshot::channel();
        let again = Arc::new(Notify::new());
        let (task, threads) = start(woken, Arc::clone(&again));
        task.detach();
        let worker = tokio::task::spawn_blocking(move || {
            wake.send(()).unwrap();
            std::thread::current().id()
        });
        let worker = worker.await.unwrap();
        tokio::task::spawn_blocking(move || again.notify_one()).await.unwrap();
        let own = std::thread::current().id();
        assert_eq!(threads.await.unwrap(), [own, worker, own]);
    }

    #[tokio::test]
    async fn a_cancelled_task_is_dropped() {
        let (wake, woken) = oneshot::channel();
        let (task, threads) = start(woken, Arc::new(Notify::new()));
        task.cancel();
        assert!(wake.is_closed(), "it is dropped at once");
        assert!(threads.await.is_err());
    }
}
