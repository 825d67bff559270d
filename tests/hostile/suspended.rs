//! Calls that wait for futures of the host which do not behave. A flood of them is in `os_limits.rs`: it needs most of the memory maps
//! of a process.

use super::{Attack, attack, hostile};
use crate::support::*;
use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use wpc_host::{Limits, Options, WorkerProcedureCall};

/// How often a waker is used.
const WAKES: usize = 1_000;

/// Defines the async host function `h` by its future.
fn define_h<T>(wpc: &WorkerProcedureCall, future: impl Fn() -> T + Send + Sync + 'static)
where
    T: Future<Output = ()> + Send + 'static,
{
    wpc.define_async_host_function("h", move |_, (): ()| {
        let future = future();
        async move {
            future.await;
            Ok::<_, String>(())
        }
    })
    .unwrap();
}

/// The attack of this name, whose host function `h` has this future.
fn attack_with<T>(name: &str, future: impl Fn() -> T + Clone + Send + Sync + 'static) -> Attack
where
    T: Future<Output = ()> + Send + 'static,
{
    attack(name)
        .granted(|module| module.grant_host_function("h"))
        .given(move |wpc| define_h(wpc, future.clone()))
}

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn async_flood() {
    attack_with("async-flood", || async {}).ends_with("timeout");
}

#[test]
fn a_future_never_wakes() {
    attack_with("waits-for-the-host", pending::<()>).ends_with("timeout");
}

#[test]
fn a_future_wakes_a_thousand_times_from_another_thread() {
    let waking = Arc::new(Mutex::new(Vec::new()));
    let threads = Arc::clone(&waking);
    let future = move || {
        let threads = Arc::clone(&threads);
        let mut is_done = None;
        poll_fn(move |task| {
            let Some(is_done) = &is_done else {
                let done = Arc::new(AtomicBool::new(false));
                is_done = Some(Arc::clone(&done));
                let waker = task.waker().clone();
                threads.lock().unwrap().push(std::thread::spawn(move || {
                    (0..WAKES).for_each(|_| waker.wake_by_ref());
                    done.store(true, Ordering::SeqCst);
                    // Also after its call has ended.
                    (0..WAKES).for_each(|_| waker.wake_by_ref());
                }));
                return Poll::Pending;
            };
            if is_done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
    };
    let mut attack = attack_with("waits-for-the-host", future);
    attack.release = Box::new(move || {
        let threads = std::mem::take(&mut *waking.lock().unwrap());
        assert_eq!(threads.len(), 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    attack.ends_with("value");
}

#[test]
fn a_future_panics_when_it_is_dropped() {
    let future = || async {
        let _guard = OnDrop(|| panic!("intended by the test"));
        pending().await
    };
    attack_with("waits-for-the-host", future).ends_with("timeout");
}

#[test]
fn a_future_blocks_when_it_is_dropped() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(20));
    let wpc = pool_with(1, options);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["add"]);
    let (gate, (begin, begun)) = (Gate::default(), channel());
    let closed = gate.clone();
    define_h(&wpc, move || {
        begin.send(()).unwrap();
        let closed = closed.clone();
        async move {
            let _guard = OnDrop(|| closed.wait());
            pending().await
        }
    });
    // A worker is replaced if it does not react after the limit of the function.
    let limits = Limits::default().timeout(Duration::from_millis(200));
    let waits = hostile("waits-for-the-host").grant_host_function("h").limits(limits);
    wpc.define_worker_function("f", waits).unwrap();
    let mut calls = 0;
    timeout_in_host_function(&begun, || {
        calls += 1;
        wpc.call::<()>("f", ())
    });
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    events.wait_for_name("worker_restart_completed");
    let metrics = wpc.metrics();
    let of_f = metrics.functions.iter().find(|of| of.name == "f").unwrap();
    assert_eq!(of_f.calls.total(), calls, "each call is counted once");
    gate.open();
}
