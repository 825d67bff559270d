//! What the tests share: guests, pools, and a way to wait for what happens without sleeping.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use wpc_host::{
    EventDetails, Limits, Options, PendingCall, WasmModule, WorkerEvent, WorkerProcedureCall,
};

/// How long anything is waited for. Far beyond what it takes: reaching it is the failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A guest of `fixtures` or of the examples, built; from `WPC_GUESTS` where that is set, so that CI
/// can test the ones it built itself.
pub(crate) fn guest(name: &str) -> WasmModule {
    let root = std::env::var_os("WPC_GUESTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from);
    let folders = ["fixtures/wasm", "fixtures/wasi/wasm", "examples/guests/wasm"];
    let path = folders
        .iter()
        .map(|folder| root.join(folder).join(format!("{name}.wasm")))
        .find(|path| path.exists());
    let path =
        path.unwrap_or_else(|| panic!("guest `{name}` is not built; run `cargo xtask guests`"));
    WasmModule::new(std::fs::read(path).unwrap())
}

/// Calls with arguments that nothing compares with the function's types.
pub(crate) fn call_encoded(
    wpc: &WorkerProcedureCall,
    function: &str,
    arguments: &impl serde::Serialize,
) -> Result<Vec<u8>, wpc_host::Error> {
    let arguments = postcard::to_allocvec(arguments).unwrap();
    let call = wpc.submit_encoded(function, arguments, &wpc_host::CallOptions::new())?;
    call.wait_encoded().map(|answer| answer.value)
}

/// The functions of the fixture `sdk`, each defined by itself.
pub(crate) fn define_sdk(wpc: &WorkerProcedureCall, functions: &[&str]) {
    for function in functions {
        wpc.define_worker_function(function, guest("sdk")).unwrap();
    }
}

pub(crate) fn wat(text: &str) -> WasmModule {
    WasmModule::new(wat::parse_str(text).unwrap())
}

/// A module that keeps the contract, with the given functions and data. Its buffer is at 4096.
pub(crate) fn contract(body: &str) -> WasmModule {
    wat(&format!(
        r#"(module
            (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 2)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            {body})"#
    ))
}

/// A function `f` that replies with these bytes, written as WAT string escapes.
pub(crate) fn replies(bytes: &str, len: usize) -> WasmModule {
    contract(&format!(
        r#"(data (i32.const 16) "{bytes}")
        (func (export "f") (param i32 i32) (result i64)
            i64.const {})"#,
        16_u64 << 32 | len as u64
    ))
}

/// A function `spins` that logs «in» and then never returns, and `quick`, which returns 7.
pub(crate) fn spinner() -> WasmModule {
    contract(
        r#"(data (i32.const 16) "in")
        (data (i32.const 32) "\00\0e")
        (func (export "spins") (param i32 i32) (result i64)
            (call $log (i32.const 2) (i32.const 16) (i32.const 2))
            (loop br 0) i64.const 0)
        (func (export "quick") (param i32 i32) (result i64)
            i64.const 137438953474)"#,
    )
}

/// A function `f` that traps, or replies `()` once the constant `calm` is defined.
pub(crate) fn moody() -> WasmModule {
    wat(r#"(module
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 16) "calm")
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (if (i64.lt_s (call $constant (i32.const 16) (i32.const 4) (i32.const 64) (i32.const 8)) (i64.const 0))
                (then unreachable))
            i64.const 1))"#)
}

pub(crate) fn stopped(options: Options) -> WorkerProcedureCall {
    WorkerProcedureCall::new(options).unwrap()
}

pub(crate) fn pool(workers: usize) -> WorkerProcedureCall {
    pool_with(workers, Options::default())
}

pub(crate) fn pool_with(workers: usize, options: Options) -> WorkerProcedureCall {
    let wpc = stopped(options);
    wpc.start_workers(workers).unwrap();
    wpc
}

/// Options whose failed sandboxes come back at once, so that tests need not wait.
pub(crate) fn hasty() -> Options {
    Options {
        restart_base_delay: Duration::from_nanos(1),
        restart_max_delay: Duration::from_nanos(1),
        restart_jitter: Duration::ZERO,
        ..Options::default()
    }
}

/// The events of a pool, in order.
pub(crate) struct Recorder(Mutex<Receiver<WorkerEvent>>);

impl Recorder {
    pub(crate) fn new(wpc: &WorkerProcedureCall) -> Self {
        let (sender, receiver) = channel();
        wpc.on_worker_event(move |event| {
            // The test may be over.
            let _ = sender.send(event.clone());
        })
        .unwrap();
        Self(Mutex::new(receiver))
    }

    /// Waits for the next event that is meant, past all others.
    pub(crate) fn wait_for(&self, is_meant: impl Fn(&WorkerEvent) -> bool) -> WorkerEvent {
        let mut passed = Vec::new();
        loop {
            match self.0.lock().unwrap().recv_timeout(PATIENCE) {
                Ok(event) if is_meant(&event) => return event,
                Ok(event) => passed.push(event.event_name()),
                Err(_) => panic!("the event did not come; there were: {passed:?}"),
            }
        }
    }

    pub(crate) fn wait_for_name(&self, name: &str) -> WorkerEvent {
        self.wait_for(|event| event.event_name() == name)
    }

    pub(crate) fn wait_for_log(&self, text: &str) -> WorkerEvent {
        self.wait_for(|event| matches!(&event.details, EventDetails::GuestLog { message, .. } if message == text))
    }
}

/// The workers that calls of many keys go to: all that take the function.
pub(crate) fn homes<R: serde::de::DeserializeOwned + 'static>(
    wpc: &WorkerProcedureCall,
    function: &str,
    arguments: impl serde::Serialize + Copy,
) -> std::collections::BTreeSet<wpc_host::WorkerId> {
    let home = |key: u32| {
        let options = wpc_host::CallOptions::new().affinity(key);
        let call = wpc.submit_with::<R>(function, arguments, &options).unwrap();
        call.wait_answer().unwrap().metadata.worker_id
    };
    (0..100).map(home).collect()
}

/// Sends a call off to a [`spinner`] and waits until it runs.
pub(crate) fn spin(wpc: &WorkerProcedureCall, events: &Recorder) -> PendingCall<()> {
    let call = wpc.submit("spins", ()).unwrap();
    events.wait_for_log("in");
    call
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, wpc_host::Error>) -> &'static str {
    result.unwrap_err().code().as_str()
}

/// A gate that threads wait at until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |is_open| !*is_open));
    }
}

/// Defines a function whose host function reports that it runs, and waits at the gate.
pub(crate) fn define_stuck(
    wpc: &WorkerProcedureCall,
    name: &str,
    limits: Limits,
) -> (Gate, Receiver<()>) {
    let gate = Gate::default();
    let (runs, running) = sync_channel(1_000);
    let its_own = gate.clone();
    wpc.define_host_function("waits", move |_, (): ()| {
        runs.send(()).unwrap();
        its_own.wait();
        Ok::<_, String>(())
    })
    .unwrap();
    let module = wat(r#"(module
        (import "wpc-host" "waits" (func $waits (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "stuck")
            (drop (call $waits (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))"#);
    let module = module.grant_host_function("waits").limits(limits);
    wpc.define_worker_function(name, module).unwrap();
    (gate, running)
}

/// A global `tracing` subscriber that lets a guest's log line hurt the host: the one piece of
/// foreign code that runs on a worker's thread. Lines: `panic the host`, `block the host`.
pub(crate) mod treacherous_subscriber {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Condvar, Mutex, Once};
    use tracing::field::{Field, Visit};
    use tracing::span;
    use tracing::{Event, Metadata, Subscriber};

    /// Whether it panics when a worker reports that it is ready.
    pub(crate) static PANICS_AT_START: AtomicBool = AtomicBool::new(false);
    static BLOCKED: Mutex<bool> = Mutex::new(true);
    static UNBLOCKED: Condvar = Condvar::new();

    pub(crate) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Treacherous).unwrap());
    }

    /// A function of which the supervisor's first report blocks the subscriber.
    pub(crate) const BLOCKING_FUNCTION: &str = "block_the_report";
    static REPORT: Mutex<Report> = Mutex::new(Report::Awaited);
    static REPORT_CHANGED: Condvar = Condvar::new();

    #[derive(Debug, PartialEq)]
    enum Report {
        Awaited,
        Blocked,
        Released,
    }

    pub(crate) fn wait_for_blocked_report() {
        let report = REPORT.lock().unwrap();
        let awaited = |report: &mut Report| *report == Report::Awaited;
        let (report, _) =
            REPORT_CHANGED.wait_timeout_while(report, super::PATIENCE, awaited).unwrap();
        assert_eq!(*report, Report::Blocked);
    }

    pub(crate) fn release_report() {
        *REPORT.lock().unwrap() = Report::Released;
        REPORT_CHANGED.notify_all();
    }

    fn block_report() {
        let mut report = REPORT.lock().unwrap();
        if *report == Report::Awaited {
            *report = Report::Blocked;
            REPORT_CHANGED.notify_all();
        }
        drop(REPORT_CHANGED.wait_while(report, |report| *report == Report::Blocked));
    }

    /// Whether this thread is the supervisor's, or one that runs the embedder's code in its place.
    fn reports_for_supervisor() -> bool {
        let thread = std::thread::current();
        matches!(thread.name(), Some("wpc-supervisor" | "wpc-offload"))
    }

    /// Lets every blocked thread go on, for good.
    pub(crate) fn unblock() {
        *BLOCKED.lock().unwrap() = false;
        UNBLOCKED.notify_all();
    }

    struct Treacherous;

    struct Look;

    impl Visit for Look {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let text = format!("{value:?}");
            if text.starts_with("WorkerReady") && PANICS_AT_START.load(Ordering::SeqCst) {
                panic!("the start of a worker panics the subscriber, as a test wants it to");
            }
            if text.contains(BLOCKING_FUNCTION) && reports_for_supervisor() {
                block_report();
            }
            if field.name() != "details" || !text.starts_with("GuestLog") {
                return;
            }
            if text.contains("panic the host") {
                panic!("a guest's log line panics the host, as a test wants it to");
            }
            if text.contains("block the host") {
                let blocked = BLOCKED.lock().unwrap();
                drop(UNBLOCKED.wait_while(blocked, |blocked| *blocked));
            }
        }
    }

    impl Subscriber for Treacherous {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut Look);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// A function `f` that logs this line and returns `()`.
    pub(crate) fn logs(line: &str) -> wpc_host::WasmModule {
        super::contract(&format!(
            r#"(data (i32.const 16) "{line}")
            (func (export "f") (param i32 i32) (result i64)
                (call $log (i32.const 2) (i32.const 16) (i32.const {}))
                i64.const 1)"#,
            line.len()
        ))
    }
}
