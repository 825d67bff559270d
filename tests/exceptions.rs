//! Exceptions and `externref`: their heap counts as memory, a guest that throws ends at its limits, and an uncaught
//! exception is an error of the call.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_host::{
    CallOptions, Error, Limits, MAX_UNCOUNTED_FUEL, Sha256Hash, WasmModule, WorkerProcedureCall,
};

/// A function that throws its argument, and another one that catches the exception.
const THROWS_AND_CATCHES: &str = r#"
    (tag $t (param i32))
    (func $throws (param i32) (throw $t (local.get 0)))
    (func $catches (param i32) (result i32)
        (block $caught (result i32)
            (try_table (catch $t $caught) (call $throws (local.get 0)))
            unreachable))"#;

/// Throws and catches as many times as the argument states.
fn thrower() -> String {
    format!(
        r#"(module {THROWS_AND_CATCHES}
            (func (export "f") (param $iterations i32) (result i32) (local $sum i32)
                (loop
                    (local.set $sum (i32.add (local.get $sum) (call $catches (i32.const 1))))
                    (local.set $iterations (i32.sub (local.get $iterations) (i32.const 1)))
                    (br_if 0 (local.get $iterations)))
                (local.get $sum)))"#
    )
}

/// Keeps as many exceptions alive as the argument states: the payload of each is the previous one.
const CHAIN: &str = r#"(module
    (tag $t (param exnref))
    (func $wrap (param exnref) (result exnref)
        (block $caught (result exnref exnref)
            (try_table (catch_ref $t $caught) (throw $t (local.get 0)))
            unreachable)
        (local.set 0)
        drop
        (local.get 0))
    (func (export "f") (param $length i32) (result i32) (local $last exnref)
        (loop
            (local.set $last (call $wrap (local.get $last)))
            (local.set $length (i32.sub (local.get $length) (i32.const 1)))
            (br_if 0 (local.get $length)))
        (i32.const 7)))"#;

fn pool_of(text: &str, limits: Limits) -> WorkerProcedureCall {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_function("f", wat(text).limits(limits)).unwrap();
    wpc
}

#[test]
fn caught_exceptions_are_collected() {
    // The heap has two halves of one or two pages of 64 KiB. A million live exceptions would take at least 24 MB.
    let wpc = pool_of(&thrower(), Limits::default().memory(256 << 10));
    for _ in 0..3 {
        assert_eq!(wpc.call::<i32>("f", (1_000_000,)).unwrap(), 1_000_000);
    }
}

#[test]
fn live_exceptions_count_as_memory() {
    let limit = 1 << 20;
    let wpc = pool_of(CHAIN, Limits::default().memory(limit));
    for _ in 0..2 {
        assert_eq!(wpc.call::<i32>("f", (1_000,)).unwrap(), 7);
        let Err(Error::OutOfMemory { requested, limit: reported, .. }) =
            wpc.call::<i32>("f", (1_000_000,))
        else {
            panic!("the exceptions should not fit")
        };
        assert!(reported == limit && requested > limit, "{requested} of {reported}");
    }
}

#[test]
fn the_exception_heap_and_the_memory_share_their_limit() {
    let text = CHAIN.replace("(module", "(module (memory 15)");
    let wpc = pool_of(&text, Limits::default().memory(1 << 20));
    // 64 KiB are left.
    assert_eq!(wpc.call::<i32>("f", (100,)).unwrap(), 7);
    assert_eq!(code(wpc.call::<i32>("f", (10_000,))), "out_of_memory");
}

#[test]
fn a_guest_that_throws_endlessly_ends_at_its_time_limit() {
    let endless = format!(
        r#"(module {THROWS_AND_CATCHES}
            (func (export "f") (param i32) (result i32)
                (loop (drop (call $catches (i32.const 1))) (br 0)) unreachable))"#
    );
    let in_its_handler = r#"(module (tag $t)
        (func (export "f") (param i32) (result i32)
            (loop $again (block $caught (try_table (catch $t $caught) (throw $t))) (br $again))
            unreachable))"#;
    let into_a_loop = r#"(module (tag $t)
        (func (export "f") (param i32) (result i32)
            (loop $again (try_table (catch $t $again) (throw $t))) unreachable))"#;
    let rethrows = r#"(module (tag $t)
        (func $deep (param i32)
            (block $caught (result exnref)
                (try_table (catch_all_ref $caught)
                    (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
                        (else (throw $t))))
                return)
            throw_ref)
        (func (export "f") (param i32) (result i32)
            (loop $again (try_table (catch_all $again) (call $deep (i32.const 1000)))) unreachable))"#;
    for text in [&endless, in_its_handler, into_a_loop, rethrows] {
        for limits in [Limits::default(), Limits::default().fuel(u64::MAX / 2)] {
            let wpc = pool_of(text, limits);
            let other = wat(r#"(module (func (export "other") (result i32) i32.const 7))"#);
            wpc.define_worker_module(other).unwrap();
            let options = CallOptions::new().timeout(Duration::from_millis(50));
            timeout_while_running(|| wpc.call_with::<i32>("f", (1,), &options));
            // The worker is not abandoned: it reacts, and runs another call.
            assert_eq!(wpc.call::<i32>("other", ()).unwrap(), 7, "{text}");
            assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0, "{text}");
        }
    }
}

#[test]
fn a_guest_that_throws_uses_fuel_and_ends_at_its_limit() {
    let metered = |fuel| Limits::default().fuel(fuel);
    let wpc = pool_of(&thrower(), metered(1_000_000));
    let fuel = |iterations: i32| {
        let answer = wpc.submit::<i32>("f", (iterations,)).unwrap().wait_answer().unwrap();
        answer.metadata.fuel_used.unwrap()
    };
    let (ten, twenty, thirty) = (fuel(10), fuel(20), fuel(30));
    assert_eq!(twenty - ten, thirty - twenty, "each exception uses the same fuel");
    assert!(twenty - ten >= 10 * 10, "{ten}, {twenty}");
    let (result, used) = wpc.submit::<i32>("f", (10_000_000,)).unwrap().wait_metered();
    assert_eq!((code(result), used), ("out_of_fuel", Some(1_000_000)));
}

#[test]
fn fuel_used_before_a_throw_is_counted() {
    let text = r#"(module (tag $t)
        (func $works (param i32)
            (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))
            (throw $t))
        (func (export "f") (param i32) (result i32)
            (block $caught (try_table (catch $t $caught) (call $works (local.get 0))))
            (i32.const 7)))"#;
    let wpc = pool_of(text, Limits::default().fuel(1 << 40));
    let answer = wpc.submit::<i32>("f", (1_000_000,)).unwrap().wait_answer().unwrap();
    let used = answer.metadata.fuel_used.unwrap();
    let most = 6_010_000;
    assert!((6_000_000..most).contains(&used), "{used}");
    let uncaught = text.replace("(catch $t $caught)", "");
    let wpc = pool_of(&uncaught, Limits::default().fuel(1 << 40));
    let (result, used) = wpc.submit::<i32>("f", (1_000_000,)).unwrap().wait_metered();
    assert_eq!(code(result), "uncaught_exception");
    let used = used.unwrap();
    assert!((6_000_000 - MAX_UNCOUNTED_FUEL..most).contains(&used), "{used}");
}

#[test]
fn an_exception_that_leaves_the_function_is_an_error_with_its_payload() {
    let text = format!(
        r#"(module {THROWS_AND_CATCHES}
            (func (export "f") (param i32) (result i32) (call $throws (local.get 0)) i32.const 7)
            (func (export "g") (param i32) (result i32) (call $catches (local.get 0))))"#
    );
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_module(wat(&text)).unwrap();
    for payload in [5, -3] {
        let Err(error @ Error::UncaughtException { .. }) = wpc.call::<i32>("f", (payload,)) else {
            panic!("the exception should not be caught")
        };
        assert_eq!(
            error.to_string(),
            format!("function \"f\" did not catch an exception with the payload ({payload})")
        );
        // The call runs in a new sandbox.
        assert_eq!(wpc.call::<i32>("g", (payload,)).unwrap(), payload);
    }
    let mut local = wpc.local_worker();
    assert_eq!(code(local.call::<i32>("f", (5,))), "uncaught_exception");
    assert_eq!(local.call::<i32>("g", (5,)).unwrap(), 5);
}

#[test]
fn an_exception_in_a_start_function_or_init_hook_is_an_initialisation_error() {
    let start = r#"(module (tag $t (param i64)) (func $s (throw $t (i64.const 9))) (start $s)
        (func (export "f") (param i32) (result i32) i32.const 7))"#;
    let error = pool_of(start, Limits::default()).call::<i32>("f", (1,)).unwrap_err();
    let Error::Initialisation { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("(9)"), "it shows the payload: {reason}");
}

#[test]
fn an_exception_is_caught_across_a_direct_link() {
    let wpc = pool_with(1, immediate_restarts());
    let thrower = r#"(module (tag $t (export "t") (param i32))
        (func (export "throws") (param i32) (throw $t (local.get 0))))"#;
    let user = r#"(module
        (import "thrower" "t" (tag $t (param i32)))
        (import "thrower" "throws" (func $throws (param i32)))
        (func (export "f") (param i32) (result i32)
            (block $caught (result i32)
                (try_table (catch $t $caught) (call $throws (local.get 0)))
                unreachable)))"#;
    wpc.define_worker_dependency("thrower", wat(thrower)).unwrap();
    wpc.define_worker_function("f", wat(user)).unwrap();
    assert_eq!(wpc.call::<i32>("f", (3,)).unwrap(), 3);
    let metered = Limits::default().fuel(1_000);
    wpc.define_worker_function("f", wat(user).limits(metered)).unwrap();
    assert_eq!(wpc.call::<i32>("f", (3,)).unwrap(), 3);
    // A tag of another type does not link.
    let other = wat(&user
        .replace("(tag $t (param i32))", "(tag $t (param i64))")
        .replace("(block $caught (result i32)", "(block $caught (result i64)")
        .replace("unreachable)))", "unreachable) i32.wrap_i64))"));
    assert_eq!(code(wpc.define_worker_function("g", other)), "dependency_export");
}

#[test]
fn modules_with_and_without_exceptions_may_depend_on_each_other() {
    let plain = r#"(module (func (export "seven") (result i32) i32.const 7))"#;
    let with_exceptions = format!(
        r#"(module {THROWS_AND_CATCHES} (func (export "seven") (result i32) (call $catches (i32.const 7))))"#
    );
    let user = |more: &str| {
        wat(&format!(
            r#"(module (import "a" "seven" (func $seven (result i32))) {more}
                (func (export "f") (result i32) call $seven))"#
        ))
    };
    let wpc = pool_with(1, immediate_restarts());
    // It is linked again with each of them.
    wpc.define_worker_function("f", user("")).unwrap();
    wpc.define_worker_function("g", user("(tag)").export("f")).unwrap();
    for dependency in [plain, &with_exceptions, plain] {
        wpc.define_worker_dependency("a", wat(dependency)).unwrap();
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 7);
        assert_eq!(wpc.call::<i32>("g", ()).unwrap(), 7);
    }
}

/// Makes a typed call to `g` of the dependency `a` and catches every exception.
const CATCHES_ALL: &str = r#"(module
    (import "wpc:a" "g" (func $g (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (func (export "f") (result i32)
        (block $caught
            (try_table (catch_all $caught)
                (drop (call $g (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
                (return (i32.const 1))))
        (i32.const 2)))"#;

#[test]
fn an_exception_does_not_cross_a_call_with_bytes() {
    let wpc = pool_with(1, immediate_restarts());
    let thrower = r#"(module (tag $t (param i32)) (func (export "g") (throw $t (i32.const 4))))"#;
    wpc.define_worker_dependency("a", wat(thrower)).unwrap();
    wpc.define_worker_function("f", wat(CATCHES_ALL)).unwrap();
    let error = wpc.call::<i32>("f", ()).unwrap_err();
    let Error::UncaughtException { exception, .. } = &error else { panic!("{error}") };
    assert!(exception.contains("(4)") && exception.contains("\"a\""), "{exception}");
}

#[test]
fn guests_cannot_catch_traps_interrupts_or_host_failures() {
    let cases = [
        (r#"(module (func (export "g") unreachable))"#, "trap"),
        (r#"(module (func (export "g") (loop (br 0))))"#, "timeout"),
        (r#"(module (func $r (export "g") (call $r)))"#, "stack_overflow"),
    ];
    for (dependency, expected) in cases {
        let wpc = pool_with(1, immediate_restarts());
        wpc.define_worker_dependency("a", wat(dependency)).unwrap();
        wpc.define_worker_function("f", wat(CATCHES_ALL)).unwrap();
        let limit = if expected == "timeout" { Duration::from_millis(100) } else { TEST_TIMEOUT };
        let options = CallOptions::new().timeout(limit);
        let result = wpc.submit_with::<i32>("f", (), &options).unwrap().wait();
        assert_eq!(code(result), expected, "{dependency}");
    }
    let host = CATCHES_ALL.replace("\"wpc:a\"", "\"wpc-host\"");
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_host_function("g", |_, (): ()| -> Result<(), String> {
        panic!("intended by the test")
    })
    .unwrap();
    wpc.define_worker_function("f", wat(&host).grant_host_function("g")).unwrap();
    // The guest receives a reply and not an exception.
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 1);
}

#[test]
fn deep_stacks_and_large_heaps_are_interrupted_near_the_limit() {
    let text = r#"(module (tag $t) (tag $e (param exnref))
        (func $deep (param i32)
            (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else (throw $t))))
        (func (export "f") (param i32) (result i32)
            (loop $again (try_table (catch $t $again) (call $deep (local.get 0)))) unreachable))"#;
    let wpc = pool_of(text, Limits::default());
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    let result = wpc.submit_with::<i32>("f", (5_000,), &options).unwrap().wait();
    assert_eq!(code(result), "timeout");
    let wpc = pool_of(CHAIN, Limits::default());
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    let result = wpc.submit_with::<i32>("f", (-1,), &options).unwrap().wait();
    assert_eq!(code(result), "timeout");
}

#[test]
fn a_module_may_use_exceptions_without_a_tag() {
    let text = r#"(module (func $traps)
        (func (export "f") (param i32) (result i32)
            (block $caught (result exnref) (try_table (catch_all_ref $caught) (call $traps)) (return (i32.const 7)))
            throw_ref))"#;
    for limits in [Limits::default(), Limits::default().fuel(1_000)] {
        assert_eq!(pool_of(text, limits).call::<i32>("f", (1,)).unwrap(), 7);
    }
}

#[test]
fn elements_of_every_kind_of_table_count() {
    let text = r#"(module (table $t 1 externref) (table $u 1 exnref)
        (func (export "f") (param i32) (result i32)
            (drop (table.grow $u (ref.null exn) (i32.const 10)))
            (table.grow $t (ref.null extern) (local.get 0))))"#;
    let wpc = pool_of(text, Limits::default().table_elements(100));
    assert_eq!(wpc.call::<i32>("f", (50,)).unwrap(), 1);
    let wpc = pool_of(text, Limits::default().table_elements(100));
    assert_eq!(wpc.call::<i32>("f", (100,)).unwrap(), -1);
}

#[test]
fn sandboxes_with_exceptions_are_counted_and_released() {
    let wpc = pool_of(&thrower(), Limits::default());
    let before = wpc.get_sandbox_usage();
    assert_eq!((before.live_instances, before.live_memories), (0, 0));
    assert_eq!(wpc.call::<i32>("f", (3,)).unwrap(), 3);
    let during = wpc.get_sandbox_usage();
    assert_eq!((during.live_instances, during.live_memories), (1, 1));
    wpc.stop_workers();
    assert_eq!(wpc.get_sandbox_usage().live_instances, 0);
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/exceptions")
}

fn fixture(name: &str) -> WasmModule {
    WasmModule::new(std::fs::read(fixtures().join(name)).unwrap())
}

#[test]
fn cpp_exceptions_run_destructors_and_are_caught() {
    for limits in [Limits::default(), Limits::default().fuel(1_000_000)] {
        let wpc = pool_with(1, immediate_restarts());
        wpc.define_worker_module(fixture("throws.wasm").limits(limits)).unwrap();
        assert_eq!(wpc.call::<i32>("caught", (4,)).unwrap(), 0);
        assert_eq!(wpc.call::<i32>("caught", (5,)).unwrap(), 52);
        assert_eq!(wpc.call::<i32>("repeat", (1_000,)).unwrap(), 12_000);
        assert_eq!(wpc.call::<i32>("uncaught", (4,)).unwrap(), 4);
        assert_eq!(code(wpc.call::<i32>("uncaught", (5,))), "uncaught_exception");
    }
}

#[test]
fn setjmp_and_longjmp_run() {
    for limits in [Limits::default(), Limits::default().fuel(1_000_000)] {
        let wpc = pool_with(1, immediate_restarts());
        wpc.define_worker_function("jumps", fixture("jumps.wasm").limits(limits)).unwrap();
        for times in [0, 1, 100] {
            assert_eq!(wpc.call::<i32>("jumps", (times, 20)).unwrap(), times);
        }
    }
}

#[test]
fn the_fixtures_are_built_from_their_sources() {
    let recorded = std::fs::read_to_string(fixtures().join("sources.sha256")).unwrap();
    assert_eq!(recorded.lines().count(), 6);
    for line in recorded.lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let found = Sha256Hash::of(&std::fs::read(fixtures().join(name)).unwrap()).to_string();
        assert_eq!(found, hash, "{name} changed; run `fixtures/exceptions/build.sh`");
    }
}
