//! The fuel that is reported for calls that do not return.

use crate::support::*;
use std::time::Duration;
use wpc_host::{CallOptions, Error, Limits, MAX_UNCOUNTED_FUEL, WasmModule, WorkerProcedureCall};

/// More fuel than any of these calls uses.
const FUEL: u64 = 1 << 40;

/// Four operators that decrement local 0, and two that repeat until it is zero.
const COUNT_DOWN: &str =
    "(loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))";

const UNITS_OF_AN_ITERATION: u64 = 6;

const TRAP: &str = "(drop (i32.div_u (i32.const 1) (i32.const 0)))";

fn metered() -> Limits {
    Limits::default().fuel(FUEL)
}

/// Calls the function and returns its outcome and its fuel.
fn call(wpc: &WorkerProcedureCall, function: &str, iterations: i32) -> (String, u64) {
    let (result, fuel) = wpc.submit::<()>(function, (iterations,)).unwrap().wait_metered();
    (code(result).to_owned(), fuel.expect("the function is metered"))
}

/// Checks that a call traps after at least `used` units, of which at most `MAX_UNCOUNTED_FUEL` are not reported.
fn traps_after(module: WasmModule, iterations: i32, used: u64) {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_function("f", module.limits(metered())).unwrap();
    let (code, fuel) = call(&wpc, "f", iterations);
    assert_eq!(code, "trap");
    let most = used + used / 100 + 1_000;
    assert!((used - MAX_UNCOUNTED_FUEL..=most).contains(&fuel), "{fuel} of {used}");
    assert_eq!(call(&wpc, "f", iterations), (code, fuel), "the same work uses the same fuel");
}

#[test]
fn a_loop_that_its_limit_interrupts_reports_what_it_used() {
    let wpc = pool(1);
    let module = wat(
        r#"(module (func (export "f") (param i32) (loop (local.set 0 (i32.const 1)) (br 0))))"#,
    );
    wpc.define_worker_function("f", module.limits(metered())).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    // The loop usually runs for several epoch ticks, in each of which it uses about 100 times as much. On a busy machine the
    // limit may pass before the loop begins, and the supervisor may answer before the worker's thread runs again and records
    // the fuel.
    eventually(|| {
        let mut fuel = None;
        timeout_while_running(|| {
            let (result, used) = wpc.submit_with::<()>("f", (1,), &options).unwrap().wait_metered();
            fuel = used;
            result
        });
        fuel.is_some_and(|used| used > MAX_UNCOUNTED_FUEL)
    });
}

#[test]
fn a_million_iterations_before_a_trap_are_counted() {
    let module = format!(r#"(module (func (export "f") (param i32) {COUNT_DOWN} {TRAP}))"#);
    traps_after(wat(&module), 1_000_000, 1_000_000 * UNITS_OF_AN_ITERATION);
}

#[test]
fn straight_line_code_before_a_trap_is_counted() {
    let work = "(drop (i32.const 1))".repeat(100_000);
    let module = format!(r#"(module (func (export "f") (param i32) {work} {TRAP}))"#);
    traps_after(wat(&module), 1, 100_000);
}

#[test]
fn bytes_that_a_loop_fills_before_a_trap_are_counted() {
    let module = format!(
        r#"(module (memory 1) (func (export "f") (param i32)
            (loop (memory.fill (i32.const 0) (i32.const 1) (i32.or (local.get 0) (i32.const 0x8000)))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            {TRAP}))"#
    );
    traps_after(wat(&module), 100, 100 * 0x8000);
}

#[test]
fn a_loop_with_calls_of_the_host_is_counted() {
    let module = format!(
        r#"(module (import "wpc" "wpc_log" (func $log (param i32 i32 i32))) (memory (export "memory") 1)
            (func (export "f") (param i32)
                (local.set 0 (i32.const 10))
                (loop (call $log (i32.const 2) (i32.const 0) (i32.const 0))
                    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.set 0 (i32.const 1000000)) {COUNT_DOWN} {TRAP}))"#
    );
    traps_after(wat(&module), 0, 1_000_000 * UNITS_OF_AN_ITERATION);
}

#[test]
fn loops_in_dependencies_are_counted_before_a_trap() {
    for (its_end, end_of_its_user) in [(TRAP, ""), ("", TRAP)] {
        let wpc = pool_with(1, immediate_restarts());
        let dependency =
            format!(r#"(module (func (export "g") (param i32) {COUNT_DOWN} {its_end}))"#);
        wpc.define_worker_dependency("dependency", wat(&dependency)).unwrap();
        let user = format!(
            r#"(module (import "dependency" "g" (func $g (param i32)))
                (func (export "f") (param i32) (call $g (local.get 0)) {COUNT_DOWN} {end_of_its_user}))"#
        );
        let user = wat(&user).limits(metered());
        wpc.define_worker_function("f", user).unwrap();
        let (code, fuel) = call(&wpc, "f", 1_000_000);
        assert_eq!(code, "trap");
        let loops = if its_end.is_empty() { 2 } else { 1 };
        let used = loops * 1_000_000 * UNITS_OF_AN_ITERATION;
        assert!((used - MAX_UNCOUNTED_FUEL..used + used / 100).contains(&fuel), "{fuel} of {used}");
    }
}

#[test]
fn metering_changes_neither_hash_nor_exports_nor_stack_traces() {
    let text = format!(
        r#"(module (global $started (mut i32) (i32.const 0))
            (func $start (global.set $started (i32.const 7))) (start $start)
            (func $inner (param i32) {COUNT_DOWN} {TRAP})
            (func $outer (export "f") (param i32) (call $inner (local.get 0)))
            (func (export "started") (result i32) (global.get $started)))"#
    );
    let run = |limits: Limits| {
        let wpc = pool_with(1, immediate_restarts());
        let functions = wpc.define_worker_module(wat(&text).limits(limits)).unwrap();
        let functions: Vec<_> = functions
            .iter()
            .map(|function| (function.name.clone(), function.function_hash_sha1))
            .collect();
        let started = wpc.call::<i32>("started", ()).unwrap();
        let Err(wpc_host::Error::Trap { reason, stack, .. }) = wpc.call::<()>("f", (5,)) else {
            panic!("the call should divide by zero")
        };
        (functions, started, reason, stack)
    };
    let plain = run(Limits::default());
    assert!(plain.3.contains("at inner") && plain.3.contains("at outer"), "{}", plain.3);
    assert_eq!(run(metered()), plain);
}

#[test]
fn within_limits_a_caller_can_lower_those_of_the_definition_and_not_raise_them() {
    let wpc = pool_with(1, immediate_restarts());
    let counts = format!(r#"(module (func (export "f") (param i32) {COUNT_DOWN}))"#);
    wpc.define_worker_function("f", wat(&counts).limits(Limits::default().fuel(1_000))).unwrap();
    let with_fuel = |options: CallOptions| wpc.call_with::<()>("f", (1_000,), &options);
    with_fuel(CallOptions::new().fuel(FUEL)).unwrap();
    for fuel in [FUEL, 10] {
        let result = with_fuel(CallOptions::new().fuel(fuel).within_limits());
        assert_eq!(code(result), "out_of_fuel", "{fuel}");
    }

    let own = Duration::from_millis(20);
    let spins = wat(r#"(module (func (export "g") (loop (br 0))))"#);
    wpc.define_worker_function("g", spins.limits(Limits::default().timeout(own))).unwrap();
    for (chosen, expected) in [(Duration::from_secs(3600), own), (own / 2, own / 2)] {
        let options = CallOptions::new().timeout(chosen).within_limits();
        let submitted = wpc.submit_with::<()>("g", (), &options).unwrap();
        match submitted.wait() {
            Err(Error::Timeout { limit, .. }) => assert_eq!(limit, expected),
            other => panic!("{other:?}"),
        }
    }
}
