//! Standard output and error: as log lines, or through a writer of the embedder.

use super::{Channel, Folder, everything, imports, pool_of_tools, tool};
use crate::support::*;
use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use wpc_host::{CallOptions, Error, EventDetails, Limits, Output, Wasi, WorkerProcedureCall};

#[test]
fn output_becomes_lines_with_their_call() {
    let folder = Folder::new("lines");
    let wpc = pool_of_tools(everything(&folder));
    let events = Recorder::new(&wpc);
    let call = wpc.submit::<()>("print_text", ("one\ntwo\nthr",)).unwrap();
    let id = call.id();
    call.wait().unwrap();
    for text in ["one", "two", "thr"] {
        let line = events.wait_for_log(text);
        assert_eq!(line.correlation_id, Some(id));
        assert!(matches!(&line.details, EventDetails::GuestLog { level, .. } if level == "stdout"));
    }
    wpc.call::<()>("complain", ("ee\n",)).unwrap();
    let line = events.wait_for_log("ee");
    assert!(matches!(&line.details, EventDetails::GuestLog { level, .. } if level == "stderr"));
}

#[test]
fn a_line_without_an_end_is_split() {
    let folder = Folder::new("long");
    let wpc = pool_of_tools(everything(&folder));
    let events = Recorder::new(&wpc);
    wpc.call::<()>("print_text", ("x".repeat(40_000),)).unwrap();
    let mut total = 0;
    while total < 40_000 {
        let line = events.wait_for_name("guest_log");
        let EventDetails::GuestLog { message, .. } = line.details else {
            panic!("expected a log line")
        };
        assert!(message.len() <= 16 * 1024);
        total += message.len();
    }
    assert_eq!(total, 40_000);
}

#[test]
fn a_writer_receives_output_and_its_failures_reach_the_guest() {
    let folder = Folder::new("writer");
    let (sender, written) = channel();
    for output in
        [Output::writer(Channel(sender.clone())), Output::inline_writer(Channel(sender.clone()))]
    {
        let wpc = pool_of_tools(everything(&folder).stdout(Output::discard()).stderr(output));
        wpc.call::<()>("print_text", ("discarded",)).unwrap();
        wpc.call::<()>("complain", ("exactly \u{e9} this",)).unwrap();
        assert_eq!(written.recv_timeout(TEST_TIMEOUT).unwrap(), "exactly \u{e9} this".as_bytes());
        for word in ["fail", "panic"] {
            assert_eq!(code(wpc.call::<()>("complain", (word,))), "guest_error");
        }
        wpc.call::<()>("complain", ("again",)).unwrap();
        assert_eq!(written.recv_timeout(TEST_TIMEOUT).unwrap(), b"again");
    }
}

#[test]
fn output_counts_towards_the_log_limit() {
    let folder = Folder::new("flood");
    let (sender, _written) = channel();
    let writers = [Output::writer(Channel(sender.clone())), Output::inline_writer(Channel(sender))];
    for output in [Output::events()].into_iter().chain(writers) {
        let limits = Limits::default().log(10_000);
        let wpc = pool_with(1, immediate_restarts());
        wpc.define_worker_module(tool(everything(&folder).stdout(output)).limits(limits)).unwrap();
        let error = wpc.call::<()>("print_text", ("x".repeat(20_000),)).unwrap_err();
        let Error::LogLimit { limit: 10_000, used, .. } = error else { panic!("{error}") };
        assert!(used > 10_000);
        wpc.call::<()>("print_text", ("x",)).unwrap();
    }
}

/// A writer that reports what it receives and then blocks until it is released.
struct Blocked(std::sync::mpsc::Receiver<()>, Sender<Vec<u8>>);

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.send(bytes.to_vec()).unwrap();
        // Released by a message or by a dropped sender.
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_blocks_suspends_its_guests_in_order() {
    let folder = Folder::new("blocked");
    let (release, released) = channel();
    let (sender, written) = channel();
    let wpc = pool_with(1, immediate_restarts());
    let output = Output::writer(Blocked(released, sender));
    wpc.define_worker_module(tool(everything(&folder).stderr(output))).unwrap();
    assert!(wpc.function_information("complain").unwrap().can_suspend);
    let next = || written.recv_timeout(TEST_TIMEOUT).unwrap();
    let suspended = |count| eventually(|| wpc.metrics().suspended_calls == count);
    let first = wpc.submit::<()>("complain", ("first",)).unwrap();
    assert_eq!(next(), b"first");
    // The writer has not returned.
    suspended(1);
    let limit = CallOptions::new().timeout(Duration::from_millis(30));
    let error = wpc.call_with::<()>("complain", ("never",), &limit).unwrap_err();
    assert_eq!(error.code().as_str(), "timeout", "{error}");
    let second = wpc.submit::<()>("complain", ("second",)).unwrap();
    suspended(2);
    let third = wpc.submit::<()>("complain", ("third",)).unwrap();
    suspended(3);
    first.cancel();
    assert_eq!(code(first.wait()), "cancelled");
    eventually(|| wpc.metrics().abandoned_helper_threads == 1);
    assert_eq!(wpc.call::<Vec<String>>("given_arguments", ()).unwrap().len(), 0);
    for text in [&b"second"[..], b"third"] {
        release.send(()).unwrap();
        assert_eq!(next(), text);
    }
    assert!(!third.is_answered());
    release.send(()).unwrap();
    second.wait().unwrap();
    third.wait().unwrap();
    eventually(|| wpc.metrics().abandoned_helper_threads == 0);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0, "no worker is replaced");
}

#[test]
fn long_output_arrives_whole_and_in_order() {
    let folder = Folder::new("long-output");
    let (sender, written) = channel();
    let output = Output::writer(Channel(sender));
    let wpc = pool_of_tools(everything(&folder).stdout(output));
    let text: String = (0..20_000).map(|number| format!("{number} ")).collect();
    wpc.call::<()>("print_text", (text.as_str(),)).unwrap();
    let received: Vec<u8> = written.try_iter().flatten().collect();
    assert!(received == text.as_bytes(), "{} bytes", received.len());
}

/// A writer that uses its pool in `drop` and then panics.
struct PanicsOnDrop(WorkerProcedureCall);

impl Write for PanicsOnDrop {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        self.0.undefine_worker_constant("word");
        panic!("intended by the test");
    }
}

#[test]
fn a_replaced_writer_may_use_the_pool_and_panic_in_drop() {
    let wpc = pool(1);
    let module = |wpc: &WorkerProcedureCall| {
        let output = Output::writer(PanicsOnDrop(wpc.clone()));
        imports("sched_yield", "(result i32)").grant_wasi(Wasi::new().stdout(output))
    };
    wpc.define_worker_constant("word", &1_u8).unwrap();
    wpc.define_worker_function("f", module(&wpc)).unwrap();
    wpc.call::<()>("f", ()).unwrap();
    wpc.define_worker_function("f", module(&wpc)).unwrap();
    wpc.call::<()>("f", ()).unwrap();
    wpc.undefine_worker_function("f");
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0, "no worker is replaced");
    }
    wpc.define_worker_function("f", imports("sched_yield", "(result i32)").grant_wasi(Wasi::new()))
        .unwrap();
    wpc.call::<()>("f", ()).unwrap();
}

#[test]
fn output_during_instantiation_counts_for_the_first_call() {
    let wpc = pool_with(1, immediate_restarts());
    let module = contract(
        r#"(func $start (call $log (i32.const 2) (i32.const 0) (i32.const 500)))
        (start $start)
        (func (export "f") (param i32 i32) (result i64)
            (call $log (i32.const 2) (i32.const 0) (i32.const 500)) (pack 16 1))"#,
    );
    let limits = Limits::default().log(1_000);
    wpc.define_worker_function("f", module.limits(limits)).unwrap();
    let error = wpc.call::<()>("f", ()).unwrap_err();
    assert!(matches!(error, Error::LogLimit { limit: 1_000, .. }), "{error}");
}
