//! A gate at which calls to an async host function wait.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use wpc_host::WorkerProcedureCall;

/// Calls to the async host function `h` wait until it is opened.
#[derive(Clone, Default)]
pub(crate) struct AsyncGate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl AsyncGate {
    pub(crate) async fn opened(self) {
        poll_fn(|task| {
            let mut state = self.0.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn open(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        let wakers = std::mem::take(&mut state.1);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }
}

/// Defines `h`, whose calls wait at the gate and then return 7.
pub(crate) fn define_gate(wpc: &WorkerProcedureCall) -> AsyncGate {
    let gate = AsyncGate::default();
    let closed = gate.clone();
    wpc.define_async_host_function("h", move |_, (): ()| {
        let opened = closed.clone().opened();
        async move {
            opened.await;
            Ok::<_, String>(7_u8)
        }
    })
    .unwrap();
    gate
}
