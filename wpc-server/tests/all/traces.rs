//! Traces and metrics by OpenTelemetry, received by a collector of this test.

use crate::harness::Running;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use wpc_server::{Application, OpenTelemetry};

/// What a collector received: the path and the body of each request.
type Received = Receiver<(String, Vec<u8>)>;

/// A collector that accepts everything.
fn collector() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Far more than the exporter sends in a test.
    let (sender, received) = sync_channel(1_000);
    #[expect(clippy::disallowed_methods, reason = "ends with the process of the tests")]
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
            std::thread::spawn(move || serve(stream, &sender));
        }
    });
    (url, received)
}

/// Serves the requests of a connection until it ends.
fn serve(stream: TcpStream, sender: &SyncSender<(String, Vec<u8>)>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        sender.send((path, body)).ok()?;
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

/// The value of an attribute.
fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

/// The number of calls of the test, and the metrics that it expects with their units.
const CALLS: usize = 3;
const METRICS: [(&str, &str); 2] = [("rpc.server.call.duration", "s"), ("wpc.workers", "")];

/// The spans, once all of them and the metrics have arrived: the exporter waits only 2 seconds for its collector, and then goes on in
/// the background.
fn exported(received: &Received) -> Vec<Span> {
    let (mut spans, mut metrics) = (Vec::new(), Vec::new());
    let has_all = |metrics: &[(String, String)]| {
        let mut wanted = METRICS.map(|(name, unit)| (name.to_owned(), unit.to_owned())).into_iter();
        wanted.all(|metric| metrics.contains(&metric))
    };
    while spans.len() < CALLS || !has_all(&metrics) {
        let next = received.recv_timeout(Duration::from_secs(60));
        let (path, body) = next.unwrap_or_else(|error| panic!("{error}: {spans:?} {metrics:?}"));
        if path == "/v1/traces" {
            let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            let resources = request.resource_spans.into_iter();
            let scopes = resources.flat_map(|resource| resource.scope_spans);
            spans.extend(scopes.flat_map(|scope| scope.spans));
        } else {
            let request = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
            let resources = request.resource_metrics.into_iter();
            let scopes = resources.flat_map(|resource| resource.scope_metrics);
            let found = scopes.flat_map(|scope| scope.metrics);
            metrics.extend(found.map(|metric| (metric.name, metric.unit)));
        }
    }
    spans
}

#[test]
fn each_call_is_a_server_span_that_continues_the_trace_of_its_client() {
    let (url, received) = collector();
    let telemetry = OpenTelemetry::to(&url).unwrap();
    let server = Running::of(|wpc| Application::new(telemetry.observe(Arc::new(wpc))));
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let answer = server.post("/v1/functions/add/call", &headers, b"[1, 2]");
    assert_eq!(answer.json(), json!(3), "{answer:?}");
    server.call("panics", &json!(["me"]));
    server.call("nothing", &json!([]));
    telemetry.shutdown();
    let spans = exported(&received);
    let [add, panics, nothing] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*add.name, add.kind), ("add", SpanKind::Server as i32));
    assert_eq!(add.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(add.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    for (name, expected) in [
        ("rpc.system.name", "wpc"),
        ("rpc.method", "add"),
        ("rpc.status_code", "ok"),
        ("wpc.call_id", answer.header("wpc-call-id")),
    ] {
        assert_eq!(attribute(add, name).as_deref(), Some(expected), "{add:?}");
    }
    assert!(panics.parent_span_id.is_empty(), "it begins a trace");
    assert_eq!(attribute(panics, "error.type").as_deref(), Some("trap"));
    // Names that are not defined would be unbounded.
    assert_eq!(nothing.name, "_OTHER");
    assert_eq!(attribute(nothing, "error.type").as_deref(), Some("function_not_defined"));
}
