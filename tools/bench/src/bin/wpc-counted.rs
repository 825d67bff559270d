//! What `cargo xtask instructions` counts: so many rounds of one kind; a round is a call, of `submit` a thousand.
//!
//! Nothing here measures time, but the pool's supervisor ticks and idle workers look for work before they sleep, so
//! two runs differ by a little.

use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use wpc_host::{Options, WorkerProcedureCall};

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [kind, rounds] = arguments.as_slice() else { bail!("wpc-counted KIND ROUNDS") };
    let rounds: i32 = rounds.parse().context("ROUNDS is a number")?;
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wasm/sdk.wasm");
    // Each reserves gigabytes of addresses, of which valgrind has too few for the default number.
    let wpc = WorkerProcedureCall::new(Options { max_live_instances: 8, ..Options::default() })?;
    for function in ["add", "echo_bytes"] {
        wpc.define_worker_function(function, std::fs::read(&wasm)?)?;
    }
    wpc.start_workers(1)?;
    let add = wpc.function::<(i32, i32), i32>("add")?;
    let echo = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let mut here = wpc.local_worker();
    let kilobyte = vec![7; 1024];
    for round in 0..rounds {
        match kind.as_str() {
            "local-add" => ensure!(here.call_function(&add, (round, 1))? == round + 1),
            "local-echo" => ensure!(here.call_function(&echo, (&kilobyte,))? == kilobyte),
            "submit" => {
                let calls = (0..1_000).map(|other| add.submit((round, other)));
                for (other, pending) in
                    calls.collect::<Result<Vec<_>, _>>()?.into_iter().enumerate()
                {
                    ensure!(pending.wait()? == round + i32::try_from(other)?);
                }
            }
            other => bail!("{other} is nothing that is counted"),
        }
    }
    Ok(())
}
