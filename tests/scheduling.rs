//! Which worker runs a call, and what happens if no worker is eligible.

use crate::support::*;
use std::collections::BTreeSet;
use std::time::Duration;
use wpc_host::{
    CallOptions, CallQueue, Error, Options, PendingCall, WorkerId, WorkerProcedureCall,
};

fn worker_of(wpc: &WorkerProcedureCall, options: &CallOptions) -> WorkerId {
    wpc.submit_with::<i32>("quick", (), options).unwrap().wait_answer().unwrap().metadata.worker_id
}

/// Calls that were assigned to a worker because earlier calls were short are moved to other workers.
#[test]
fn long_calls_get_a_worker_each() {
    let wpc = pool(3);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    (0..1_000).for_each(|_| _ = worker_of(&wpc, &CallOptions::new()));
    let calls = [(); 3].map(|()| wpc.submit::<()>("spins", ()).unwrap());
    let workers = [(); 3].map(|()| events.wait_for_log("in").worker_id);
    assert_eq!(BTreeSet::from(workers).len(), 3);
    drop(calls);
}

#[test]
fn a_busy_worker_is_skipped() {
    let wpc = pool(3);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = wpc.submit::<()>("spins", ()).unwrap();
    let busy = events.wait_for_log("in").worker_id;
    for _ in 0..9 {
        assert_ne!(Some(worker_of(&wpc, &CallOptions::new())), busy);
    }
    drop(spinning);
}

#[test]
fn calls_of_one_key_go_to_one_worker_and_keys_spread() {
    let wpc = pool(3);
    wpc.define_worker_module(spinner()).unwrap();
    let mut workers_of_keys = BTreeSet::new();
    for key in 0..30 {
        let options = CallOptions::new().affinity(key);
        let home = worker_of(&wpc, &options);
        workers_of_keys.insert(home);
        for _ in 0..3 {
            assert_eq!(worker_of(&wpc, &options), home);
        }
    }
    assert_eq!(workers_of_keys.len(), 3);
}

#[test]
fn calls_with_affinity_wait_for_their_worker_although_others_are_idle() {
    let wpc = pool(2);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let options = CallOptions::new().affinity("key");
    let spinning = wpc.submit_with::<()>("spins", (), &options).unwrap();
    let home = events.wait_for_log("in").worker_id;
    let behind: Vec<PendingCall<i32>> =
        (0..3).map(|_| wpc.submit_with("quick", (), &options).unwrap()).collect();
    // When the supervisor ends this call, it has checked the queue of the stuck worker.
    let looked = CallOptions::new().affinity("key").timeout(Duration::from_millis(20));
    let result = pollster::block_on(wpc.submit_with::<i32>("quick", (), &looked).unwrap());
    assert!(matches!(result, Err(Error::Timeout { ran: false, .. })), "{result:?}");
    assert!(behind.iter().all(|call| !call.is_answered()));
    spinning.cancel();
    for call in behind {
        assert_eq!(Some(call.wait_answer().unwrap().metadata.worker_id), home);
    }
}

#[test]
fn at_saturation_a_caller_may_wait_for_capacity() {
    let wpc = pool_with(1, Options::default().max_pending_calls_per_worker(1));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    assert_eq!(code(wpc.submit::<i32>("quick", ()).map(|_| ())), "saturated");
    let waiting: Vec<PendingCall<i32>> = (0..20)
        .map(|_| wpc.submit_with("quick", (), &CallOptions::new().wait_for_capacity()).unwrap())
        .collect();
    let short = CallOptions::new().wait_for_capacity().timeout(Duration::from_millis(5));
    let result = pollster::block_on(wpc.submit_with::<i32>("quick", (), &short).unwrap());
    assert!(matches!(result, Err(Error::Timeout { ran: false, .. })), "{result:?}");
    spinning.cancel();
    for call in waiting {
        assert_eq!(call.wait().unwrap(), 7);
    }
}

#[test]
fn the_overflow_queue_is_bounded() {
    let options = Options::default().max_pending_calls_per_worker(1).max_waiting_calls(2);
    let wpc = pool_with(1, options);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let wait = CallOptions::new().wait_for_capacity();
    let waiting: Vec<PendingCall<i32>> =
        (0..2).map(|_| wpc.submit_with("quick", (), &wait).unwrap()).collect();
    let error = wpc.submit_with::<i32>("quick", (), &wait).unwrap_err();
    assert!(
        matches!(error, Error::Saturated { queue: CallQueue::Overflow, limit: 2, .. }),
        "{error}"
    );
    drop(spinning);
    for call in waiting {
        assert_eq!(call.wait().unwrap(), 7);
    }
}

#[test]
fn a_cancelled_call_frees_its_slot_although_its_worker_is_stuck() {
    let wpc = pool_with(1, Options::default().max_pending_calls_per_worker(2));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let waiting = wpc.submit::<i32>("quick", ()).unwrap();
    assert_eq!(code(wpc.submit::<i32>("quick", ()).map(|_| ())), "saturated");
    waiting.cancel();
    let begun = std::time::Instant::now();
    let next = loop {
        match wpc.submit::<i32>("quick", ()) {
            Ok(next) => break next,
            Err(Error::Saturated { .. }) if begun.elapsed() < TEST_TIMEOUT => {
                std::thread::yield_now()
            }
            Err(error) => panic!("the slot should be free: {error}"),
        }
    };
    assert!(!spinning.is_answered());
    drop(spinning);
    assert_eq!(next.wait().unwrap(), 7);
}

#[test]
fn no_call_is_rejected_while_there_is_capacity() {
    let wpc = pool_with(4, Options::default().max_pending_calls_per_worker(2));
    wpc.define_worker_module(spinner()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..300 {
                    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
                }
            });
        }
    });
}

#[test]
fn a_call_with_affinity_does_not_delay_others_behind_a_stuck_worker() {
    let wpc = pool(2);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let home = wpc
        .get_worker_health_states()
        .iter()
        .find(|worker| worker.pending_call_count == 1)
        .unwrap()
        .worker_id;
    let key = (0..).find(|key| {
        let call = wpc.submit_with::<i32>("quick", (), &CallOptions::new().affinity(key)).unwrap();
        let states = wpc.get_worker_health_states();
        let is_home =
            states.iter().any(|worker| worker.worker_id == home && worker.pending_call_count > 1);
        drop(call);
        is_home
    });
    let affine =
        wpc.submit_with::<i32>("quick", (), &CallOptions::new().affinity(key.unwrap())).unwrap();
    let calls: Vec<PendingCall<i32>> = (0..50).map(|_| wpc.submit("quick", ()).unwrap()).collect();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
    assert!(!affine.is_answered(), "the call with affinity waits for its worker");
    spinning.cancel();
    assert_eq!(affine.wait_answer().unwrap().metadata.worker_id, home);
}

#[test]
fn cancelled_calls_free_their_slots_in_a_queue() {
    let options = Options::default().max_pending_calls_per_worker(100).max_waiting_calls(10);
    let wpc = pool_with(1, options);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let cancelled = |options: &CallOptions| {
        for number in 0..1_000 {
            let call = wpc.submit_with::<i32>("quick", (), options);
            let call = call.unwrap_or_else(|error| panic!("{number}: {error}"));
            if number % 2 == 0 {
                call.cancel();
            }
            drop(call);
        }
    };
    cancelled(&CallOptions::new());
    cancelled(&CallOptions::new().affinity("key"));
    // Calls that were not cancelled keep their slots in order. Further calls are rejected, or wait.
    let kept: Vec<_> = (0..99).map(|_| wpc.submit::<i32>("quick", ()).unwrap()).collect();
    assert_eq!(code(wpc.submit::<i32>("quick", ())), "saturated");
    cancelled(&CallOptions::new().wait_for_capacity());
    spinning.cancel();
    for call in kept {
        assert_eq!(call.wait().unwrap(), 7);
    }
}
