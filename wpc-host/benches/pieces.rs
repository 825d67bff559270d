//! Benchmarks of the parts of a call: `cargo bench -p wpc-host`.
//!
//! They show where time is spent while the code is changed. The published figures come from `cargo xtask bench`, which
//! measures against baselines. Only the public API is used.

use anyhow::Result;
use criterion::{BenchmarkId, Criterion, Throughput};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;
use wpc_abi::section::Section;
use wpc_abi::text;
use wpc_host::{CallOptions, Options, PendingCall, WasmModule, WorkerProcedureCall};

/// A guest built with the SDK, with `add`, `echo_bytes` and `order`.
const GUEST: &[u8] = include_bytes!("../../fixtures/wasm/sdk.wasm");

fn main() -> Result<()> {
    // Benchmarks are compared with a run before the change. Longer measurements would not show smaller differences.
    let time = Duration::from_secs(2);
    let criterion = Criterion::default().measurement_time(time).warm_up_time(time / 4);
    let mut criterion = criterion.configure_from_args();
    calls(&mut criterion)?;
    many_calls(&mut criterion)?;
    bytes(&mut criterion)?;
    arguments(&mut criterion)?;
    modules(&mut criterion)?;
    texts(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn pool() -> Result<WorkerProcedureCall> {
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.define_worker_module(GUEST)?;
    wpc.start_workers(1)?;
    Ok(wpc)
}

/// All kinds of calls of one small function. Calls by name include the look-up.
fn calls(criterion: &mut Criterion) -> Result<()> {
    let wpc = pool()?;
    let add = wpc.function::<(i32, i32), i32>("add")?;
    let mut here = wpc.local_worker();
    let (values, options) = ([json!(40), json!(2)], CallOptions::new());
    let encoded = wpc.encode_json("add", &values)?;
    // The measured closures do not check their results.
    assert_eq!(here.call_function(&add, (40, 2))?, 42);
    assert_eq!(wpc.call_json("add", &values)?, json!(42));

    let mut group = criterion.benchmark_group("call to `add`");
    group.bench_function("by handle, here", |b| b.iter(|| here.call_function(&add, (40, 2))));
    group.bench_function("by name, here", |b| b.iter(|| here.call::<i32>("add", (40, 2))));
    group.bench_function("by handle, on a worker", |b| b.iter(|| add.call((40, 2))));
    group.bench_function("by name, on a worker", |b| b.iter(|| wpc.call::<i32>("add", (40, 2))));
    group.bench_function("by JSON, on a worker", |b| b.iter(|| wpc.call_json("add", &values)));
    group.bench_function("by bytes, on a worker", |b| {
        b.iter(|| wpc.submit_encoded("add", &encoded, &options)?.wait_encoded());
    });
    group.finish();
    Ok(())
}

/// The cost per call if calls are submitted in batches.
fn many_calls(criterion: &mut Criterion) -> Result<()> {
    const MANY: u64 = 64;
    let wpc = pool()?;
    let add = wpc.function::<(i32, i32), i32>("add")?;
    let mut group = criterion.benchmark_group("submit all, then wait for all");
    group.throughput(Throughput::Elements(MANY));
    group.bench_function(MANY.to_string(), |b| {
        b.iter(|| {
            let calls = (0..MANY).map(|_| add.submit((40, 2))).collect::<Result<Vec<_>, _>>()?;
            calls.into_iter().map(PendingCall::wait).collect::<Result<Vec<_>, _>>()
        });
    });
    group.finish();
    Ok(())
}

/// Byte slices and vectors through a typed handle.
fn bytes(criterion: &mut Criterion) -> Result<()> {
    let wpc = pool()?;
    let echo = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let mut here = wpc.local_worker();
    let mut group = criterion.benchmark_group("bytes, round trip");
    for len in [16, 1 << 10, 64 << 10, 1 << 20] {
        let sent = vec![7; len];
        assert_eq!(echo.call((&sent,))?, sent);
        group.throughput(Throughput::Bytes(2 * len as u64));
        group.bench_function(BenchmarkId::new("here", len), |b| {
            b.iter(|| here.call_function(&echo, (sent.as_slice(),)));
        });
        group.bench_function(BenchmarkId::new("on a worker", len), |b| {
            b.iter(|| echo.call((sent.as_slice(),)));
        });
    }
    group.finish();
    Ok(())
}

/// An argument of the guest's `order`.
#[derive(Serialize)]
struct Order {
    item: String,
    count: u32,
    note: Option<String>,
}

/// Structured arguments: calls with Rust types and with JSON, and the encoding of JSON alone. Rust types can only be
/// encoded as part of a call.
fn arguments(criterion: &mut Criterion) -> Result<()> {
    let wpc = pool()?;
    let items: Vec<_> = (0..20).map(|at| format!("item {at}")).collect();
    let order = |item: &String| Order { item: item.clone(), count: 3, note: None };
    let orders: Vec<_> = items.iter().map(order).collect();
    let prices: BTreeMap<_, _> = items.iter().map(|item| (item.clone(), 7_u64)).collect();
    let values = [serde_json::to_value(&orders)?, serde_json::to_value(&prices)?];
    let encoded = wpc.encode_json("order", &values)?;
    assert_eq!(encoded, postcard::to_allocvec(&(&orders, &prices))?);
    wpc.call_json("order", &values)?;

    let mut group = criterion.benchmark_group("arguments of `order`");
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    group.bench_function("from JSON to bytes", |b| b.iter(|| wpc.encode_json("order", &values)));
    group.bench_function("from text to JSON", |b| {
        let text = serde_json::Value::from(values.to_vec()).to_string();
        b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(&text)));
    });
    group.bench_function("call by Rust's types", |b| {
        b.iter(|| wpc.submit::<()>("order", (&orders, &prices))?.wait_encoded());
    });
    group.bench_function("call by JSON", |b| b.iter(|| wpc.call_json("order", &values)));
    group.finish();
    Ok(())
}

/// Operations on a module's bytes.
fn modules(criterion: &mut Criterion) -> Result<()> {
    let wpc = pool()?;
    let module = WasmModule::new(GUEST);
    let small = WasmModule::new(wat::parse_str(
        r#"(module (func (export "add") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.add))"#,
    )?);
    assert_eq!(module.inspect()?.refused, None);
    assert_eq!(small.inspect()?.refused, None);

    let mut group = criterion.benchmark_group("a module");
    // Compilations take milliseconds.
    group.sample_size(20);
    group.throughput(Throughput::Bytes(GUEST.len() as u64));
    group.bench_function("created", |b| b.iter(|| WasmModule::new(black_box(GUEST))));
    group.bench_function("inspected", |b| b.iter(|| module.inspect()));
    group.bench_function("defined again, compiled before", |b| {
        b.iter(|| wpc.define_worker_function("add", module.clone()));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("inspected, a small one", |b| b.iter(|| small.inspect()));
    group.finish();
    Ok(())
}

/// Signatures as text, and as bytes in a module's section.
fn texts(criterion: &mut Criterion) -> Result<()> {
    const TEXT: &str = "(orders: Vec<Order { item: String, count: u32 }>, prices: Map<String, u64>, \
        place: Option<(f64, f64)>) -> Vec<(String, Option<u64>)>";
    let signature = text::parse_signature("order", TEXT)?;
    let record = signature.record();

    let mut group = criterion.benchmark_group("a signature");
    group.bench_function("read from text", |b| {
        b.iter(|| text::parse_signature("order", black_box(TEXT)));
    });
    group.bench_function("written as text", |b| {
        b.iter(|| text::signature_text(black_box(&signature)));
    });
    group.bench_function("read from a module's section", |b| {
        b.iter(|| Section::default().read(black_box(&record)));
    });
    group.bench_function("written for a module's section", |b| {
        b.iter(|| black_box(&signature).record());
    });
    group.finish();
    Ok(())
}
