//! Streams: the time of an item between a guest and its caller.

use super::LIMITS;
use crate::guests::Guests;
use crate::row::{Row, within};
use crate::workspace;
use anyhow::{Result, ensure};
use std::time::Instant;
use wpc_host::{Options, WorkerProcedureCall};

/// How many items a call yields.
const ITEMS: u32 = 100_000;

/// Numbers of a guest of the SDK, which the caller decodes.
pub(super) fn item(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wasm = std::fs::read(workspace::root()?.join("fixtures/wasm/streams.wasm"))?;
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.define_worker_function("numbers", wasm)?;
    wpc.start_workers(1)?;
    let numbers = wpc.function::<(u64,), ()>("numbers")?;
    let mut ours = || {
        let begun = Instant::now();
        let mut stream = numbers.stream::<u64>((u64::from(ITEMS),))?;
        let mut sum = 0;
        for number in &mut stream {
            sum += number?;
        }
        stream.finish()?;
        let elapsed = begun.elapsed();
        ensure!(sum == u64::from(ITEMS) * u64::from(ITEMS - 1) / 2, "all items arrive");
        Ok(elapsed / ITEMS)
    };
    within("an item of a stream, decoded by its caller", 1_000.0, LIMITS, &mut ours, tick)
}
