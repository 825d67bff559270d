//! The async API: calls with options, and definitions, starts, stops and warming that do not block their thread.

use crate::foreign_code::BlocksWhenDropped;
use crate::support::*;
use std::future::Future as _;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use wpc_host::{CallOptions, Error, FunctionHash, Operation, Options, Output, Wasi, WasmModule};

fn poll<T>(operation: &mut Operation<T>) -> Poll<Result<T, Error>> {
    Pin::new(operation).poll(&mut Context::from_waker(Waker::noop()))
}

/// A module that takes long enough to compile to be observed. Its function `f` returns `version`.
fn slow(version: u32) -> Vec<u8> {
    let body = "(local.set 0 (i32.add (local.get 0) (i32.const 7)))".repeat(20_000);
    let text = format!(
        r#"(module (func (export "long") (param i32) {body})
            (func (export "f") (result i32) i32.const {version}))"#
    );
    wat::parse_str(text).unwrap()
}

/// Sends a message when it is dropped.
struct Reports(Sender<()>);

impl Drop for Reports {
    fn drop(&mut self) {
        // The test may have ended.
        let _ = self.0.send(());
    }
}

impl std::io::Write for Reports {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_async_api_works_without_a_runtime() {
    let wpc = stopped(Options::default());
    pollster::block_on(async {
        wpc.start_workers_async(2).await?;
        wpc.define_worker_dependency_async("path_dep", guest("path")).await?;
        wpc.define_worker_constant("SERVICE_PREFIX", "demo")?;
        let functions = wpc.define_worker_module_async(guest("function1")).await?;
        assert_eq!(functions[0].name, "WPCFunction1");
        assert_eq!(functions[0].installed_worker_count, 2);
        wpc.warm_worker_function_async("WPCFunction1").await?;
        let add = wpc.define_worker_function_async("add", guest("sdk")).await?;
        assert_eq!(add.name, "add");
        assert_eq!(wpc.call_async::<i32>("add", (40, 2)).await?, 42);
        wpc.stop_workers_async().await
    })
    .unwrap();
    assert_eq!(code(wpc.call::<i32>("add", (40, 2))), "not_running");
}

#[test]
fn calls_are_served_while_a_definition_is_compiled() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    // On a busy machine, a definition may be published before the calls have ended. Then another one is made.
    for version in 1.. {
        let mut definition = wpc.define_worker_function_async("f", slow(version));
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
        let early = wpc.call::<i32>("f", ());
        if early.is_err() && poll(&mut definition).is_pending() {
            assert_eq!(code(early), "function_not_defined");
            pollster::block_on(definition).unwrap();
            let expected = i32::try_from(version).unwrap();
            assert_eq!(wpc.call::<i32>("f", ()).unwrap(), expected);
            break;
        }
        wpc.undefine_worker_function("f");
    }
}

#[test]
fn definitions_beyond_the_concurrency_limit_are_queued() {
    let wpc = pool(1);
    let text = |n| format!(r#"(module (func (export "f") (result i32) i32.const {n}))"#);
    let definitions: Vec<_> = (0..100)
        .map(|n| wpc.define_worker_function_async(&format!("f{n}"), wat(&text(n))))
        .collect();
    for definition in definitions {
        pollster::block_on(definition).unwrap();
    }
    for n in 0..100 {
        assert_eq!(wpc.call::<i32>(&format!("f{n}"), ()).unwrap(), n);
    }
}

#[test]
fn a_cancelled_definition_never_replaces_a_later_one() {
    let wpc = pool(1);
    let good = wat(r#"(module (func (export "f") (result i32) i32.const 0))"#);
    for round in 0..16_u32 {
        let (report, dropped) = channel();
        // Each is a different module, so each is compiled. A definition keeps its writer until it is replaced or
        // cancelled.
        let output = Wasi::minimal().stdout(Output::writer(Reports(report)));
        let module = WasmModule::new(slow_if(round % 4 == 0, round + 1)).grant_wasi(output);
        let mut withdrawn = wpc.define_worker_function_async("f", module);
        let was_over = {
            // Cancels at different steps of the definition. Whether it completes is not checked.
            std::thread::sleep(Duration::from_micros(100) * (round % 8));
            poll(&mut withdrawn).is_ready()
        };
        drop(withdrawn);
        let after: Option<i32> = wpc.call("f", ()).ok();
        if was_over {
            assert_eq!(after, i32::try_from(round + 1).ok(), "the definition completed");
        }
        let hash = wpc.define_worker_function("f", good.clone()).unwrap().function_hash_sha1;
        dropped.recv_timeout(TEST_TIMEOUT).expect("the definition is cancelled");
        assert_eq!(current(&wpc, "f"), Some(hash), "round {round}");
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 0);
        wpc.undefine_worker_function("f");
    }
}

fn slow_if(is_slow: bool, version: u32) -> Vec<u8> {
    if is_slow {
        return slow(version);
    }
    let text = format!(r#"(module (func (export "f") (result i32) i32.const {version}))"#);
    wat::parse_str(text).unwrap()
}

fn current(wpc: &wpc_host::WorkerProcedureCall, name: &str) -> Option<FunctionHash> {
    let functions = wpc.get_remote_functions();
    functions.iter().find(|function| function.name == name).map(|it| it.function_hash_sha1)
}

#[test]
fn a_rejected_definition_is_an_error_and_an_event() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    let refused = pollster::block_on(wpc.define_worker_function_async("f", b"text".as_slice()));
    assert_eq!(code(refused), "not_wasm");
    events.wait_for_name("definition_refused");
}

#[test]
fn a_stop_waits_for_calls_without_blocking_its_task() {
    let wpc = pool_with(1, Options::default().stop_timeout(TEST_TIMEOUT));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let mut stop = wpc.stop_workers_async();
    events.wait_for_name("worker_shutdown_requested");
    assert!(poll(&mut stop).is_pending());
    spinning.cancel();
    pollster::block_on(stop).unwrap();
    assert!(wpc.get_worker_health_states().is_empty());
}

#[test]
fn a_stop_continues_when_its_future_is_dropped() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    drop(wpc.stop_workers_async());
    events.wait_for_name("worker_exited");
    assert_eq!(code(wpc.submit::<()>("f", ())), "not_running");
}

#[test]
fn a_start_continues_when_its_future_is_dropped() {
    let wpc = stopped(Options::default());
    let events = Recorder::new(&wpc);
    drop(wpc.start_workers_async(1));
    events.wait_for_name("worker_ready");
    assert_eq!(code(pollster::block_on(wpc.start_workers_async(1))), "already_started");
    assert_eq!(
        code(pollster::block_on(stopped(Options::default()).start_workers_async(0))),
        "invalid_options"
    );
}

#[test]
fn dropping_a_pool_does_not_wait_for_a_running_definition() {
    let wpc = pool(1);
    let module = |output: Output| {
        let module = WasmModule::new(slow_if(false, 9));
        module.grant_wasi(Wasi::minimal().stdout(output))
    };
    // A definition drops the one that it replaces, here with a writer that blocks. So it runs until the gate is opened.
    let (gate, (begin, begun), (report, dropped)) = (Gate::default(), channel(), channel());
    let blocks = BlocksWhenDropped(gate.clone(), Mutex::new(begin));
    wpc.define_worker_function("f", module(Output::writer(blocks))).unwrap();
    let reports = module(Output::writer(Reports(report)));
    let definition = wpc.define_worker_function_async("f", reports);
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    let mut events = wpc.subscribe(100);
    drop((definition, wpc));
    let mut names = std::iter::from_fn(|| events.try_next()).map(|event| event.event_name());
    assert!(names.any(|name| name == "worker_exited"), "the workers have exited");
    gate.open();
    dropped.recv_timeout(TEST_TIMEOUT).expect("the definition's thread ends");
}

#[test]
fn async_warming_fails_as_the_blocking_form_does() {
    let wpc = pool(2);
    let failing = wat(r#"(module (func $start unreachable) (start $start) (func (export "f")))"#);
    wpc.define_worker_function("f", failing).unwrap();
    assert_eq!(code(pollster::block_on(wpc.warm_worker_function_async("f"))), "initialisation");
    let undefined = pollster::block_on(wpc.warm_worker_function_async("nothing"));
    assert_eq!(code(undefined), "function_not_defined");
}

#[test]
fn dropping_a_warming_future_cancels_it() {
    let wpc = pool(1);
    let endless = wat(r#"(module (func $start (loop br 0)) (start $start) (func (export "f")))"#);
    wpc.define_worker_function("f", endless).unwrap();
    let mut warming = wpc.warm_worker_function_async("f");
    assert!(poll(&mut warming).is_pending());
    drop(warming);
    define_sdk(&wpc, &["add"]);
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3, "the worker is free");
}

#[test]
fn a_call_is_submitted_before_its_future_is_polled() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let (finish, finished) = channel();
    wpc.observe_finished_calls(move |call| finish.send(call.clone()).unwrap());
    let call = wpc.call_async::<i32>("add", (1, 2));
    assert_eq!(finished.recv_timeout(TEST_TIMEOUT).unwrap().error, None);
    assert_eq!(pollster::block_on(call).unwrap(), 3);
    wpc.stop_observing_finished_calls();
}

#[test]
fn a_call_can_be_sent_to_another_task_without_its_pool() {
    fn task(_: impl Future<Output = Result<i32, Error>> + Send + 'static) {}
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    task(wpc.call_async::<i32>("add", (1, 2)));
    let call = wpc.call_async::<i32>("add", (1, 2));
    drop(wpc);
    let result = pollster::block_on(call);
    assert!(matches!(result, Ok(3) | Err(Error::Stopped { .. })), "{result:?}");
}

#[test]
fn awaited_calls_have_options() {
    let wpc = pool(1);
    wpc.define_worker_module(spinner()).unwrap();
    const TIMEOUT: Duration = Duration::from_millis(5);
    let options = CallOptions::new().timeout(TIMEOUT);
    let assert_timeout = |result: Result<(), Error>| {
        // On a busy machine the time may pass before the call runs.
        assert!(matches!(result, Err(Error::Timeout { limit: TIMEOUT, .. })), "{result:?}");
    };
    assert_timeout(pollster::block_on(wpc.call_async_with("spins", (), &options)));
    let undefined = pin!(wpc.call_async_with::<()>("nothing", (), &options));
    assert_eq!(code(pollster::block_on(undefined)), "function_not_defined");

    let endless = wat(r#"(module (func (export "endless") (loop br 0)))"#);
    wpc.define_worker_module(endless).unwrap();
    let endless = wpc.function::<(), ()>("endless").unwrap();
    assert_timeout(pollster::block_on(endless.call_async_with((), &options)));
    assert_timeout(endless.call_with((), &options));
}
