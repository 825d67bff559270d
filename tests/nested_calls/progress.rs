//! Nested calls never wait for each other: chains, floods on one worker, stops.

use super::{calling, define_relays, define_rest, guest_error, suspended};
use crate::support::*;
use std::time::Duration;
use wpc_host::{Limits, MAX_CALL_DEPTH, Options};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("f{at}")).collect()
}

#[test]
fn a_function_cannot_call_itself_directly_or_through_others() {
    let wpc = pool(1);
    define_relays(&wpc, &names(2));
    for (chain, text) in [(vec!["f0"], "f0 -> f0"), (vec!["f1", "f0"], "f0 -> f1 -> f0")] {
        let (name, message) = guest_error(wpc.call::<u32>("f0", (chain,)).unwrap_err());
        assert_eq!(name, "RecursiveCall");
        assert!(message.ends_with(text), "{message}");
    }
    assert_eq!(wpc.call::<u32>("f0", (vec!["f1"],)).unwrap(), 7);
}

#[test]
fn a_chain_of_calls_has_a_maximum_length() {
    let wpc = pool(1);
    let names = names(MAX_CALL_DEPTH + 2);
    define_relays(&wpc, &names);
    let rest = |end: usize| (names[1..end].to_vec(),);
    assert_eq!(wpc.call::<u32>("f0", rest(MAX_CALL_DEPTH + 1)).unwrap(), 7);
    let (name, message) = guest_error(wpc.call::<u32>("f0", rest(MAX_CALL_DEPTH + 2)).unwrap_err());
    assert_eq!(name, "CallDepth");
    assert!(message.contains("at most 16") && message.contains("f0 -> f1 -> f2"), "{message}");
}

#[test]
fn one_worker_serves_many_callers_and_the_functions_that_they_call() {
    let wpc = pool(1);
    let gate = define_rest(&wpc, Limits::default());
    let calls: Vec<_> = (0..100).map(|_| wpc.submit::<u8>("rest", ()).unwrap()).collect();
    eventually(|| suspended(&wpc) == 200);
    gate.open();
    for call in calls {
        call.wait().unwrap();
    }
}

/// Each limit alone admits as many callers as there are sandboxes for calls from outside.
#[test]
fn callers_do_not_use_the_sandboxes_that_their_calls_need() {
    let few_instances = Options::default().max_live_instances(80).max_suspended_instances(20);
    let one_sandbox = Limits::default().max_concurrent_calls(1);
    for (options, limits) in [(few_instances, Limits::default()), (Options::default(), one_sandbox)]
    {
        let wpc = pool_with(1, options);
        let names = names(4);
        let granted: Vec<_> = names.iter().map(String::as_str).collect();
        for name in &granted {
            let module = calling("relay", &granted).limits(limits.clone());
            wpc.define_worker_function(name, module).unwrap();
        }
        // Chains in both directions wait for each other's functions.
        let calls = (0..200).map(|at| match at % 2 {
            0 => wpc.submit::<u32>("f0", (vec!["f1", "f2", "f3"],)).unwrap(),
            _ => wpc.submit::<u32>("f3", (vec!["f2", "f1", "f0"],)).unwrap(),
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.wait().unwrap(), 7);
        }
    }
}

#[test]
fn a_nested_call_is_refused_if_it_might_wait_for_its_callers() {
    // An odd number of instances: one of the callers finds none for the function that it calls.
    let wpc = pool_with(1, Options::default().max_live_instances(3).max_suspended_instances(3));
    let gate = define_rest(&wpc, Limits::default());
    let calls: Vec<_> = (0..4).map(|_| wpc.submit::<u8>("rest", ()).unwrap()).collect();
    let mut refused = 0;
    // The gate is closed, so only refusals end.
    eventually(|| calls.iter().any(|call| call.is_answered()));
    gate.open();
    for call in calls {
        refused +=
            usize::from(call.wait().is_err_and(|error| guest_error(error).0 == "InstancesInUse"));
    }
    assert!(refused > 0);
}

#[test]
fn nested_calls_precede_new_calls_in_a_full_pool() {
    let wpc = pool_with(1, Options::default().max_pending_calls_per_worker(4));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let gate = define_rest(&wpc, Limits::default());
    // None of them begins before all are submitted, because the calls that they make take slots too.
    let spinning = spin(&wpc, &events);
    let calls: Vec<_> = (0..3).map(|_| wpc.submit::<u8>("rest", ()).unwrap()).collect();
    drop(spinning);
    eventually(|| suspended(&wpc) == 6);
    assert_eq!(code(wpc.submit::<u8>("rest", ())), "saturated");
    gate.open();
    for call in calls {
        call.wait().unwrap();
    }
}

#[test]
fn a_stop_lets_nested_calls_finish_and_interrupts_those_that_do_not() {
    let wpc = pool_with(1, Options::default().stop_timeout(Duration::from_millis(50)));
    define_rest(&wpc, Limits::default());
    let calls: Vec<_> = (0..10).map(|_| wpc.submit::<u8>("rest", ()).unwrap()).collect();
    eventually(|| suspended(&wpc) == 20);
    wpc.stop_workers();
    for call in calls {
        assert_eq!(code(call.wait()), "stopped");
    }

    let wpc = pool(1);
    let gate = define_rest(&wpc, Limits::default());
    define_relays(&wpc, &names(3));
    wpc.define_worker_function("run", calling("run", &["nap"])).unwrap();
    let first = wpc.submit::<u32>("run", ("nap",)).unwrap();
    eventually(|| suspended(&wpc) == 2);
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| wpc.stop_workers());
        eventually(|| wpc.call::<u32>("f0", (Vec::<String>::new(),)).is_err());
        // The caller resumes while the pool is stopping.
        gate.open();
        assert_eq!(first.wait().unwrap(), 7);
        stop.join().unwrap();
    });
}

#[test]
fn a_local_worker_calls_functions_on_the_workers_of_a_running_pool() {
    let wpc = pool(1);
    let gate = define_rest(&wpc, Limits::default());
    gate.open();
    let mut here = wpc.local_worker();
    here.call::<u8>("rest", ()).unwrap();
    wpc.stop_workers();
    assert_eq!(code(here.call::<u8>("rest", ())), "not_running");
}
