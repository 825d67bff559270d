//! An application that hosts plug-ins. Each has its own grants and limits, can be replaced while calls run, and cannot
//! affect the others. The example checks its own output.
//!
//! cargo run --release --example plugin_host

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wpc_host::{CallOptions, Error, EventDetails, HealthState, Limits, Options, PendingCall};
use wpc_host::{WasmModule, WorkerEvent, WorkerProcedureCall};

const WORKERS: usize = 2;

/// The time limit for an event, far longer than it takes.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let options = Options::default()
        // After three failures in a row on a worker, a plug-in's circuit breaker opens there.
        .max_restarts_per_worker(2)
        .restart_base_delay(Duration::from_millis(10))
        .restart_jitter(Duration::ZERO);
    let wpc = WorkerProcedureCall::new(options)?;
    let events = events(&wpc)?;
    define_store(&wpc)?;
    define_plugins(&wpc)?;
    wpc.start_workers(WORKERS)?;

    publish_a_note(&wpc)?;
    count_visits(&wpc)?;
    replace_while_calls_run(&wpc)?;
    outlive_a_bad_version(&wpc, &events)?;

    wpc.stop_workers();
    println!("every check succeeded");
    Ok(())
}

/// Defines the host functions for plug-ins, by which all of them read and write the same keys.
fn define_store(wpc: &WorkerProcedureCall) -> Result<()> {
    let store = Arc::new(Mutex::new(HashMap::<String, String>::new()));
    let reads = Arc::clone(&store);
    wpc.define_host_function("kv_get", move |_, (key,): (String,)| {
        let store = reads.lock().unwrap_or_else(PoisonError::into_inner);
        Ok::<_, String>(store.get(&key).cloned())
    })?;
    wpc.define_host_function("kv_set", move |context, (key, value): (String, String)| {
        println!("  store: {} sets {key}", context.function_name());
        store.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
        Ok::<_, String>(())
    })?;
    Ok(())
}

fn define_plugins(wpc: &WorkerProcedureCall) -> Result<()> {
    println!("plug-ins and what each of them requires:");
    let small = Limits::default().memory(32 << 20).timeout(Duration::from_secs(2));
    // Images need more memory.
    let large = small.clone().memory(256 << 20).timeout(Duration::from_secs(5));

    wpc.define_worker_dependency("markdown", guest("markdown")?)?;
    wpc.define_worker_dependency("compression", guest("compression")?)?;
    wpc.define_worker_constant("REDACT_PATTERNS", &[r"\w+@\w+\.\w+"][..])?;
    wpc.define_worker_module(guest("redactor")?.limits(small.clone()))?;
    wpc.define_worker_module(guest("thumbnail")?.limits(large.clone()))?;
    wpc.define_worker_module(guest("archive")?.limits(large))?;
    let visits = guest("counter")?.export("count").limits(small.clone());
    wpc.define_worker_function("visits", visits.clone())?;
    wpc.define_worker_function("visits_of_one_call", visits.isolate_calls())?;

    // An import without a grant is rejected, and the remedy names the call that grants it.
    let notes = guest("notes")?.limits(small).grant_host_function("kv_get");
    let Err(refused) = wpc.define_worker_module(notes.clone()) else {
        bail!("`notes` was not granted the store's `kv_set`")
    };
    let remedy = refused.remedy().context("the error has a remedy")?;
    println!("  refused: {refused}; {remedy}");
    wpc.define_worker_module(notes.grant_host_function("kv_set"))?;

    for function in wpc.get_remote_functions() {
        let signature = function.signature.context("guests of the SDK declare signatures")?;
        let needs = [
            function.required_host_functions,
            function.required_constants,
            function.required_dependencies,
        ];
        println!("  {}{signature}  needs {:?}", function.name, needs.concat());
    }
    Ok(())
}

/// Calls five plug-ins, two of them through dependencies.
fn publish_a_note(wpc: &WorkerProcedureCall) -> Result<()> {
    println!("a note is redacted, stored, rendered, and packed with an image:");
    let text = "# Hills\n\nAsk ann@example.org <script>alert(1)</script>";
    let redacted: String = wpc.call("redact", (text,))?;
    wpc.call::<()>("write_note", ("hills", redacted))?;
    let html: String = wpc.call("show_note", ("hills",))?;
    println!("  {}", html.trim_end().replace('\n', ""));
    ensure!(!html.contains("ann@") && !html.contains("<script>"), "the page should be safe");

    let picture = read("fixtures/images/hills.jpg")?;
    let small: Vec<u8> = wpc.call("thumbnail", (&picture, 64_u32))?;
    let (width, height): (u32, u32) = wpc.call("dimensions", (&small,))?;
    println!("  the thumbnail is {width} by {height}");
    ensure!((width, height) == (64, 40), "the thumbnail should keep the aspect ratio");

    let files = vec![("hills.html", html.into_bytes()), ("hills.png", small)];
    let packed: Vec<u8> = wpc.call("pack", (&files,))?;
    let unpacked: Vec<(String, Vec<u8>)> = wpc.call("unpack", (&packed, 1_u32 << 20))?;
    println!("  the archive has {:?}", unpacked.iter().map(|(name, _)| name).collect::<Vec<_>>());
    let is_same = |(a, b): (&(&str, _), &(String, _))| a.0 == b.0 && a.1 == b.1;
    ensure!(
        unpacked.len() == 2 && files.iter().zip(&unpacked).all(is_same),
        "the archive should have every file"
    );

    // An error that a guest returns does not affect its sandbox.
    match wpc.call::<Vec<(String, Vec<u8>)>>("unpack", (&packed, 100_u32)) {
        Err(Error::Guest { error, .. }) if error.name == "TooLarge" => println!("  {error}"),
        other => bail!("expected the error `TooLarge`, found {other:?}"),
    }
    Ok(())
}

/// State lasts as long as its sandbox: that of a worker, or that of a single call.
fn count_visits(wpc: &WorkerProcedureCall) -> Result<()> {
    let same_worker = CallOptions::new().affinity("a visitor");
    let count = |function: &str| -> Result<Vec<u64>, Error> {
        (0..3).map(|_| wpc.call_with(function, (), &same_worker)).collect()
    };
    let (by_worker, by_call) = (count("visits")?, count("visits_of_one_call")?);
    println!("a counter kept by a worker: {by_worker:?}; by each call: {by_call:?}");
    ensure!(
        by_worker == [1, 2, 3] && by_call == [1, 1, 1],
        "isolation should follow the definition"
    );
    Ok(())
}

/// A third-party plug-in that adds tax to a price. `rest` is additional code.
fn price(percent: u32, rest: &str) -> Result<WasmModule> {
    let text = format!(
        r#"(module (func (export "price") (param $net i64) (result i64) (local $n i32)
            {rest}
            (i64.div_u (i64.mul (local.get $net) (i64.const {percent})) (i64.const 100))))"#
    );
    Ok(WasmModule::new(wat::parse_str(text)?))
}

fn replace_while_calls_run(wpc: &WorkerProcedureCall) -> Result<()> {
    // The first version takes several milliseconds, so that it is still busy when it is replaced.
    let busy = "(loop $on (br_if $on (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000000))))";
    let old = wpc.define_worker_function("price", price(119, busy)?)?.function_hash_sha1;
    let before = submit_prices(wpc, 50)?;
    let new = wpc.define_worker_function("price", price(120, "")?)?.function_hash_sha1;
    let still_busy = before.iter().any(|call| !call.is_answered());
    let after = submit_prices(wpc, 50)?;

    ensure!(still_busy && old != new, "the function should be replaced while calls run");
    for (version, calls, expected) in [(old, before, 1190), (new, after, 1200)] {
        let count = calls.len();
        for call in calls {
            let answer = call.wait_answer().context("no call should fail")?;
            ensure!(answer.value == expected, "the value should be that of its version");
            ensure!(
                answer.metadata.function_hash_sha1 == version,
                "the version should be the current one at submission"
            );
        }
        println!("{count} prices of {expected} by {version}");
    }
    Ok(())
}

fn submit_prices(wpc: &WorkerProcedureCall, count: usize) -> Result<Vec<PendingCall<i64>>> {
    (0..count).map(|_| Ok(wpc.submit("price", (1000_i64,))?)).collect()
}

fn outlive_a_bad_version(wpc: &WorkerProcedureCall, events: &Receiver<WorkerEvent>) -> Result<()> {
    println!("a version that traps, or never returns:");
    let bad = "(loop $on (br_if $on (i32.wrap_i64 (i64.rem_u (local.get $net) (i64.const 2))))) unreachable";
    let limits = Limits::default().timeout(Duration::from_millis(100));
    wpc.define_worker_function("price", price(0, bad)?.limits(limits))?;
    let mut net = 0_i64;
    loop {
        match wpc.call::<i64>("price", (net,)) {
            Err(Error::CircuitOpen { .. }) => break,
            Err(Error::Trap { .. } | Error::Timeout { .. }) => net += 1,
            other => bail!("expected failures until the circuit breaker opens, found {other:?}"),
        }
        // Other functions keep serving on the same workers.
        ensure!(wpc.call::<String>("show_note", ("hills",))?.starts_with("<h1>"));
    }
    wait_for_each_worker(events, |event| matches!(event, EventDetails::CircuitOpened { .. }))?;
    let health = || wpc.get_worker_health_states().into_iter().map(|worker| worker.health_state);
    let installed = |name: &str| {
        let functions = wpc.get_remote_functions();
        functions.iter().find(|function| function.name == name).map(|it| it.installed_worker_count)
    };
    println!("  workers: {:?}", health().collect::<Vec<_>>());
    ensure!(
        health().all(|state| state == HealthState::Degraded),
        "a function should fail on every worker"
    );
    ensure!(installed("price") == Some(0) && installed("redact") == Some(WORKERS));

    wpc.define_worker_function("price", price(121, "")?)?;
    let ready = HealthState::Ready;
    wait_for_each_worker(
        events,
        |event| matches!(event, EventDetails::WorkerHealthStateChanged { health_state, .. } if *health_state == ready),
    )?;
    println!("a good version again; workers: {:?}", health().collect::<Vec<_>>());
    ensure!(health().all(|state| state == ready), "every worker should be ready");
    ensure!(wpc.call::<i64>("price", (1000_i64,))? == 1210, "the function should serve again");
    Ok(())
}

/// Waits for a matching event of each worker, and prints what happens to `price` until then.
fn wait_for_each_worker(
    events: &Receiver<WorkerEvent>,
    matches: impl Fn(&EventDetails) -> bool,
) -> Result<()> {
    let mut left = WORKERS;
    while left > 0 {
        let event = events.recv_timeout(EVENT_TIMEOUT).context("the event did not arrive")?;
        left -= usize::from(matches(&event.details));
        match (&event.details, &event.error) {
            (EventDetails::CallExecutionFailed { function_name, .. }, Some(error))
                if function_name == "price" =>
            {
                println!("  failed: {}", error.code);
            }
            (EventDetails::SandboxRestartScheduled { restart_delay, .. }, _) => {
                println!("  backs off for {} ms", restart_delay.as_millis());
            }
            (EventDetails::CircuitOpened { restart_attempts, .. }, _) => {
                println!("  the circuit breaker opened after {restart_attempts} restarts");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The events of the pool.
fn events(wpc: &WorkerProcedureCall) -> Result<Receiver<WorkerEvent>> {
    // More than this example has. A listener that blocks would lose events.
    let (sender, receiver) = sync_channel(4096);
    wpc.on_worker_event(move |event| {
        let _ = sender.try_send(event.clone());
    })?;
    Ok(receiver)
}

/// A guest that `cargo xtask guests` built from `examples/guests`.
fn guest(name: &str) -> Result<WasmModule> {
    Ok(WasmModule::new(read(&format!("examples/guests/wasm/{name}.wasm"))?))
}

fn read(path: &str) -> Result<Vec<u8>> {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).with_context(|| format!("failed to read `{path}`"))
}
