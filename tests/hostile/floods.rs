//! Guests that call a function of the host in an endless loop, or 40,000 times without one.

use super::{attack, hostile, long_constant};
use crate::support::{Recorder, code, define_sdk, eventually, immediate_restarts, pool_with, wat};
use std::time::Duration;
use wpc_host::{
    CallOptions, Capability, ItemStream, Limits, Output, StreamOptions, Wasi, WasmModule,
};

/// A guest that calls this import 40,000 times without a loop.
fn flood(module: &str, import: &str, ty: &str, arguments: &str, drops: &str) -> WasmModule {
    let calls = format!("(call $flood {arguments}) {drops}\n").repeat(40_000);
    wat(&format!(
        r#"(module (import "{module}" "{import}" (func $flood {ty}))
            (memory (export "memory") 64) (data (i32.const 0) "K")
            (func (export "f") {calls}))"#
    ))
}

#[test]
fn constant_flood() {
    attack("constant-flood").given(long_constant).ends_with("timeout");
}

#[test]
fn log_flood() {
    attack("log-flood").ends_with("log_limit");
}

#[test]
fn log_flood_of_nothing() {
    attack("log-flood-of-nothing").ends_with("log_limit");
}

#[test]
fn random_flood() {
    attack("random-flood").granted(|module| module.grant(Capability::Random)).ends_with("timeout");
}

#[test]
fn wasi_print_flood() {
    attack("wasi-print-flood")
        .granted(|module| module.grant_wasi(Wasi::new().stdout(Output::events())))
        .ends_with("log_limit");
}

#[test]
fn an_allowed_flood_of_log_lines_is_split_and_drops_events() {
    let wpc = pool_with(1, immediate_restarts().max_waiting_events(8));
    let events = Recorder::new(&wpc);
    let limits = Limits::default().log(usize::MAX);
    wpc.define_worker_function("f", hostile("log-flood").limits(limits)).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(300));
    let mut lines = wpc.subscribe(1_000);
    // On a busy machine, the limit may pass before the guest writes a line.
    eventually(|| {
        assert_eq!(code(wpc.call_with::<()>("f", (), &options)), "timeout");
        std::iter::from_fn(|| lines.try_next()).any(|event| event.event_name() == "guest_log")
    });
    let line = events.wait_for_name("guest_log");
    let wpc_host::EventDetails::GuestLog { message, .. } = line.details else {
        panic!("expected a log line")
    };
    assert!(message.len() <= 16 * 1024);
}

/// Imports: module, name, type, arguments, and how many results are dropped.
const FLOODS: [(&str, &str, &str, &str, usize); 15] = [
    (
        "wpc",
        "wpc_constant",
        CARRIED,
        "(i32.const 0) (i32.const 1) (i32.const 16) (i32.const 0x200000)",
        1,
    ),
    ("wpc", "wpc_take", "(param i32 i32) (result i64)", "(i32.const 16) (i32.const 64)", 1),
    ("wpc", "wpc_log", "(param i32 i32 i32)", "(i32.const 2) (i32.const 0) (i32.const 16384)", 0),
    ("wpc", "wpc_panic", "(param i32 i32)", "(i32.const 0) (i32.const 16384)", 0),
    ("wpc", "wpc_yield", "(param i32 i32)", "(i32.const 16) (i32.const 16384)", 0),
    ("wpc", "wpc_random", "(param i32 i32)", "(i32.const 16) (i32.const 16384)", 0),
    ("wpc", "wpc_clock", "(param i32) (result i64)", "(i32.const 0)", 1),
    (
        "wpc-host",
        "nothing",
        CARRIED,
        "(i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)",
        1,
    ),
    (
        "wpc",
        "wpc_call",
        "(param i32 i32 i32 i32 i32 i32) (result i64)",
        "(i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)",
        1,
    ),
    (
        "wpc-functions",
        "undefined",
        CARRIED,
        "(i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)",
        1,
    ),
    ("wpc:nothing", "f", CARRIED, "(i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)", 1),
    (WASI, "sched_yield", "(result i32)", "", 1),
    (WASI, "random_get", "(param i32 i32) (result i32)", "(i32.const 16) (i32.const 16384)", 1),
    (
        WASI,
        "fd_write",
        "(param i32 i32 i32 i32) (result i32)",
        "(i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)",
        1,
    ),
    (WASI, "environ_sizes_get", "(param i32 i32) (result i32)", "(i32.const 16) (i32.const 20)", 1),
];

/// The type of `wpc_constant` and of functions that take and return bytes.
const CARRIED: &str = "(param i32 i32 i32 i32) (result i64)";

const WASI: &str = "wasi_snapshot_preview1";

#[test]
fn a_flood_of_calls_to_any_import_ends_at_its_time_limit() {
    // The longest floods would take seconds: more than the grace after which a worker is replaced.
    let options = immediate_restarts().unresponsive_worker_grace(Duration::from_secs(1));
    let wpc = pool_with(2, options);
    wpc.define_worker_constant("K", &vec![7_u8; 1 << 20]).unwrap();
    wpc.define_host_function("nothing", |_, (): ()| Ok::<_, String>(())).unwrap();
    wpc.define_worker_dependency("nothing", wat(r#"(module (func (export "f")))"#)).unwrap();
    define_sdk(&wpc, &["add"]);
    // The error for an unknown import lists those of the contract.
    let unknown = wat(r#"(module (import "wpc" "nothing" (func)) (func (export "f")))"#);
    let text = wpc.define_worker_function("unknown", unknown).unwrap_err().to_string();
    let (_, offered) = text.split_once("\"wpc\" provides ").unwrap();
    for name in offered.split(", ") {
        assert!(FLOODS.iter().any(|flood| flood.1 == name), "{name} is not in FLOODS");
    }
    let limit = CallOptions::new().timeout(Duration::from_millis(1));
    let limit = StreamOptions::new().call(limit);
    for (module, name, ty, arguments, results) in FLOODS {
        let flood = flood(module, name, ty, arguments, &"drop ".repeat(results))
            .limits(Limits::default().log(usize::MAX))
            .grant(Capability::Random)
            .grant(Capability::Clock)
            .grant_host_function("nothing")
            .grant_function("K")
            .grant_function("undefined")
            .grant_wasi(Wasi::minimal().stdout(Output::discard()));
        wpc.define_worker_function(name, flood.export("f")).unwrap();
        // Also those that yield no items.
        let begin = || wpc.stream_with::<(), ()>(name, (), &limit).unwrap();
        let call = begin();
        // On the other worker, and queued behind the flood.
        for _ in 0..4 {
            assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3, "beside {name}");
        }
        // On a busy machine a whole flood may pass between two ticks of the supervisor: then another one follows.
        let floods = std::iter::once(call).chain(std::iter::repeat_with(begin));
        let mut ended = floods.take(1_000).map(ItemStream::finish);
        let failed = ended.find_map(Result::err).expect("a flood meets a tick");
        assert_eq!(failed.error.code().as_str(), "timeout", "{name}");
    }
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0, "no worker is replaced");
    }
}
