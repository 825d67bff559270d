//! What `cargo xtask instructions` counts: so many calls of one kind, and nothing that depends on time.

use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use wpc_host::{Options, WorkerProcedureCall};

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [kind, calls] = arguments.as_slice() else { bail!("wpc-counted KIND CALLS") };
    let calls: i32 = calls.parse().context("CALLS is a number")?;
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/wasm/sdk.wasm");
    let wpc = WorkerProcedureCall::new(Options { max_live_instances: 8, ..Options::default() })?;
    for function in ["add", "echo_bytes"] {
        wpc.define_worker_function(function, std::fs::read(&wasm)?)?;
    }
    wpc.start_workers(1)?;
    let add = wpc.function::<(i32, i32), i32>("add")?;
    let echo = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let mut here = wpc.local_worker();
    let kilobyte = vec![7; 1024];
    for call in 0..calls {
        match kind.as_str() {
            "local-add" => ensure!(here.call_function(&add, (call, 1))? == call + 1),
            "local-echo" => ensure!(here.call_function(&echo, (&kilobyte,))? == kilobyte),
            "submit" => {
                let calls = (0..1_000).map(|other| add.submit((call, other)));
                for (other, pending) in
                    calls.collect::<Result<Vec<_>, _>>()?.into_iter().enumerate()
                {
                    ensure!(pending.wait()? == call + i32::try_from(other)?);
                }
            }
            other => bail!("{other} is nothing that is counted"),
        }
    }
    Ok(())
}
