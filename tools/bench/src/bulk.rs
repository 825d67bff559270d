//! How long one bulk memory instruction occupies a worker past the time limit of its call, as in `docs/security.md`.

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, Error, Limits, Options, WasmModule, WorkerProcedureCall};

const LIMIT: Duration = Duration::from_millis(50);

/// Runs in fresh sandboxes, because the kernel allocates a page when it is first touched.
const ROUNDS: usize = 5;

/// Sizes in MiB. A copy needs as much memory again as its source.
const SIZES: [u32; 2] = [16, 256];

pub(crate) fn print() -> Result<()> {
    println!("instruction      MiB   past a limit of {} ms, in ms", LIMIT.as_millis());
    for (name, instruction) in [("memory.fill", "i32.const 7"), ("memory.copy", "local.get $size")]
    {
        for mib in SIZES {
            let late = measure(name, instruction, mib)?;
            let late: Vec<_> = late.iter().map(|late| late.as_millis().to_string()).collect();
            println!("{name:<12}{mib:>8}   {}", late.join(" "));
        }
    }
    Ok(())
}

/// The time from the limit until the worker answers the next call, for each fresh sandbox.
fn measure(name: &str, second: &str, mib: u32) -> Result<Vec<Duration>> {
    let wpc = WorkerProcedureCall::new(Options::default().max_live_instances(4))?;
    // Three times in a row, because a fast machine finishes a single one before the limit.
    let instruction = format!("({name} (i32.const 0) ({second}) (local.get $size))").repeat(3);
    let module = wat::parse_str(format!(
        r#"(module (memory {})
            (func (export "late") (local $size i32)
                (local.set $size (i32.const {})) {instruction})
            (func (export "next")))"#,
        2 * mib * 16,
        mib << 20,
    ))?;
    let limits = Limits::default().memory(2 << 30);
    let module = WasmModule::new(module).limits(limits).isolate_calls();
    wpc.define_worker_module(module)?;
    wpc.start_workers(1)?;
    let limit = CallOptions::new().timeout(LIMIT);
    (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let late = wpc.submit_with::<()>("late", (), &limit)?;
            let next = wpc.submit::<()>("next", ())?;
            let ended = late.wait();
            ensure!(matches!(ended, Ok(()) | Err(Error::Timeout { .. })), "{ended:?}");
            next.wait()?;
            Ok(begun.elapsed().saturating_sub(LIMIT))
        })
        .collect()
}
