//! An application with plug-ins: an HTTP server that calls functions of WebAssembly modules.

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use wpc_host::WorkerProcedureCall;
use wpc_host::{CallOptions, Error, FinishedCall, Limits, Options, WasmModule};

/// The module of a plug-in with its grants and limits; `None` for an unknown plug-in.
fn plugin(name: &str, bytes: Vec<u8>) -> Option<WasmModule> {
    let limits = Limits::default().memory(32 << 20).timeout(Duration::from_secs(2));
    let module = WasmModule::new(bytes).limits(limits);
    match name {
        // Takes and returns text; needs no grant.
        "redactor" => Some(module),
        // The only one with access to the database.
        "notes" => Some(module.grant_host_function("kv_get").grant_host_function("kv_set")),
        // Each call has a new sandbox, so that no request sees another one's state.
        "counter" => Some(module.isolate_calls()),
        _ => None,
    }
}

/// Stands for a database whose client is async.
#[derive(Default)]
struct Database(Mutex<HashMap<String, String>>);

impl Database {
    async fn get(&self, key: &str) -> Option<String> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn set(&self, key: String, value: String) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }
}

/// The host functions that plug-ins may be granted.
fn define_database(wpc: &WorkerProcedureCall) -> Result<(), Error> {
    let database = Arc::new(Database::default());
    let readable = Arc::clone(&database);
    wpc.define_async_host_function("kv_get", move |_, (key,): (String,)| {
        let database = Arc::clone(&readable);
        async move { Ok::<_, String>(database.get(&key).await) }
    })?;
    wpc.define_async_host_function("kv_set", move |_, (key, value): (String, String)| {
        let database = Arc::clone(&database);
        async move {
            database.set(key, value).await;
            Ok::<_, String>(())
        }
    })
}

/// Counts and times of the calls of all plug-ins.
#[derive(Default)]
struct Metrics {
    calls: AtomicU64,
    failed: AtomicU64,
    queued_microseconds: AtomicU64,
    ran_microseconds: AtomicU64,
}

impl Metrics {
    /// Runs on the worker's thread after each call, so it only counts.
    fn add(&self, call: &FinishedCall) {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(call.error.is_some()), Ordering::Relaxed);
        self.queued_microseconds.fetch_add(microseconds(call.queued), Ordering::Relaxed);
        self.ran_microseconds.fetch_add(microseconds(call.ran), Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Application {
    wpc: WorkerProcedureCall,
    metrics: Arc<Metrics>,
}

/// An error as an HTTP response: its status, and the stable code.
struct Refused(Error);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = StatusCode::from_u16(error.code().http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The full text may name limits of the host: clients that are not trusted get the code only.
        eprintln!("{error}");
        let mut answer = json!({ "code": error.code().as_str() });
        if let Error::Guest { error, .. } = &error {
            answer["name"] = json!(error.name);
            answer["message"] = json!(error.message);
        }
        (status, Json(answer)).into_response()
    }
}

/// `POST /call/FUNCTION?timeout_ms=N` with the arguments as a JSON array. If the client disconnects, axum drops this
/// future, which cancels the call.
async fn call(
    State(application): State<Application>,
    Path(function): Path<String>,
    Query(query): Query<HashMap<String, u64>>,
    Json(arguments): Json<Vec<Value>>,
) -> Result<Json<Value>, Refused> {
    let timeout = query.get("timeout_ms").copied().unwrap_or(1_000).max(1);
    let options = CallOptions::new().timeout(Duration::from_millis(timeout)).within_limits();
    let call = application.wpc.submit_json(&function, &arguments, &options).map_err(Refused)?;
    call.await.map(Json).map_err(Refused)
}

/// `PUT /plugins/NAME` with a module: replaces the plug-in's functions while calls run.
async fn replace(
    State(application): State<Application>,
    Path(name): Path<String>,
    module: Bytes,
) -> Response {
    let Some(module) = plugin(&name, module.to_vec()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match application.wpc.define_worker_module_async(module).await {
        Ok(functions) => {
            let names: Vec<_> = functions.into_iter().map(|function| function.name).collect();
            Json(json!({ "defined": names })).into_response()
        }
        // The previous version stays active.
        Err(error) => Refused(error).into_response(),
    }
}

/// `GET /metrics`
async fn metrics(State(application): State<Application>) -> Json<Value> {
    let metrics = &application.metrics;
    Json(json!({
        "calls": metrics.calls.load(Ordering::Relaxed),
        "failed": metrics.failed.load(Ordering::Relaxed),
        "queued_microseconds": metrics.queued_microseconds.load(Ordering::Relaxed),
        "ran_microseconds": metrics.ran_microseconds.load(Ordering::Relaxed),
    }))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (folder, address) = arguments
        .next()
        .zip(arguments.next())
        .context("two arguments are expected: the folder of the plug-ins, and the address")?;
    let read = |name: &str| {
        let path = format!("{folder}/{name}.wasm");
        std::fs::read(&path).with_context(|| format!("cannot read {path}"))
    };

    let wpc = WorkerProcedureCall::new(
        Options::default()
            // How long running requests may take to finish when the application stops.
            .stop_timeout(Duration::from_secs(5)),
    )?;
    define_database(&wpc)?;
    wpc.define_worker_constant("REDACT_PATTERNS", &[r"\w+@\w+\.\w+"][..])?;
    wpc.define_worker_dependency_async("markdown", read("markdown")?).await?;
    for name in ["redactor", "notes", "counter"] {
        let module = plugin(name, read(name)?).context("the application knows its plug-ins")?;
        wpc.define_worker_module_async(module).await?;
    }
    let metrics_of_calls = Arc::new(Metrics::default());
    let observer = Arc::clone(&metrics_of_calls);
    wpc.observe_finished_calls(move |call| observer.add(call));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    wpc.start_workers_async(workers).await?;

    let application = Application { wpc: wpc.clone(), metrics: metrics_of_calls };
    let router = Router::new()
        .route("/call/{function}", post(call))
        .route("/plugins/{name}", put(replace).layer(DefaultBodyLimit::max(16 << 20)))
        .route("/metrics", get(metrics))
        .with_state(application);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);

    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    // Accepts no more requests and lets the running ones finish; then the workers are stopped.
    axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    wpc.stop_workers_async().await?;
    println!("stopped");
    Ok(())
}
