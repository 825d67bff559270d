//! Probes.

use crate::harness::{Answer, Running};
use serde_json::{Value, json};
use std::sync::Arc;
use wpc_host::{
    FunctionHash, FunctionMetrics, HealthState, Options, PoolMetrics, WasmModule, WorkerHealth,
    WorkerId, WorkerProcedureCall,
};
use wpc_server::{Application, UnservedEntry};

fn json_of(server: &Running, path: &str) -> (u16, Value) {
    let answer = server.get(path, &[("accept", "application/json")]);
    (answer.status, answer.json())
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[test]
fn a_server_is_live_started_and_ready() {
    let server = Running::start();
    for path in ["/livez", "/startupz", "/readyz", "/healthz"] {
        let answer = server.get(path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(text(&answer).ends_with("ok\n"), "{path}: {answer:?}");
        assert_eq!(json_of(&server, path).1["status"], "ok", "{path}");
    }
}

#[test]
fn a_pool_without_workers_is_live_but_not_ready() {
    let server = Running::start();
    server.wpc.stop_workers();
    assert_eq!(server.get("/livez", &[]).status, 200);
    assert_eq!(server.get("/startupz", &[]).status, 200);
    let (status, report) = json_of(&server, "/readyz");
    assert_eq!((status, &report["status"]), (503, &json!("not_ready")));
    let failed: Vec<_> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(failed.len(), 1, "{report}");
    assert_eq!(failed[0]["name"], "workers");
    assert!(text(&server.get("/readyz", &[])).contains("[-] workers: "));
}

#[test]
fn a_server_that_drains_is_not_ready() {
    let server = Running::start();
    let report = |stage| {
        let application = Application::new(Arc::new(server.wpc.clone()));
        application.lifecycle().enter(stage);
        readiness(&application)
    };
    assert_eq!(report(wpc_server::Stage::Starting).0, 503);
    assert_eq!(report(wpc_server::Stage::Serving).0, 200);
    let (status, text) = report(wpc_server::Stage::Draining);
    assert_eq!(status, 503);
    assert!(text.contains("[-] stage: draining\n"), "{text}");
}

/// What the router of an application answers at `/readyz`, without a connection.
fn readiness(application: &Application) -> (u16, String) {
    use tower_service::Service as _;
    let mut router = wpc_server::router(application.clone());
    let request = axum::http::Request::get("http://localhost/readyz");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = router.call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    })
}

#[test]
fn verbose_readiness_lists_each_function_and_why_it_cannot_be_called() {
    let server = Running::of(|wpc| {
        let get = wat::parse_str(r#"(module (func (export "get")))"#).unwrap();
        wpc.define_worker_dependency("path_dep", get).unwrap();
        let user = r#"(module (import "path_dep" "get" (func)) (func (export "label")))"#;
        wpc.define_worker_function("label", wat::parse_str(user).unwrap()).unwrap();
        wpc.undefine_worker_dependency("path_dep");
        let application = Application::builder(Arc::new(wpc));
        let not_served = || vec![UnservedEntry::new("function \"gone\"", "the file is missing")];
        application.unserved_entries(not_served).build()
    });
    let (status, report) = json_of(&server, "/readyz?verbose");
    assert_eq!(status, 200, "one function that cannot be called does not affect others");
    let functions = report["functions"].as_array().unwrap();
    let of = |name: &str| functions.iter().find(|function| function["name"] == name).unwrap();
    assert_eq!(of("add")["state"], "ready");
    assert_eq!(of("label")["state"], "missing_dependency");
    assert!(of("label")["reason"].as_str().unwrap().contains("\"path_dep\""));
    assert_eq!(report["pool"]["workers"].as_array().unwrap().len(), 2);
    assert_eq!(report["not_served"][0]["reason"], "the file is missing");
    let text = text(&server.get("/readyz?verbose", &[]));
    assert!(text.contains("[+] function \"add\": ready\n"), "{text}");
    assert!(text.contains("[-] function \"gone\": not served: the file is missing\n"), "{text}");
}

#[test]
fn an_open_circuit_breaker_is_listed_with_the_last_failure() {
    let options = Options::default().max_restarts_per_worker(0);
    let wpc = WorkerProcedureCall::new(options).unwrap();
    let traps = wat::parse_str(r#"(module (func (export "traps") unreachable))"#).unwrap();
    wpc.define_worker_function("traps", WasmModule::new(traps)).unwrap();
    wpc.start_workers(1).unwrap();
    let server = Running::serving(wpc.clone(), Application::new(Arc::new(wpc)));
    server.call("traps", &json!([]));
    let (_, report) = json_of(&server, "/readyz?verbose");
    let traps = &report["functions"][0];
    assert_eq!(traps["state"], "circuit_open", "{report}");
    assert!(traps["reason"].as_str().unwrap().contains("unreachable"), "{report}");
}

#[test]
fn an_unknown_parameter_is_refused() {
    let server = Running::start();
    assert_eq!(server.get("/readyz?verbos", &[]).status, 400);
}

#[test]
fn the_health_of_any_backend_follows_from_its_metrics() {
    let mut metrics = PoolMetrics::default();
    metrics.workers.push(WorkerHealth::new(WorkerId::from(1), HealthState::Ready));
    (metrics.pending_calls, metrics.pending_call_limit) = (1, 4);
    let mut open = FunctionMetrics::new("open", FunctionHash::of(b""));
    open.breakers.open = 1;
    let health = wpc_host::PoolHealth::from(&metrics);
    assert_eq!((health.workers_up(), health.saturation()), (1, 0.25));
    let function = wpc_host::FunctionHealth::from(open);
    assert_eq!(function.state, wpc_host::FunctionState::CircuitOpen);
}
