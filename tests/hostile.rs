//! An attack for each file of `fixtures/hostile`. Whatever a guest does, its call ends with the
//! outcome told here, its neighbours' calls go on succeeding, its worker serves again with its
//! neighbours' state, and nothing of it is left in memory.

use crate::support::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use wpc_host::{
    CallOptions, Capability, Limits, Options, Output, Wasi, WasmModule, WorkerProcedureCall,
};

fn hostile(name: &str) -> WasmModule {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/hostile")
        .join(format!("{name}.wat"));
    WasmModule::new(wat::parse_file(path).unwrap())
}

/// An attack with what it is granted and what it finds defined.
struct Attack {
    module: WasmModule,
    given: Box<dyn Fn(&WorkerProcedureCall)>,
    /// Undone before it is seen what is left.
    release: Box<dyn Fn()>,
    loses_its_worker: bool,
}

/// The module of this name, whose function is `f`.
fn attack(name: &str) -> Attack {
    attack_by(hostile(name))
}

fn attack_by(module: WasmModule) -> Attack {
    Attack { module, given: Box::new(|_| {}), release: Box::new(|| {}), loses_its_worker: false }
}

impl Attack {
    fn granted(mut self, grant: impl FnOnce(WasmModule) -> WasmModule) -> Self {
        self.module = grant(self.module);
        self
    }

    fn given(mut self, given: impl Fn(&WorkerProcedureCall) + 'static) -> Self {
        self.given = Box::new(given);
        self
    }

    /// Sees that the call ends so: with the code of an error, or with a `value`.
    fn ends_with(self, outcome: &str) {
        let limit = if outcome == "timeout" { Duration::from_millis(50) } else { PATIENCE };
        self.run(|wpc, module, here| {
            wpc.define_worker_function("f", module).unwrap();
            let here = here.clone().time_limit(limit);
            match wpc.call_with::<()>("f", (), &here) {
                Ok(()) => assert_eq!("value", outcome),
                Err(error) => assert_eq!(error.code().as_str(), outcome, "{error}"),
            }
        });
    }

    /// Sees that the module is refused with this code.
    fn refused_with(self, expected: &str) {
        self.run(|wpc, module, _| {
            assert_eq!(code(wpc.define_worker_function("f", module)), expected);
        });
    }

    fn run(self, strike: impl FnOnce(&WorkerProcedureCall, WasmModule, &CallOptions)) {
        let grace = Duration::from_millis(if self.loses_its_worker { 20 } else { 10_000 });
        let wpc = pool_with(2, Options { lost_worker_grace: grace, ..hasty() });
        // Each by itself, so that it has a sandbox of its own on each worker.
        define_sdk(&wpc, &["add", "count"]);
        wpc.warm_worker_function("add").unwrap();
        wpc.warm_worker_function("count").unwrap();
        (self.given)(&wpc);
        let held_before = wpc.get_sandbox_usage();
        let here = CallOptions::new().affinity("here");
        assert_eq!(wpc.call_with::<u64>("count", (), &here).unwrap(), 1);

        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let neighbour = scope.spawn(|| {
                let mut calls = 0;
                while calls < 100 || !is_over.load(Ordering::Acquire) {
                    assert_eq!(wpc.call::<i32>("add", (calls, 1)).unwrap(), calls + 1);
                    calls += 1;
                }
            });
            let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                strike(&wpc, self.module, &here);
            }));
            is_over.store(true, Ordering::Release);
            neighbour.join().expect("neighbours' calls go on succeeding");
            if let Err(panic) = struck {
                std::panic::resume_unwind(panic);
            }
        });
        assert_eq!(wpc.call_with::<i32>("add", (1, 2), &here).unwrap(), 3, "it serves again");
        if !self.loses_its_worker {
            let count = wpc.call_with::<u64>("count", (), &here).unwrap();
            assert_eq!(count, 2, "the neighbour on the same worker kept its state");
            for health in wpc.get_worker_health_states() {
                assert_eq!(health.restart_attempt, 0, "no worker was lost");
            }
        }
        (self.release)();
        wpc.undefine_worker_function("f");
        eventually(|| wpc.get_sandbox_usage().live_memories <= held_before.live_memories);
        eventually(|| wpc.get_sandbox_usage().live_instances <= held_before.live_instances);
        wpc.stop_workers();
        eventually(|| wpc.get_sandbox_usage().live_instances == 0);
    }
}

/// Looks until it is so. What is waited for has no event of its own.
fn eventually(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came to be");
        std::thread::yield_now();
    }
}

/// A guest that does nothing but call this import, 40,000 times without a loop.
fn flood(module: &str, import: &str, ty: &str, arguments: &str, drops: &str) -> WasmModule {
    let calls = format!("(call $flood {arguments}) {drops}\n").repeat(40_000);
    wat(&format!(
        r#"(module (import "{module}" "{import}" (func $flood {ty}))
            (memory (export "memory") 64) (data (i32.const 0) "K")
            (func (export "f") {calls}))"#
    ))
}

fn with_memory(bytes: usize) -> impl FnOnce(WasmModule) -> WasmModule {
    move |module| module.limits(Limits { memory: bytes, ..Limits::default() })
}

fn trampoline(wpc: &WorkerProcedureCall) {
    wpc.define_worker_dependency("trampoline", hostile("trampoline")).unwrap();
}

fn word(wpc: &WorkerProcedureCall) {
    wpc.define_worker_constant("word", &"w".repeat(4000)).unwrap();
}

#[test]
fn every_attack_has_its_test() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/hostile");
    let mut attacks = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(include_str!("hostile.rs").contains(&format!("\"{name}\"")), "{name} has no test");
        attacks += 1;
    }
    assert!(attacks >= 25);
}

#[test]
fn endless_loop() {
    attack("endless-loop").ends_with("timeout");
}

#[test]
fn endless_tail_call() {
    attack("endless-tail-call").ends_with("timeout");
}

#[test]
fn endless_recursion() {
    attack("endless-recursion").ends_with("stack_overflow");
}

#[test]
fn endless_indirect_recursion() {
    attack("endless-indirect-recursion").ends_with("stack_overflow");
}

#[test]
fn memory_bomb() {
    attack("memory-bomb").ends_with("out_of_memory");
}

#[test]
fn memory_grow_storm() {
    attack("memory-grow-storm").granted(with_memory(1 << 20)).ends_with("timeout");
}

#[test]
fn memory_touch() {
    attack("memory-touch").granted(with_memory(16 << 20)).ends_with("timeout");
}

#[test]
fn memory_fill_storm() {
    attack("memory-fill-storm").ends_with("timeout");
}

#[test]
fn memory_too_large() {
    attack("memory-too-large").refused_with("memory_too_large");
}

#[test]
fn table_bomb() {
    attack("table-bomb").ends_with("out_of_table_elements");
}

#[test]
fn table_too_large() {
    attack("table-too-large").refused_with("table_too_large");
}

#[test]
fn buffer_wants_everything() {
    attack("buffer-wants-everything").ends_with("out_of_memory");
}

#[test]
fn buffer_outside() {
    attack("buffer-outside").ends_with("bad_reply");
}

#[test]
fn buffer_crosses_the_end() {
    attack("buffer-crosses-the-end").ends_with("bad_reply");
}

#[test]
fn buffer_overflows() {
    attack("buffer-overflows").ends_with("bad_reply");
}

#[test]
fn buffer_loops() {
    attack("buffer-loops").ends_with("timeout");
}

#[test]
fn reply_outside() {
    attack("reply-outside").ends_with("bad_reply");
}

#[test]
fn reply_crosses_the_end() {
    attack("reply-crosses-the-end").ends_with("bad_reply");
}

#[test]
fn reply_overflows() {
    attack("reply-overflows").ends_with("bad_reply");
}

#[test]
fn reply_without_length() {
    attack("reply-without-length").ends_with("bad_reply");
}

#[test]
fn reply_of_4_gib() {
    attack("reply-of-4-gib").ends_with("result_too_large");
}

#[test]
fn reply_empty() {
    attack("reply-empty").ends_with("bad_reply");
}

#[test]
fn reply_of_no_kind() {
    attack("reply-of-no-kind").ends_with("bad_reply");
}

#[test]
fn reply_with_garbage() {
    attack("reply-with-garbage").ends_with("result_decode");
}

#[test]
fn reply_with_garbage_error() {
    attack("reply-with-garbage-error").ends_with("bad_reply");
}

#[test]
fn reply_with_garbage_refusal() {
    attack("reply-with-garbage-refusal").ends_with("bad_reply");
}

#[test]
fn value_outside() {
    attack("value-outside").ends_with("bad_reply");
}

#[test]
fn value_overflows() {
    attack("value-overflows").ends_with("bad_reply");
}

#[test]
fn value_of_4_gib() {
    attack("value-of-4-gib").ends_with("result_too_large");
}

#[test]
fn value_without_length() {
    attack("value-without-length").ends_with("bad_reply");
}

#[test]
fn value_place_is_cut() {
    attack("value-place-is-cut").ends_with("bad_reply");
}

#[test]
fn value_is_its_own_place() {
    attack("value-is-its-own-place").ends_with("result_decode");
}

#[test]
fn reply_is_the_argument_buffer() {
    attack("reply-is-the-argument-buffer").ends_with("value");
}

#[test]
fn reply_nests_for_ever() {
    attack("reply-nests-for-ever").ends_with("result_decode");
}

#[test]
fn constant_name_is_no_text() {
    attack("constant-name-is-no-text").ends_with("value");
}

#[test]
fn constant_name_outside() {
    attack("constant-name-outside").ends_with("bad_reply");
}

#[test]
fn constant_room_outside() {
    attack("constant-room-outside").given(word).ends_with("bad_reply");
}

#[test]
fn constant_flood() {
    attack("constant-flood").given(word).ends_with("timeout");
}

#[test]
fn take_without_a_reply() {
    attack("take-without-a-reply").ends_with("value");
}

#[test]
fn log_outside() {
    attack("log-outside").ends_with("bad_reply");
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
fn panic_with_garbage() {
    attack("panic-with-garbage").ends_with("trap");
}

#[test]
fn random_outside() {
    attack("random-outside")
        .granted(|module| module.grant(Capability::Random))
        .ends_with("bad_reply");
}

#[test]
fn random_flood() {
    attack("random-flood").granted(|module| module.grant(Capability::Random)).ends_with("timeout");
}

#[test]
fn pointers_without_a_memory() {
    attack("pointers-without-a-memory").ends_with("bad_reply");
}

#[test]
fn start_traps() {
    attack("start-traps").ends_with("initialisation");
}

#[test]
fn start_loops() {
    attack("start-loops").ends_with("timeout");
}

#[test]
fn initialize_loops() {
    attack("initialize-loops").ends_with("timeout");
}

#[test]
fn init_hook_traps() {
    attack("init-hook-traps").ends_with("initialisation");
}

#[test]
fn init_hook_loops() {
    attack("init-hook-loops").ends_with("timeout");
}

#[test]
fn init_hook_replies_outside() {
    attack("init-hook-replies-outside").ends_with("bad_reply");
}

#[test]
fn data_outside() {
    attack("data-outside").ends_with("initialisation");
}

#[test]
fn elements_outside() {
    attack("elements-outside").ends_with("initialisation");
}

#[test]
fn divides_by_zero() {
    attack("divides-by-zero").ends_with("trap");
}

#[test]
fn calls_null() {
    attack("calls-null").ends_with("trap");
}

#[test]
fn reads_outside() {
    attack("reads-outside").ends_with("trap");
}

#[test]
fn calls_itself_through_a_dependency() {
    attack("calls-itself-through-a-dependency").given(trampoline).ends_with("stack_overflow");
}

#[test]
fn calls_a_dependency_that_loops() {
    attack("calls-a-dependency-that-loops").given(trampoline).ends_with("timeout");
}

#[test]
fn wasi_sleeps_for_ever() {
    attack("wasi-sleeps-for-ever")
        .granted(|module| module.grant(Capability::Clock))
        .ends_with("timeout");
}

#[test]
fn wasi_print_flood() {
    attack("wasi-print-flood")
        .granted(|module| module.grant_wasi(Wasi::new().stdout(Output::events())))
        .ends_with("log_limit");
}

#[test]
fn wasi_places_outside() {
    attack("wasi-places-outside")
        .granted(|module| module.grant_wasi(Wasi::new().stdout(Output::events())))
        .ends_with("trap");
}

#[test]
fn wasi_exits() {
    attack("wasi-exits").granted(|module| module.grant_wasi(Wasi::new())).ends_with("exited");
}

#[test]
fn throws_for_ever() {
    attack("throws-for-ever").ends_with("timeout");
}

#[test]
fn exception_bomb() {
    attack("exception-bomb").granted(with_memory(4 << 20)).ends_with("out_of_memory");
}

#[test]
fn exception_escapes() {
    attack("exception-escapes").ends_with("uncaught_exception");
}

#[test]
fn uses_memory64() {
    attack("uses-memory64").refused_with("unsupported_proposal");
}

#[test]
fn uses_shared_memory() {
    attack("uses-shared-memory").refused_with("unsupported_proposal");
}

#[test]
fn uses_two_memories() {
    attack("uses-two-memories").refused_with("unsupported_proposal");
}

#[test]
fn uses_garbage_collection() {
    attack("uses-garbage-collection").refused_with("unsupported_proposal");
}

#[test]
fn imports_a_memory() {
    attack("imports-a-memory").ends_with("dependency_not_defined");
}

#[test]
fn traps_with_its_lock_held() {
    for _ in 0..2 {
        attack("traps-with-its-lock-held").ends_with("trap");
    }
    let wpc = pool_with(1, hasty());
    wpc.define_worker_function("f", hostile("traps-with-its-lock-held")).unwrap();
    for _ in 0..3 {
        assert_eq!(code(wpc.call::<()>("f", ())), "trap", "each call finds the lock free");
    }
}

#[test]
fn depends_on_itself() {
    attack("depends-on-itself").run(|wpc, module, _| {
        assert_eq!(code(wpc.define_worker_dependency("self", module)), "dependency_circle");
    });
}

#[test]
fn host_function_never_returns() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (waiting, opening) = (Arc::clone(&gate), gate);
    let mut attack = attack("host-function-never-returns")
        .granted(|module| module.grant_host_function("stuck"))
        .given(move |wpc| {
            let gate = Arc::clone(&waiting);
            let stuck = move |_: &_, (): ()| {
                let is_open = gate.0.lock().unwrap();
                drop(gate.1.wait_while(is_open, |is_open| !*is_open));
                Ok::<_, String>(())
            };
            wpc.define_host_function("stuck", stuck).unwrap();
        });
    attack.loses_its_worker = true;
    attack.release = Box::new(move || {
        *opening.0.lock().unwrap() = true;
        opening.1.notify_all();
    });
    attack.ends_with("timeout");
}

fn panics(wpc: &WorkerProcedureCall) {
    let panics = |_: &_, (): ()| -> Result<(), String> { panic!("as a test wants it to") };
    wpc.define_host_function("panics", panics).unwrap();
}

#[test]
fn host_function_panics() {
    attack("host-function-panics")
        .granted(|module| module.grant_host_function("panics"))
        .given(panics)
        .ends_with("guest_error");
}

#[test]
fn host_function_with_places_outside() {
    attack("host-function-with-places-outside")
        .granted(|module| module.grant_host_function("panics"))
        .given(panics)
        .ends_with("bad_reply");
}

// Modules too large to be kept as files.

/// A custom section of this name and size, behind an otherwise empty module with a function `f`.
fn with_section(name: &str, size: usize) -> WasmModule {
    let mut bytes = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    let leb = |mut value: usize, bytes: &mut Vec<u8>| {
        while value >= 128 {
            bytes.push(u8::try_from(value % 128).unwrap() | 128);
            value /= 128;
        }
        bytes.push(u8::try_from(value).unwrap());
    };
    bytes.push(0);
    leb(1 + name.len() + size, &mut bytes);
    leb(name.len(), &mut bytes);
    bytes.extend(name.as_bytes());
    bytes.resize(bytes.len() + size, 1);
    WasmModule::new(bytes)
}

#[test]
fn huge_custom_sections() {
    attack_by(with_section("wpc", 8 << 20)).refused_with("malformed_section");
    attack_by(with_section("junk", 8 << 20)).ends_with("value");
    attack_by(with_section("junk", 65 << 20)).refused_with("module_too_large");
}

#[test]
fn deep_dependency_chains() {
    let link = |next: &str| {
        wat(&format!(r#"(module (import "{next}" "f" (func $f)) (func (export "f") (call $f)))"#))
    };
    let chain = |length: usize| {
        attack_by(link("a0")).given(move |wpc| {
            let end = wat(r#"(module (func (export "f")))"#);
            wpc.define_worker_dependency(&format!("a{length}"), end).unwrap();
            for at in (0..length).rev() {
                let next = link(&format!("a{}", at + 1));
                wpc.define_worker_dependency(&format!("a{at}"), next).unwrap();
            }
        })
    };
    chain(50).ends_with("value");
    chain(100).refused_with("too_many_instances");
}

#[test]
fn ten_thousand_exports() {
    let functions: String = (0..10_000)
        .map(|at| format!(r#"(func (export "f{at}") (result i32) i32.const {at})"#))
        .collect();
    let module = wat(&format!(r#"(module (func (export "f")) {functions})"#));
    attack_by(module.clone()).ends_with("value");
    let wpc = pool(1);
    assert_eq!(wpc.define_worker_module(module).unwrap().len(), 10_001);
    assert_eq!(wpc.call::<i32>("f9999", ()).unwrap(), 9999);
}

/// A function whose body is a long row of branches.
fn long_body(length: usize) -> Vec<u8> {
    let body =
        "(if (i32.eqz (local.get 0)) (then (local.set 0 (i32.add (local.get 0) (i32.const 7)))))"
            .repeat(length);
    wat::parse_str(format!(r#"(module (func (export "f") (param i32) {body}))"#)).unwrap()
}

#[test]
fn bodies_that_take_too_long_to_compile_are_given_up_and_hold_nobody() {
    let limits = Limits { compile_time: Duration::from_millis(1), ..Limits::default() };
    let module = WasmModule::new(long_body(20_000)).limits(limits);
    attack_by(module).refused_with("compile_timeout");
}

// What is to be seen besides.

#[test]
fn the_places_guests_name_are_told() {
    let wpc = pool_with(1, hasty());
    for (name, text) in [
        ("reply-outside", "its reply is outside its memory: 1 byte at 131072"),
        ("buffer-outside", "its argument buffer is outside its memory"),
        ("log-outside", "a text for the host is outside its memory"),
        ("reply-empty", "its reply is empty"),
        ("reply-of-no-kind", "begins with 7"),
        (
            "value-outside",
            "the value that its reply points to is outside its memory: 2 bytes at 131071",
        ),
        (
            "value-place-is-cut",
            "its reply, which points to the value, must have 9 bytes, but has 8",
        ),
        ("pointers-without-a-memory", "does not export a memory"),
    ] {
        wpc.define_worker_function("f", hostile(name)).unwrap();
        let error = wpc.call::<()>("f", ()).unwrap_err().to_string();
        assert!(error.contains(text), "{name}: {error}");
    }
}

#[test]
fn results_that_nest_for_ever_do_not_end_the_hosts_stack() {
    #[derive(Debug, serde::Deserialize)]
    enum Tree {
        Leaf,
        #[expect(dead_code, reason = "only that it does not decode is of interest")]
        Boxed(Box<Tree>),
    }
    let wpc = pool(1);
    wpc.define_worker_function("f", hostile("reply-nests-for-ever")).unwrap();
    assert_eq!(code(wpc.call::<Tree>("f", ())), "result_decode");
}

#[test]
fn a_flood_of_lines_that_is_allowed_drops_events_and_is_cut_into_pieces() {
    let wpc = pool_with(1, Options { max_waiting_events: 8, ..hasty() });
    let events = Recorder::new(&wpc);
    let limits = Limits { log: usize::MAX, ..Limits::default() };
    wpc.define_worker_function("f", hostile("log-flood").limits(limits)).unwrap();
    let options = CallOptions::new().time_limit(Duration::from_millis(300));
    assert_eq!(code(wpc.call_with::<()>("f", (), &options)), "timeout");
    let line = events.wait_for_name("guest_log");
    let wpc_host::EventDetails::GuestLog { message, .. } = line.details else {
        panic!("it is a line")
    };
    assert!(message.len() <= 16 * 1024);
}

/// Each import that a flood calls: its module, its name, its type, its arguments, and how many results are dropped.
const FLOODS: [(&str, &str, &str, &str, usize); 12] = [
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
    ("wpc", "wpc_random", "(param i32 i32)", "(i32.const 16) (i32.const 16384)", 0),
    ("wpc", "wpc_clock", "(param i32) (result i64)", "(i32.const 0)", 1),
    (
        "wpc-host",
        "nothing",
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

/// The type of functions to which the host carries bytes, and of `wpc_constant`.
const CARRIED: &str = "(param i32 i32 i32 i32) (result i64)";
const WASI: &str = "wasi_snapshot_preview1";

#[test]
fn floods_of_every_import() {
    // The longest floods take seconds where nothing ends them: more than the grace after which a worker is lost.
    let options = Options { lost_worker_grace: Duration::from_secs(1), ..hasty() };
    let wpc = pool_with(2, options);
    wpc.define_worker_constant("K", &vec![7_u8; 1 << 20]).unwrap();
    wpc.define_host_function("nothing", |_, (): ()| Ok::<_, String>(())).unwrap();
    wpc.define_worker_dependency("nothing", wat(r#"(module (func (export "f")))"#)).unwrap();
    define_sdk(&wpc, &["add"]);
    // The error of an import that there is not lists those of the contract.
    let unknown = wat(r#"(module (import "wpc" "nothing" (func)) (func (export "f")))"#);
    let text = wpc.define_worker_function("unknown", unknown).unwrap_err().to_string();
    let (_, offered) = text.split_once("\"wpc\" offers ").unwrap();
    for name in offered.split(", ") {
        assert!(FLOODS.iter().any(|flood| flood.1 == name), "{name} is not flooded");
    }
    let limit = CallOptions::new().time_limit(Duration::from_millis(1));
    for (module, name, ty, arguments, results) in FLOODS {
        let flood = flood(module, name, ty, arguments, &"drop ".repeat(results))
            .limits(Limits { log: usize::MAX, ..Limits::default() })
            .grant(Capability::Random)
            .grant(Capability::Clock)
            .grant_host_function("nothing")
            .grant_wasi(Wasi::minimal().stdout(Output::discard()));
        wpc.define_worker_function(name, flood.export("f")).unwrap();
        let call = wpc.submit_with::<()>(name, (), &limit).unwrap();
        // Beside it, and behind it on its worker.
        for _ in 0..4 {
            assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3, "beside {name}");
        }
        // On a busy machine a whole flood may pass between two of the supervisor's ticks: then there is another.
        let floods = std::iter::once(call.wait())
            .chain(std::iter::repeat_with(|| wpc.call_with::<()>(name, (), &limit)));
        let ended = floods.take(1_000).find(Result::is_err).expect("a flood meets a tick");
        assert_eq!(code(ended), "timeout", "{name}");
    }
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0, "no worker was lost");
    }
}
