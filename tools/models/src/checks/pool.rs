//! Checks of a pool's calls, cancellation, stop and idle state.

use super::{Pool, in_parallel};
use crate::call::Call;
use crate::error::Error;
use crate::id::CallId;
use crate::options::{CallOptions, Options};
use crate::sandbox::RELEASED;
use crate::system::buffers::LARGE;
use crate::worker::job::Job;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// Calls from several threads all succeed, and stopping waits for them.
pub fn pool() {
    let pool = Pool::new(2, Options::default());
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            for _ in 0..2 {
                pool.call("good").expect("`good` succeeds");
            }
        })
    };
    in_parallel(vec![caller(), caller(), caller()]);
    pool.stop();
}

/// No call is refused while a worker has a free slot, even if slots are released and taken during its dispatch.
pub fn free_slot() {
    let pool = Pool::new(2, Options::default().max_pending_calls_per_worker(1));
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            for _ in 0..3 {
                pool.call("good").expect("a slot is free");
            }
        })
    };
    in_parallel(vec![caller(), caller()]);
    pool.stop();
}

/// No call is refused because a job that moves from one worker to another holds a slot of both for a moment.
pub fn slots_of_a_moved_job() {
    let pool = Pool::new(2, Options::default().max_pending_calls_per_worker(2));
    pool.define("loops", 1);
    let loops = pool.submit::<()>("loops").expect("the call is accepted");
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            for _ in 0..2 {
                // Some are queued behind the loop, until the supervisor moves them.
                pool.call("good").expect("one of four slots is free");
            }
        })
    };
    in_parallel(vec![caller(), caller(), caller()]);
    loops.cancel_handle().cancel();
    assert!(matches!(loops.wait(), Err(Error::Cancelled { .. })));
    pool.stop();
}

/// A call that races with a stop completes: it returns its value, is refused, or is stopped.
pub fn stop_during_calls() {
    let pool = Pool::new(2, Options::default());
    let stopped = pool.share();
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || match pool.call("good") {
            Ok(()) | Err(Error::NotRunning | Error::Stopped { ran: false, .. }) => {}
            Err(other) => panic!("{other}"),
        })
    };
    let also_stopped = pool.share();
    in_parallel(vec![
        caller(),
        caller(),
        Box::new(move || stopped.0.stop(Duration::from_secs(60))),
        Box::new(move || also_stopped.0.stop(Duration::from_secs(60))),
    ]);
    pool.stop();
}

/// Stopping interrupts a guest that does not return.
pub fn stop_while_a_guest_loops() {
    let pool = Pool::new(1, Options::default());
    pool.define("loops", 1);
    let loops = pool.submit::<()>("loops").expect("the call is accepted");
    let behind = pool.submit::<()>("good").expect("the call is accepted");
    pool.0.stop(Duration::from_millis(2));
    assert!(matches!(loops.wait(), Err(Error::Stopped { .. })));
    assert!(matches!(behind.wait(), Ok(()) | Err(Error::Stopped { ran: false, .. })));
    pool.stop();
}

/// Either a stop sees a call on its caller's own thread, or that call sees the stop.
pub fn stop_during_a_local_call() {
    let pool = Pool::new(1, Options::default());
    pool.define("loops", 1);
    let (caller, stopper) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || {
            let pool = &caller.0.pool;
            let function = pool.registry.function("loops").expect("the definition is valid");
            let definition = function.definition.as_ref().expect("the function is linked");
            let (name, limit) = (Arc::clone(&function.name), Duration::from_secs(3600));
            let call =
                Arc::new(Call::with_lazy_deadline(CallId(1), name, definition.generation, limit));
            let definition = Arc::clone(definition);
            let mut job = Job::new(call, function, definition, Vec::new());
            job.is_disowned = true;
            let mut local = pool.local();
            let ran = local.run(&mut job, [], &pool.is_open, |_| Ok(()));
            let error = ran.expect_err("`loops` does not return");
            assert!(matches!(*error, Error::NotRunning | Error::Stopped { .. }), "{error}");
            pool.forget_local(local.worker());
        }),
        Box::new(move || stopper.0.stop(Duration::from_millis(2))),
    ]);
    pool.stop();
}

/// Cancelling ends that call and no other, whether it waits, runs or has been answered.
pub fn cancel() {
    let pool = Pool::new(1, Options::default());
    pool.define("loops", 1);
    let loops = pool.submit::<()>("loops").expect("the call is accepted");
    let waits = pool.submit::<()>("good").expect("the call is accepted");
    let (first, second) = (loops.cancel_handle(), waits.cancel_handle());
    in_parallel(vec![Box::new(move || first.cancel()), Box::new(move || second.cancel())]);
    assert!(matches!(loops.wait(), Err(Error::Cancelled { .. })));
    assert!(matches!(waits.wait(), Ok(()) | Err(Error::Cancelled { ran: false, .. })));
    pool.call("good").expect("the worker still accepts calls");
    pool.stop();
}

/// Calls that wait for capacity get it when another call ends.
pub fn waiting_for_capacity() {
    let options = Options::default().max_pending_calls_per_worker(1);
    let pool = Pool::new(1, options);
    let caller = || -> Box<dyn FnOnce() + Send> {
        let pool = pool.share();
        Box::new(move || {
            let options = CallOptions::new().wait_for_capacity();
            pool.submit_with::<()>("good", &options)
                .expect("the call waits")
                .wait()
                .expect("`good` succeeds");
        })
    };
    in_parallel(vec![caller(), caller(), caller()]);
    pool.stop();
}

/// The supervisor runs while a call runs that only it can end, however long it was parked before.
pub fn parked_supervisor() {
    let pool = Pool::new(1, Options::default());
    pool.define("stuck", 1);
    RELEASED.set(true);
    // The supervisor ticks for a while before it parks: this loop ends before, at about that time, or later.
    for _ in 0..shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..500) {
        thread::yield_now();
    }
    let limit = CallOptions::new().timeout(Duration::from_millis(1));
    let stuck = pool.submit_with::<()>("stuck", &limit).expect("the call is accepted");
    assert!(matches!(stuck.wait(), Err(Error::Timeout { .. })));
    pool.stop();
}

/// A large buffer that is returned to an idle pool is freed.
pub fn buffers_of_an_idle_pool() {
    let pool = Pool::new(1, Options::default());
    // The supervisor ticks for a while before it parks: the buffer is returned before, at about that time, or later.
    for _ in 0..shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..500) {
        thread::yield_now();
    }
    pool.0.pool.buffers.put(Vec::with_capacity(LARGE));
    while !pool.0.pool.buffers.is_empty() {
        thread::yield_now();
    }
    pool.stop();
}
