//! Metrics for Prometheus.

use crate::clustered::{Clustered, cluster};
use crate::harness::{Answer, Running};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use wpc_server::{Application, FinishedRequest, ReportedRequests, Settings, UnservedEntry};

/// The value of a series, such as `name{label="value"}`.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn scrape(server: &Running) -> String {
    let answer = server.get("/metrics", &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    text(&answer)
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[test]
fn calls_are_counted_by_function_and_outcome() {
    let server = Running::start();
    server.wpc.collect_latencies(true);
    server.call("add", &json!([1, 2]));
    server.call("add", &json!([1, 2]));
    server.call("panics", &json!(["me"]));
    server.call("nothing", &json!([]));
    let text = scrape(&server);
    assert_eq!(
        value(&text, r#"wpc_calls_total{function="add",outcome="ok"}"#),
        Some(2.0),
        "{text}"
    );
    assert_eq!(value(&text, r#"wpc_calls_total{function="panics",outcome="trap"}"#), Some(1.0));
    let undefined = r#"wpc_calls_total{function="_other",outcome="function_not_defined"}"#;
    assert_eq!(value(&text, undefined), Some(1.0));
    let count = r#"wpc_call_duration_seconds_count{function="add"}"#;
    assert_eq!(value(&text, count), Some(2.0));
    let hash = server.wpc.function_information("add").unwrap().function_hash_sha1;
    let info = format!(r#"wpc_function_info{{function="add",hash="{hash}"}}"#);
    assert_eq!(value(&text, &info), Some(1.0));
    let workers = |state| value(&text, &format!(r#"wpc_workers{{state="{state}"}}"#)).unwrap();
    assert_eq!(workers("ready") + workers("degraded"), 2.0, "one of them failed");
}

#[test]
fn the_number_of_functions_with_metrics_of_their_own_is_bounded() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        settings.max_functions_in_metrics = 1;
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    server.call("add", &json!([1, 2]));
    let text = scrape(&server);
    assert_eq!(
        value(&text, r#"wpc_calls_total{function="add",outcome="ok"}"#),
        Some(1.0),
        "{text}"
    );
    server.call("fails", &json!([]));
    server.call("echo_bytes", &json!(["aGk="]));
    let text = scrape(&server);
    let functions: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_once("function=\"")?.1.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(functions, BTreeSet::from(["_other", "add"]));
}

#[test]
fn requests_are_counted_by_route_and_class() {
    let server = Running::start();
    server.call("add", &json!([1, 2]));
    server.call("nothing", &json!([]));
    server.get("/nowhere/1", &[]);
    server.get("/nowhere/2", &[]);
    let text = scrape(&server);
    let of = |route: &str, class: &str| {
        let series = format!(r#"wpc_http_requests_total{{route="{route}",status="{class}"}}"#);
        value(&text, &series)
    };
    assert_eq!(of("/v1/functions/{name}/call", "2xx"), Some(1.0), "{text}");
    assert_eq!(of("/v1/functions/{name}/call", "4xx"), Some(1.0));
    assert_eq!(of("unmatched", "4xx"), Some(2.0));
    // The scrape itself.
    assert_eq!(value(&text, "wpc_http_requests_in_flight"), Some(1.0));
}

#[test]
fn both_formats_are_well_formed() {
    let server = Running::start();
    server.wpc.collect_latencies(true);
    server.call("add", &json!([1, 2]));
    let answer = server.get("/metrics", &[]);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    lint(&text(&answer));
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = server.get("/metrics", &[("accept", accept)]);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), kind);
    let text = text(&answer);
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE wpc_calls counter\n"), "{text}");
}

/// Checks what `promtool check metrics` checks: each family has one help and one type before its values, counters end with
/// `_total` and other metrics do not, histograms are cumulative and complete, units are base units, and no series occurs twice.
pub(crate) fn lint(text: &str) {
    let mut types = BTreeMap::new();
    let mut series = BTreeSet::new();
    let mut family = String::new();
    let mut last_bucket: Option<(String, f64)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && help.len() > 10, "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "the type follows the help");
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} occurs twice"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            for unit in ["millis", "micros", "nanos", "minutes", "kilobytes", "mebibytes"] {
                assert!(!name.contains(unit), "{line}");
            }
        } else {
            let (name, number) = line.rsplit_once(' ').unwrap();
            let number: f64 = number.parse().unwrap();
            assert!(series.insert(name.to_owned()), "{name} occurs twice");
            let base = name.split('{').next().unwrap();
            let is_histogram = types[&family] == "histogram";
            let suffix =
                base.strip_prefix(&*family).unwrap_or_else(|| panic!("{line} in {family}"));
            assert_eq!(matches!(suffix, "_sum" | "_count" | "_bucket"), is_histogram, "{line}");
            if suffix == "_bucket" {
                let (labels, _) = name.split_once("le=").unwrap();
                let labels =
                    labels.to_owned() + name.split_once("\",").map_or("", |(_, rest)| rest);
                let count = number;
                if let Some((before, least)) = &last_bucket
                    && *before == labels
                {
                    assert!(count >= *least, "{line}");
                }
                last_bucket = Some((labels, count));
            }
        }
    }
    let manual = include_str!("../../../docs/server.md");
    for name in types.keys().filter(|name| name.starts_with("wpc_")) {
        assert!(manual.contains(&format!("`{name}`")), "docs/server.md does not list {name}");
    }
}

#[test]
fn each_finished_request_is_reported_to_the_application() {
    let requests = Arc::new(Mutex::new(Vec::<FinishedRequest>::new()));
    let reported = Arc::clone(&requests);
    let server = Running::of(|wpc| {
        let report =
            move |request: &FinishedRequest| reported.lock().unwrap().push(request.clone());
        Application::builder(Arc::new(wpc)).on_request(ReportedRequests::All, report).build()
    });
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &*format!("00-{trace}-00f067aa0ba902b7-01")),
    ];
    let answer = server.post("/v1/functions/add/call", &headers, b"[1, 2]");
    server.call("panics", &json!(["me"]));
    let requests = requests.lock().unwrap();
    let [add, panics] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&*add.method, &*add.route), ("POST", "/v1/functions/{name}/call"));
    assert_eq!((add.status, add.function.as_deref()), (Some(200), Some("add")));
    assert_eq!(add.call.map(u64::from), answer.header("wpc-call-id").parse().ok());
    assert_eq!(add.trace.as_deref(), Some(trace));
    assert_eq!((panics.status, panics.code.as_deref()), (Some(502), Some("trap")));
    assert!(panics.call.is_some());
}

#[test]
fn the_example_alerts_use_metrics_that_exist() {
    let server = Running::of(|wpc| {
        let not_served = || vec![UnservedEntry::new("function \"gone\"", "its module is missing")];
        let backend = Arc::new(Clustered::new(&wpc, cluster()));
        Application::builder(backend).unserved_entries(not_served).build()
    });
    server.wpc.collect_latencies(true);
    server.call("add", &json!([1, 2]));
    let text = scrape(&server);
    assert!(text.contains("\nwpc_not_served_entries 1\n"), "{text}");
    let alerts = include_str!("../../../docs/deploy/alerts.yml");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names: BTreeSet<_> = alerts
        .lines()
        .filter(|line| !line.contains("alert:") && !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c| !is_name(c)))
        .filter(|word| word.starts_with("wpc_") || word.starts_with("process_"))
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names.iter().filter(|name| cfg!(target_os = "linux") || name.starts_with("wpc_")) {
        let is_value =
            |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(text.lines().any(is_value), "no value of {name}:\n{text}");
    }
}
