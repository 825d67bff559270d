//! What a caller passes with a call for logs and traces: to host functions, events, the observer and `tracing` spans.

use crate::support::spans::Spans;
use crate::support::*;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::{Level, Metadata, Subscriber, span};
use wpc_host::{CallOptions, EventDetails, HostContext, TraceContext, WorkerProcedureCall};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced() -> CallOptions {
    let context: TraceContext = TRACEPARENT.parse().unwrap();
    let context = context.with_state("vendor=value").unwrap();
    CallOptions::new().trace_context(context).correlation_id("request-17")
}

/// A pool with a function `name`, which calls `h`.
fn pool_calling(
    name: &str,
    h: impl Fn(&HostContext) + Send + Sync + 'static,
) -> WorkerProcedureCall {
    let wpc = pool(1);
    wpc.define_host_function("h", move |context, ()| {
        h(context);
        Ok::<_, String>(())
    })
    .unwrap();
    wpc.define_worker_function(name, calls_h()).unwrap();
    wpc
}

#[test]
fn a_host_function_sees_the_trace_context_and_the_remaining_time_of_its_call() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let wpc = pool_calling("f", move |context| {
        let trace = context.trace_context().cloned();
        let id = context.correlation_id().map(str::to_owned);
        sees.lock().unwrap().push((trace, id, context.remaining_time()));
    });
    let limit = Duration::from_secs(20);
    let (traced, plain) = (traced().timeout(limit), CallOptions::new());
    let mut here = wpc.local_worker();
    wpc.call_with::<()>("f", (), &traced).unwrap();
    wpc.call_with::<()>("f", (), &plain).unwrap();
    here.call_with::<()>("f", (), &traced).unwrap();
    here.call_with::<()>("f", (), &plain).unwrap();

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    for (at, (trace, id, remaining)) in seen.into_iter().enumerate() {
        if at % 2 == 0 {
            let trace = trace.unwrap();
            assert_eq!(
                (trace.to_string(), trace.state()),
                (TRACEPARENT.into(), Some("vendor=value"))
            );
            assert_eq!(id.as_deref(), Some("request-17"));
            assert!(!remaining.is_zero() && remaining <= limit, "{remaining:?}");
        } else {
            assert_eq!((trace, id), (None, None));
        }
    }
}

#[test]
fn an_invalid_correlation_id_is_refused() {
    let wpc = pool(1);
    wpc.define_worker_function("f", replies(r"\00", 1)).unwrap();
    for (id, is_valid) in [
        (String::new(), false),
        ("x".repeat(256), true),
        ("x".repeat(257), false),
        ("größe 1".to_owned(), true),
        ("two\nlines".to_owned(), false),
    ] {
        let options = CallOptions::new().correlation_id(id.as_str());
        let called = wpc.call_with::<()>("f", (), &options);
        match called {
            Ok(_) => assert!(is_valid, "{id}"),
            error => assert_eq!((code(error), is_valid), ("invalid_call_options", false), "{id}"),
        }
    }
}

#[test]
fn the_observer_and_events_of_failures_carry_the_context() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    let (finished, finishes) = sync_channel(1);
    wpc.observe_finished_calls(move |call| finished.send(call.clone()).unwrap());
    let traps = contract(r#"(func (export "f") (param i32 i32) (result i64) unreachable)"#);
    wpc.define_worker_function("f", traps).unwrap();
    assert_eq!(code(wpc.call_with::<()>("f", (), &traced())), "trap");

    let finished = finishes.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!(finished.trace_context.unwrap().to_string(), TRACEPARENT);
    assert_eq!(finished.correlation_id.as_deref(), Some("request-17"));
    let failed = events.wait_for_name("call_execution_failed");
    let EventDetails::CallExecutionFailed { correlation_id, traceparent, .. } = failed.details
    else {
        panic!("{failed:?}")
    };
    assert_eq!(correlation_id.as_deref(), Some("request-17"));
    assert_eq!(traceparent.as_deref(), Some(TRACEPARENT));
}

#[test]
fn a_call_runs_in_a_span_on_its_worker() {
    failing_subscriber::install();
    let spans = failing_subscriber::spans();
    let entered = Arc::new(Mutex::new(Vec::new()));
    let enters = Arc::clone(&entered);
    let wpc = pool_calling("traced_on_worker", move |_| {
        let spans = failing_subscriber::spans().of("traced_on_worker");
        enters.lock().unwrap().push(spans.last().is_some_and(|span| span.is_entered));
    });
    let call = wpc.submit_with::<()>("traced_on_worker", (), &traced()).unwrap();
    let id = call.id();
    let answer = call.wait_answer().unwrap();
    // A span is closed after the caller was answered.
    eventually(|| spans.of("traced_on_worker")[0].is_closed);
    let [span] = &spans.of("traced_on_worker")[..] else { panic!("expected one span") };
    assert_eq!(*entered.lock().unwrap(), [true]);
    assert!(!span.is_entered);
    let fields = span.fields.iter().map(|(name, value)| (*name, value.as_str()));
    let number = |text: String| text.rsplit_once('_').unwrap().1.to_owned();
    let (worker, call) = (number(answer.metadata.worker_id.to_string()), number(id.to_string()));
    assert_eq!(
        fields.collect::<Vec<_>>(),
        [
            ("call", &*call),
            ("correlation_id", "request-17"),
            ("function", "traced_on_worker"),
            ("hash", &answer.metadata.function_hash_sha1.to_string()),
            ("outcome", "ok"),
            ("traceparent", TRACEPARENT),
            ("worker", &worker),
        ]
    );
}

/// Makes two local calls with this subscriber: one that returns, one that traps.
fn calls_with(subscriber: impl Subscriber + Send + Sync + 'static) {
    let wpc = pool(1);
    let module = contract(
        r#"(func (export "traced_returns") (param i32 i32) (result i64) (pack 0 1))
        (func (export "traced_traps") (param i32 i32) (result i64) unreachable)"#,
    );
    wpc.define_worker_module(module).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let mut here = wpc.local_worker();
        here.call::<()>("traced_returns", ()).unwrap();
        assert_eq!(code(here.call::<()>("traced_traps", ())), "trap");
    });
}

#[test]
fn a_span_of_a_local_call_has_its_outcome() {
    let spans = Spans::up_to(Level::DEBUG);
    calls_with(spans.clone());
    for (function, outcome) in [("traced_returns", "ok"), ("traced_traps", "trap")] {
        let [span] = &spans.of(function)[..] else { panic!("expected one span") };
        assert_eq!(span.fields["outcome"], outcome);
        assert!(!span.is_entered && span.is_closed);
        assert!(!span.fields.contains_key("traceparent"));
    }
}

#[test]
fn no_span_is_created_for_a_subscriber_that_is_not_interested() {
    let spans = Spans::up_to(Level::INFO);
    calls_with(spans.clone());
    assert_eq!(spans.of("traced_returns").len(), 0);
}

/// A subscriber that panics at every step of a span.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {
        panic!("intended by a test: the subscriber panics");
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {
        panic!("intended by a test: the subscriber panics");
    }
    fn exit(&self, _: &span::Id) {
        panic!("intended by a test: the subscriber panics");
    }
    fn try_close(&self, _: span::Id) -> bool {
        panic!("intended by a test: the subscriber panics");
    }
}

#[test]
fn a_subscriber_that_panics_on_spans_does_not_affect_calls() {
    calls_with(Panics);
}
