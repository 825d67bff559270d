//! The program that `cargo xtask instructions` counts: a number of rounds of one kind. A round is one call, or 1,000
//! calls for `submit`.
//!
//! Nothing here measures time, but the supervisor ticks and idle workers spin before they park, so that the counts of
//! two runs differ within the tolerance of `cargo xtask instructions`.

use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use wpc_host::{Options, WorkerProcedureCall};

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [kind, rounds] = arguments.as_slice() else { bail!("wpc-counted KIND ROUNDS") };
    let rounds: i32 = rounds.parse().context("ROUNDS must be a number")?;
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wasm/sdk.wasm");
    // Each instance reserves gigabytes of address space, and the default number exceeds what valgrind has.
    let wpc = WorkerProcedureCall::new(Options::default().max_live_instances(8))?;
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
            other => bail!("unknown kind {other}"),
        }
    }
    Ok(())
}
