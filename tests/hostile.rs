//! Guests that break the contract or try to break the host. Each gets its error, its neighbour goes
//! on with its state, and the worker serves again.

use crate::support::*;
use std::time::Duration;
use wpc_host::{CallOptions, Limits, Options, WasmModule};

/// Calls `f` of the module, and sees that a neighbour on the same worker keeps its state.
fn attack(module: WasmModule) -> String {
    attack_within(PATIENCE, module)
}

/// The same for a guest that never ends.
fn attack_for_ever(module: WasmModule) -> String {
    attack_within(Duration::from_millis(50), module)
}

fn attack_within(limit: Duration, module: WasmModule) -> String {
    let wpc = pool_with(1, hasty());
    define_sdk(&wpc, &["count"]);
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 1);
    wpc.define_worker_function("f", module).unwrap();
    let options = CallOptions::new().time_limit(limit);
    let error = wpc.call_with::<()>("f", (), &options).unwrap_err();
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 2, "the neighbour kept its state");
    let health = &wpc.get_worker_health_states()[0];
    assert_eq!(
        (health.pending_call_count, health.restart_attempt),
        (0, 0),
        "the worker was not lost"
    );
    let text = format!("{}: {error}", error.code());
    println!("{text}");
    text
}

fn returns(packed: u64) -> WasmModule {
    contract(&format!(r#"(func (export "f") (param i32 i32) (result i64) i64.const {packed})"#))
}

#[test]
fn replies_outside_the_memory() {
    const SIZE: u64 = 2 * 65_536;
    for (ptr, len) in [
        (SIZE, 1),
        (SIZE - 1, 2),
        (0, SIZE + 1),
        (u64::from(u32::MAX), 1),
        (u64::from(u32::MAX), 0),
    ] {
        let error = attack(returns(ptr << 32 | len));
        assert!(error.starts_with("bad_reply") && error.contains("outside its memory"), "{error}");
    }
    let error = attack(returns(u64::from(u32::MAX) << 32 | u64::from(u32::MAX)));
    assert!(error.starts_with("result_too_large"), "{error}");
    let limits = Limits { result: u32::MAX as usize, ..Limits::default() };
    let error = attack(returns(u64::from(u32::MAX) << 32 | u64::from(u32::MAX)).limits(limits));
    assert!(error.contains("outside its memory"), "{error}");
}

#[test]
fn replies_that_are_none() {
    assert!(attack(returns(0)).contains("its reply is empty"));
    assert!(attack(replies("\\07", 1)).contains("begins with 7"));
    assert!(
        attack(replies("\\01\\ff\\ff\\ff\\ff\\ff", 6)).starts_with("bad_reply"),
        "an error that does not decode"
    );
    assert!(
        attack(replies("\\02\\05a", 3)).starts_with("bad_reply"),
        "a refusal that does not decode"
    );
    assert!(attack(replies("\\00\\01\\02", 3)).starts_with("result_decode"));
}

#[test]
fn a_buffer_outside_the_memory() {
    for ptr in [131_072_u32, 131_071, u32::MAX, u32::MAX - 1023] {
        let module = wat(&format!(
            r#"(module (memory (export "memory") 2)
                (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const {})
                (func (export "f") (param i32 i32) (result i64) i64.const 0))"#,
            ptr.cast_signed()
        ));
        let error = attack(module);
        assert!(error.contains("its argument buffer lies outside its memory"), "{error}");
    }
}

#[test]
fn a_buffer_that_traps_loops_or_wants_everything() {
    let buffer = |body: &str| {
        wat(&format!(
            r#"(module (memory (export "memory") 1)
                (func (export "wpc_buffer_v1") (param i32) (result i32) {body})
                (func (export "f") (param i32 i32) (result i64) i64.const 0))"#
        ))
    };
    assert!(attack(buffer("unreachable")).starts_with("trap"));
    assert!(attack_for_ever(buffer("(loop br 0) i32.const 0")).starts_with("timeout"));
    let hungry = "(if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1)) (then unreachable)) i32.const 0";
    assert!(attack(buffer(hungry)).starts_with("out_of_memory"));
}

#[test]
fn endless_loops_and_endless_recursion() {
    let body = |body: &str| {
        contract(&format!(r#"(func $f (export "f") (param i32 i32) (result i64) {body})"#))
    };
    assert!(attack_for_ever(body("(loop br 0) i64.const 0")).starts_with("timeout"));
    let deep = attack(body("(call $f (i32.const 0) (i32.const 0))"));
    assert!(deep.starts_with("stack_overflow"), "{deep}");
}

#[test]
fn start_functions_and_initialisers_that_trap_or_loop() {
    let start =
        |body: &str| wat(&format!(r#"(module (func $s {body}) (start $s) (func (export "f")))"#));
    assert!(attack(start("unreachable")).starts_with("initialisation"));
    assert!(attack_for_ever(start("(loop br 0)")).starts_with("timeout"));
    let initialise = |body: &str| {
        wat(&format!(r#"(module (func (export "_initialize") {body}) (func (export "f")))"#))
    };
    assert!(attack(initialise("unreachable")).starts_with("initialisation"));
    assert!(attack_for_ever(initialise("(loop br 0)")).starts_with("timeout"));
    let odd = wat(r#"(module (func (export "_initialize") (param i32)) (func (export "f")))"#);
    assert!(attack(odd).starts_with("initialisation"));
}

#[test]
fn memory_and_table_bombs() {
    let grow = r#"(module (memory 1) (func (export "f")
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))"#;
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let error = attack(wat(grow).limits(limits));
    assert!(error.starts_with("out_of_memory") && error.contains("limit of 1048576"), "{error}");
    let grow = r#"(module (table 1 funcref) (func (export "f")
        (loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 100)) (i32.const -1)))) unreachable))"#;
    let limits = Limits { table_elements: 1000, ..Limits::default() };
    let error = attack(wat(grow).limits(limits));
    assert!(error.starts_with("out_of_memory") && error.contains("table elements"), "{error}");
}

#[test]
fn host_functions_called_with_places_outside_the_memory() {
    let calls = |import: &str, ty: &str, arguments: &str| {
        wat(&format!(
            r#"(module (import "wpc" "{import}" (func $host {ty})) (memory (export "memory") 1)
                (func (export "f") {arguments} call $host))"#
        ))
        .grant(wpc_host::Capability::Random)
    };
    let outside = "i32.const 65535 i32.const 2";
    for module in [
        calls("wpc_log", "(param i32 i32 i32)", &format!("i32.const 0 {outside}")),
        calls("wpc_panic", "(param i32 i32)", outside),
        calls("wpc_random", "(param i32 i32)", outside),
        calls("wpc_random", "(param i32 i32)", "i32.const -1 i32.const -1"),
    ] {
        let error = attack(module);
        assert!(error.starts_with("bad_reply") && error.contains("outside its memory"), "{error}");
    }
}

#[test]
fn names_of_constants_that_are_no_text() {
    let module = wat(r#"(module
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1) (data (i32.const 0) "\ff\fe\00")
        (func (export "f") (param i32) (result i64) (call $constant (i32.const 0) (local.get 0) (i32.const 8) (i32.const 8))))"#);
    let wpc = pool(1);
    wpc.define_worker_function("f", module).unwrap();
    for len in [0, 1, 3, 65_536] {
        assert_eq!(wpc.call::<i64>("f", (len,)).unwrap(), -1);
    }
}

#[test]
fn a_module_without_a_memory_that_passes_pointers() {
    let module = wat(r#"(module (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
        (func (export "f") (call $log (i32.const 0) (i32.const 0) (i32.const 1))))"#);
    assert!(attack(module).contains("exports no memory"));
}

#[test]
fn floods_of_log_lines_are_bounded() {
    let flood = || {
        contract(
            r#"(func (export "f") (param i32 i32) (result i64)
                (loop (call $log (i32.const 2) (i32.const 0) (i32.const 131072)) br 0) i64.const 0)"#,
        )
    };
    let error = attack(flood());
    assert!(error.starts_with("log_limit") && error.contains("the limit is 1048576"), "{error}");

    let wpc = pool_with(1, Options { max_waiting_events: 8, ..hasty() });
    let events = Recorder::new(&wpc);
    let limits = Limits { log: usize::MAX, ..Limits::default() };
    wpc.define_worker_function("f", flood().limits(limits)).unwrap();
    let options = CallOptions::new().time_limit(Duration::from_millis(300));
    assert_eq!(code(wpc.call_with::<()>("f", (), &options)), "timeout");
    let line = events.wait_for_name("guest_log");
    let wpc_host::EventDetails::GuestLog { message, .. } = line.details else {
        panic!("it is a line")
    };
    assert!(message.len() <= 16 * 1024);
}

/// A function whose body is a long row of nested blocks and branches.
fn long_body(length: usize) -> Vec<u8> {
    let body =
        "(if (i32.eqz (local.get 0)) (then (local.set 0 (i32.add (local.get 0) (i32.const 7)))))"
            .repeat(length);
    wat::parse_str(format!(r#"(module (func (export "f") (param i32) {body}))"#)).unwrap()
}

#[test]
fn modules_that_take_too_long_to_compile_are_given_up_and_hold_nobody() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let limits = Limits { compile_time: Duration::from_millis(1), ..Limits::default() };
    let module = WasmModule::new(long_body(20_000)).limits(limits);
    let error = wpc.define_worker_function("f", module).unwrap_err();
    assert_eq!(error.code().as_str(), "compile_timeout", "{error}");
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    wpc.define_worker_function("f", long_body(10)).unwrap();
}

#[test]
fn a_trapped_guests_state_is_never_seen_again() {
    let wpc = pool_with(1, hasty());
    wpc.define_worker_module(wat(r#"(module (global $locked (mut i32) (i32.const 0))
        (func (export "take") (if (global.get $locked) (then unreachable)) (global.set $locked (i32.const 1)))
        (func (export "die") (global.set $locked (i32.const 1)) unreachable))"#)).unwrap();
    for _ in 0..3 {
        wpc.call::<()>("take", ()).unwrap();
        assert_eq!(code(wpc.call::<()>("die", ())), "trap");
    }
    wpc.call::<()>("take", ()).unwrap();
}

#[test]
fn ten_thousand_exports() {
    let functions: String = (0..10_000)
        .map(|at| format!(r#"(func (export "f{at}") (result i32) i32.const {at})"#))
        .collect();
    let wpc = pool(1);
    assert_eq!(
        wpc.define_worker_module(wat(&format!("(module {functions})"))).unwrap().len(),
        10_000
    );
    assert_eq!(wpc.call::<i32>("f9999", ()).unwrap(), 9999);
}

#[test]
fn results_that_nest_for_ever() {
    #[derive(Debug, serde::Deserialize)]
    enum Tree {
        Leaf,
        #[expect(dead_code, reason = "only that it does not decode is of interest")]
        Boxed(Box<Tree>),
    }
    let wpc = pool(1);
    wpc.define_worker_function(
        "f",
        contract(
            r#"(func (export "f") (param i32 i32) (result i64)
                (drop (memory.grow (i32.const 64)))
                (memory.fill (i32.const 65537) (i32.const 1) (i32.const 4000000))
                i64.const 281474976710656 i64.const 4000000 i64.or)"#,
        ),
    )
    .unwrap();
    assert_eq!(code(wpc.call::<Tree>("f", ())), "result_decode");
}
