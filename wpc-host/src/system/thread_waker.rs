//! A waker that unparks this thread.

use crate::sync::thread::Thread;
use crate::sync::{thread, thread_local};
use std::cell::OnceCell;
use std::sync::Arc;
use std::task::{Wake, Waker};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Passes `with` a waker that unparks this thread. Each thread creates one, once.
pub(crate) fn with_thread_waker<T>(with: impl FnOnce(&Waker) -> T) -> T {
    thread_local! {
        static WAKER: OnceCell<Waker> = const { OnceCell::new() };
    }
    WAKER.with(|waker| with(waker.get_or_init(|| Waker::from(Arc::new(Unpark(thread::current()))))))
}
