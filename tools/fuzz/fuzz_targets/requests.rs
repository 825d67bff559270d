//! Arbitrary requests to a server: nothing panics, the server does not fail, and every error is a problem document.
#![no_main]

use arbitrary::Arbitrary;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tower::ServiceExt as _;
use wpc_fuzz::pool;
use wpc_server::{Application, IdempotencyBounds, Settings, Stage, router};

/// The functions `add`, which returns the sum of two numbers, and `spins`, which does not return.
const GUEST: &str = r#"(module
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "spins") (loop br 0)))"#;

const METHODS: [&str; 5] = ["POST", "GET", "HEAD", "PUT", "DELETE"];

const PATHS: [&str; 14] = [
    "/v1/functions/add/call",
    "/v1/functions/add/call?affinity=a",
    "/v1/functions/spins/call?timeout=2ms",
    "/rpc?timeout=2ms",
    "/problems/timeout",
    "/v1/functions/",
    "/v1/functions/add",
    "/v1/functions/add/revive",
    "/v1/snapshot?limit=2&search=a&sort=p99",
    "/v1/constants/A?expected=1",
    "/v1/revisions?limit=1",
    "/openapi.json",
    "/readyz?verbose",
    "/metrics",
];

const HEADERS: [&str; 12] = [
    "host",
    "origin",
    "authorization",
    "if-none-match",
    "content-type",
    "accept",
    "if-match",
    "traceparent",
    "tracestate",
    "x-request-id",
    "idempotency-key",
    "content-length",
];

const VALUES: [&str; 8] = [
    "localhost",
    "http://localhost",
    "application/json",
    "application/octet-stream",
    "text/event-stream",
    "application/jsonl",
    "application/vnd.postcard",
    "text/plain",
];

/// A text of the tables, or an arbitrary one.
#[derive(Debug, Arbitrary)]
enum Text {
    Known(u8),
    Any(Vec<u8>),
}

impl Text {
    fn bytes<'a>(&'a self, known: &[&'a str]) -> &'a [u8] {
        match self {
            Self::Known(at) => known[usize::from(*at) % known.len()].as_bytes(),
            Self::Any(bytes) => bytes,
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Input {
    method: Text,
    path: Text,
    headers: Vec<(Text, Text)>,
    body: Vec<u8>,
}

impl Input {
    /// `None` if it is not a request that a parser of HTTP would pass on.
    fn request(&self) -> Option<Request<Body>> {
        let method = Method::from_bytes(self.method.bytes(&METHODS)).ok()?;
        let uri = Uri::try_from(self.path.bytes(&PATHS)).ok()?;
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.bytes(&HEADERS)).ok()?;
            let value = HeaderValue::from_bytes(value.bytes(&VALUES)).ok()?;
            request.headers_mut().append(name, value);
        }
        // Otherwise nearly every request would be refused before it reaches its handler.
        if !request.headers().contains_key("host") {
            request.headers_mut().append("host", HeaderValue::from_static("localhost"));
        }
        Some(request)
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
});

static ROUTER: LazyLock<axum::Router> = LazyLock::new(|| {
    let pool = pool(u32::MAX);
    for name in ["add", "spins"] {
        pool.define_worker_function(name, wat::parse_str(GUEST).expect("the module is valid"))
            .expect("the module is accepted");
    }
    let mut settings = Settings::default();
    settings.max_body = 1 << 16;
    settings.idempotency = Some(IdempotencyBounds::default());
    let application = Application::builder(Arc::new(pool)).settings(settings).build();
    application.lifecycle().enter(Stage::Serving);
    router(application)
});

fuzz_target!(|input: Input| {
    let Some(request) = input.request() else { return };
    let is_head = request.method() == Method::HEAD;
    // Probes answer with their report.
    let is_probe = ["/readyz", "/healthz", "/startupz"].contains(&request.uri().path());
    RUNTIME.block_on(async {
        let response = ROUTER.clone().oneshot(request).await.expect("a router does not fail");
        let status = response.status();
        assert!(!status.is_server_error() || [503, 504].contains(&status.as_u16()), "{status}");
        let kind = response.headers().get("content-type").cloned();
        // Streams of events do not end.
        let body = timeout(Duration::from_secs(1), to_bytes(response.into_body(), usize::MAX)).await;
        let Ok(body) = body else { return };
        let body = body.expect("the body is complete");
        let is_report = is_probe && status == 503;
        if !is_report && (status.is_client_error() || status.is_server_error()) {
            assert_eq!(kind.expect("an error has a type"), "application/problem+json", "{status}");
            if !is_head {
                let problem: serde_json::Value =
                    serde_json::from_slice(&body).expect("a problem document is JSON");
                assert_eq!(problem["status"], status.as_u16());
            }
        }
    });
});
