//! Counters of ended threads, and sums.

use super::*;
use crate::error::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_call_counts_for_its_function_and_for_the_pool() {
    let pool = PoolMeter::default();
    let (function, other) = (pool.new_function(), pool.new_function());
    let (counters, others) = (function.join(), other.join());
    counters.count(None);
    counters.add_fuel(5);
    others.count(Some(ErrorCode::Trap));
    counters.count(None);
    counters.add_fuel(7);
    function.count_elsewhere(ErrorCode::Saturated);
    pool.count_undefined(ErrorCode::FunctionNotDefined);
    let (of_pool, of_function) = (pool.sums(), function.sums());
    assert_eq!((of_function.calls.succeeded, of_function.fuel_used), (2, 12));
    assert_eq!(of_function.calls.failed, [(ErrorCode::Saturated, 1)].into());
    assert_eq!((of_pool.calls.succeeded, of_pool.fuel_used), (2, 12));
    let failed =
        [(ErrorCode::Trap, 1), (ErrorCode::Saturated, 1), (ErrorCode::FunctionNotDefined, 1)];
    assert_eq!(of_pool.calls.failed, failed.into());
}

#[test]
fn a_thread_continues_the_counters_of_one_that_has_ended() {
    let function = FunctionMeter::default();
    for _ in 0..10 {
        function.join().count(None);
    }
    let (one, other) = (function.join(), function.join());
    one.count(None);
    other.count(None);
    assert_eq!(function.lock().len(), 2, "two threads at once");
    assert_eq!(function.sums().calls.succeeded, 12);
}

#[test]
fn the_calls_of_an_undefined_function_stay_in_the_pools_sum() {
    let pool = PoolMeter::default();
    let function = pool.new_function();
    let thread = function.join();
    thread.count(None);
    drop(function);
    assert_eq!((pool.sums().calls.succeeded, pool.len()), (1, 0));
    let next = pool.new_function();
    next.join().count(None);
    assert_eq!((next.sums().calls.succeeded, pool.sums().calls.succeeded), (1, 2));
}

#[test]
fn meters_of_undefined_functions_do_not_accumulate() {
    let pool = PoolMeter::default();
    let kept: Vec<Arc<FunctionMeter>> = (0..20).map(|_| pool.new_function()).collect();
    for _ in 0..1_000 {
        pool.new_function().join().count(None);
    }
    assert!(pool.len() <= 2 * kept.len() + 1, "{}", pool.len());
    assert_eq!(pool.sums().calls.succeeded, 1_000);
}

#[test]
fn a_latency_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
    let pool = PoolMeter::default();
    let function = pool.new_function();
    let thread = function.join();
    let (micros, wait) = (Duration::from_micros, Some(Duration::from_secs(11)));
    thread.record(micros(10), None);
    thread.record(micros(11), wait);
    let latencies = function.sums().latencies;
    assert_eq!(latencies.run_time.counts[..3], [1, 1, 0]);
    assert_eq!(latencies.run_time.bounds[..2], [0.000_01, 0.000_025]);
    assert_eq!(latencies.run_time.sum, micros(21));
    assert_eq!((latencies.queue_wait.count(), latencies.queue_wait.counts.last()), (1, Some(&1)));
    assert_eq!(pool.sums().latencies, latencies);
}
