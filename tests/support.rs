//! Shared by the tests: guests, pools, and ways to wait for events without sleeping.

mod async_gate;
pub(crate) mod failing_subscriber;
mod guests;
pub(crate) mod spans;
mod watchdog;

pub(crate) use async_gate::*;
pub(crate) use guests::*;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use wpc_host::{
    Error, EventDetails, Limits, Options, PendingCall, WorkerEvent, WorkerProcedureCall,
};

/// The watchdog of every wait. Far longer than any of them takes, so that reaching it is a failure.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls a function without comparing the arguments with its types.
pub(crate) fn call_encoded(
    wpc: &WorkerProcedureCall,
    function: &str,
    arguments: &impl serde::Serialize,
) -> Result<Vec<u8>, wpc_host::Error> {
    let arguments = postcard::to_allocvec(arguments).unwrap();
    let call = wpc.submit_encoded(function, arguments, &wpc_host::CallOptions::new())?;
    call.wait_encoded().map(|answer| answer.value)
}

/// Defines functions of the fixture `sdk`, each with a sandbox of its own.
pub(crate) fn define_sdk(wpc: &WorkerProcedureCall, functions: &[&str]) {
    for function in functions {
        wpc.define_worker_function(function, guest("sdk")).unwrap();
    }
}

/// A pool without workers. Its test has a watchdog.
pub(crate) fn stopped(options: Options) -> WorkerProcedureCall {
    watchdog::watch();
    WorkerProcedureCall::new(options).unwrap()
}

pub(crate) fn pool(workers: usize) -> WorkerProcedureCall {
    pool_with(workers, Options::default())
}

pub(crate) fn pool_with(workers: usize, options: Options) -> WorkerProcedureCall {
    let wpc = stopped(options);
    let mut events = wpc.subscribe(1_000);
    wpc.start_workers(workers).unwrap();
    // A worker takes calls before it reports that it is ready. No test receives a late report.
    for _ in 0..workers {
        while events.next_timeout(TEST_TIMEOUT).unwrap().event_name() != "worker_ready" {}
    }
    wpc
}

/// Options with which failed sandboxes restart without delay.
pub(crate) fn immediate_restarts() -> Options {
    Options::default()
        .restart_base_delay(Duration::from_nanos(1))
        .restart_max_delay(Duration::from_nanos(1))
        .restart_jitter(Duration::ZERO)
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

    /// Waits for the next matching event and skips all others.
    pub(crate) fn wait_for(&self, matches: impl Fn(&WorkerEvent) -> bool) -> WorkerEvent {
        let mut skipped = Vec::new();
        loop {
            match self.0.lock().unwrap().recv_timeout(TEST_TIMEOUT) {
                Ok(event) if matches(&event) => return event,
                Ok(event) => skipped.push(event.event_name()),
                Err(_) => panic!("the event did not arrive; skipped: {skipped:?}"),
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

/// Polls a condition that no event reports, up to [`TEST_TIMEOUT`].
#[track_caller]
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TEST_TIMEOUT, "the condition never became true");
        std::thread::yield_now();
    }
}

/// The workers that calls with many affinity keys go to: all that accept the function.
pub(crate) fn workers_of_keys<R: serde::de::DeserializeOwned + 'static>(
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

/// Submits a call to a [`spinner`] and waits until it runs.
pub(crate) fn spin(wpc: &WorkerProcedureCall, events: &Recorder) -> PendingCall<()> {
    let call = wpc.submit("spins", ()).unwrap();
    events.wait_for_log("in");
    call
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, wpc_host::Error>) -> &'static str {
    result.unwrap_err().code().as_str()
}

/// Repeats a call until its limit passes while it runs: on a busy machine, the limit may pass before the call begins.
/// Returns the error.
#[track_caller]
pub(crate) fn timeout_while_running<T: std::fmt::Debug>(
    mut call: impl FnMut() -> Result<T, Error>,
) -> Error {
    loop {
        match call().unwrap_err() {
            Error::Timeout { ran: false, .. } => {}
            error @ Error::Timeout { ran: true, .. } => return error,
            other => panic!("{other}"),
        }
    }
}

/// Repeats a call until its limit passes while its host function runs, which sends a message to `running`: on a busy
/// machine, the limit may pass before the guest calls the host function.
#[track_caller]
pub(crate) fn timeout_in_host_function<T: std::fmt::Debug>(
    running: &Receiver<()>,
    mut call: impl FnMut() -> Result<T, Error>,
) {
    let mut has_run = false;
    loop {
        match call().unwrap_err() {
            Error::Timeout { ran, .. } => has_run |= ran,
            other => panic!("{other}"),
        }
        if running.try_recv().is_ok() {
            assert!(has_run, "the call that the host function serves has run");
            return;
        }
    }
}

/// Repeats a call while all module instances are in use: on a busy machine, the other workers may not release theirs in
/// the short time for which a call waits.
pub(crate) fn with_instances<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(Error::InstancesInUse { .. }) if begun.elapsed() < TEST_TIMEOUT => {}
            result => return result,
        }
    }
}

/// A gate that blocks threads until it is opened.
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

/// Defines a function whose host function reports that it runs and then waits at the gate.
pub(crate) fn define_blocking(
    wpc: &WorkerProcedureCall,
    name: &str,
    limits: Limits,
) -> (Gate, Receiver<()>) {
    let gate = Gate::default();
    let (runs, running) = sync_channel(1_000);
    let own_gate = gate.clone();
    wpc.define_host_function("waits", move |_, (): ()| {
        runs.send(()).unwrap();
        own_gate.wait();
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

/// The types of a function as text.
pub(crate) fn signature(wpc: &WorkerProcedureCall, name: &str) -> String {
    let function = wpc.function_information(name).unwrap();
    function.signature.unwrap().to_string()
}
