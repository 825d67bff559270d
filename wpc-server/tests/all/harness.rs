//! A server in this process, and a client.

pub(crate) use crate::guests::{guest, guest_bytes};

use serde_json::Value;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::crypto;
use wpc_host::{ErrorCode, Options, WorkerProcedureCall};
use wpc_server::{Application, Server, Traffic};

/// A running server. It stops when it is dropped.
pub(crate) struct Running {
    pub(crate) wpc: WorkerProcedureCall,
    pub(crate) url: String,
    pub(crate) traffic: Traffic,
    agent: ureq::Agent,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Running {
    /// A server of a pool with two workers and the committed modules for tests.
    pub(crate) fn start() -> Self {
        Self::of(|wpc| Application::new(Arc::new(wpc)))
    }

    /// A server of the application that `application` makes of such a pool.
    pub(crate) fn of(application: impl FnOnce(WorkerProcedureCall) -> Application) -> Self {
        Self::with(application, |server| server)
    }

    /// The same, for a server configured by `set`.
    pub(crate) fn with(
        application: impl FnOnce(WorkerProcedureCall) -> Application,
        set: impl FnOnce(Server) -> Server,
    ) -> Self {
        let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
        for (module, functions) in [
            ("sdk", ["add", "echo_bytes", "order", "fails", "panics", "spins"].as_slice()),
            ("streams", ["lines", "numbers"].as_slice()),
        ] {
            for function in functions {
                wpc.define_worker_function(function, guest(module)).unwrap();
            }
        }
        wpc.start_workers(2).unwrap();
        let application = application(wpc.clone());
        Self::bound(wpc, application, set)
    }

    /// A server of this application, whose pool is `wpc`.
    pub(crate) fn serving(wpc: WorkerProcedureCall, application: Application) -> Self {
        Self::bound(wpc, application, |server| server)
    }

    /// The same, for a server configured by `set`.
    pub(crate) fn bound(
        wpc: WorkerProcedureCall,
        application: Application,
        set: impl FnOnce(Server) -> Server,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bound = runtime.block_on(Server::bind(([127, 0, 0, 1], 0).into())).unwrap();
        let server = {
            // It may bind further addresses.
            let _entered = runtime.enter();
            set(bound)
        };
        let url = server.url();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let traffic = application.traffic().clone();
        runtime.spawn(server.serve(application, async {
            let _ = stopped.await;
        }));
        let agent = agent(ureq::tls::TlsConfig::default());
        Self { wpc, url, traffic, agent, stop: Some(stop), runtime: Some(runtime) }
    }

    /// The same server, whose client trusts this certificate.
    pub(crate) fn trusting(mut self, certificate: &str) -> Self {
        let certificate = ureq::tls::Certificate::from_pem(certificate.as_bytes()).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[certificate]))
            .unversioned_rustls_crypto_provider(Arc::new(crypto::ring::default_provider()))
            .build();
        self.agent = agent(tls);
        self
    }

    /// Asks the server to stop, and does not wait for it.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until the server has this number of connections.
    pub(crate) fn wait_for_connections(&self, count: usize) {
        wait_until(|| self.traffic.connections() == count);
    }

    /// Waits until the server has this number of requests in progress.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        wait_until(|| self.traffic.requests() == count);
    }

    /// Gets a resource with these headers.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call())
    }

    /// Posts a body with these headers.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.request("POST", path, headers, body)
    }

    /// Sends any request.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(self.agent.run(request.body(body).unwrap()))
    }

    /// Deletes a resource with these headers.
    pub(crate) fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.delete(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call())
    }

    /// Calls a function with JSON.
    pub(crate) fn call(&self, function: &str, arguments: &Value) -> Answer {
        let path = format!("/v1/functions/{function}/call");
        let body = serde_json::to_vec(arguments).unwrap();
        self.post(&path, &[("content-type", "application/json")], &body)
    }
}

/// How long a test waits for something that happens soon.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Waits until the condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen within {TIMEOUT:?}");
        std::thread::yield_now();
    }
}

impl Running {
    /// How many calls of the function ended with the error.
    pub(crate) fn failed(&self, function: &str, code: ErrorCode) -> u64 {
        let metrics = self.wpc.metrics();
        let found = metrics.functions.iter().find(|found| found.name == function).unwrap();
        found.calls.failed.get(&code).copied().unwrap_or_default()
    }

    /// A server that has one more function of these modules.
    pub(crate) fn with_function(module: &str, function: &str) -> Self {
        let server = Self::start();
        server.wpc.define_worker_function(function, guest(module)).unwrap();
        server
    }

    /// Waits until a call has begun to run.
    pub(crate) fn runs(&self) {
        eventually("a call running", || self.wpc.metrics().pending_calls > 0);
    }

    /// Sends a request over a connection of its own, whose answer is not read.
    pub(crate) fn connect(&self, request: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        connection.set_read_timeout(Some(TIMEOUT)).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        connection
    }

    /// A call over a connection of its own, whose answer is not read.
    pub(crate) fn connect_call(&self, function: &str, headers: &str, body: &str) -> TcpStream {
        let length = body.len();
        self.connect(&format!(
            "POST /v1/functions/{function}/call HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            // Connections that clients keep open end with the runtime.
            runtime.shutdown_timeout(std::time::Duration::from_secs(10));
        }
    }
}

/// Waits for a condition. Panics after a time that only a hang reaches.
fn wait_until(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "the condition never held");
        std::thread::yield_now();
    }
}

fn agent(tls: ureq::tls::TlsConfig) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .tls_config(tls);
    config.build().into()
}

fn answer(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut answer = answer.unwrap();
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
}
