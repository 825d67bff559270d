//! A pool with many suspended calls.

use crate::process::resident;
use anyhow::Result;
use std::time::Instant;
use tokio::sync::watch;
use wpc_host::{Limits, Options, PendingCall, WasmModule, WorkerProcedureCall};

/// The most instances that a pool can have.
pub(crate) const MOST: u32 = 10_000;

/// Calls that are suspended.
pub(crate) struct Waiting {
    /// Their pool, which has two workers.
    pub(crate) wpc: WorkerProcedureCall,
    calls: Vec<PendingCall<()>>,
    gate: watch::Sender<bool>,
    begun: Instant,
    resident_before: f64,
}

impl Waiting {
    /// Makes this number of calls, and waits until all are suspended.
    pub(crate) fn suspend(calls: u32) -> Result<Self> {
        let options = Options::default().max_live_instances(MOST).max_suspended_instances(MOST);
        let wpc = WorkerProcedureCall::new(options)?;
        let (gate, opened) = watch::channel(false);
        wpc.define_async_host_function("waits", move |_, (): ()| {
            let mut opened = opened.clone();
            async move { opened.wait_for(|is_open| *is_open).await.map(drop) }
        })?;
        let waits = r#"(module
            (import "wpc-host" "waits" (func $waits (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "waits")
                (drop (call $waits (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64)))))"#;
        let limits = Limits::default().max_concurrent_calls(MOST as usize);
        let waits = WasmModule::new(wat::parse_str(waits)?).grant_host_function("waits");
        wpc.define_worker_function("waits", waits.limits(limits))?;
        wpc.start_workers(2)?;
        let resident_before = resident()?;
        let begun = Instant::now();
        let calls = (0..calls).map(|_| wpc.submit("waits", ())).collect::<Result<Vec<_>, _>>()?;
        while wpc.metrics().suspended_calls < calls.len() {
            std::thread::yield_now();
        }
        Ok(Self { wpc, calls, gate, begun, resident_before })
    }

    /// The resident KB for each.
    pub(crate) fn resident(self) -> Result<f64> {
        let resident = (resident()? - self.resident_before) / self.calls.len() as f64 / 1024.0;
        self.answer()?;
        Ok(resident)
    }

    /// Answers all. Returns the nanoseconds since the first was made.
    pub(crate) fn answer(self) -> Result<f64> {
        self.gate.send_replace(true);
        for call in self.calls {
            call.wait()?;
        }
        let elapsed = self.begun.elapsed();
        self.wpc.stop_workers();
        Ok(elapsed.as_secs_f64() * 1e9)
    }
}
