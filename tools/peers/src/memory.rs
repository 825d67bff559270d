//! The memory of a process whose four workers have each answered. Every library and round has a separate process, so
//! that no memory is counted for another library.

use crate::contestant::{Contestant, Load, Work};
use crate::guests::Guests;
use crate::node::{self, LIBRARIES, Memory, Node};
use crate::report::{Point, Unit};
use crate::sampling::Samples;
use crate::{extism, wapc, wpc};
use anyhow::{Context as _, Result, bail, ensure};
use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

const WORKERS: usize = 4;

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// Enough calls that every worker has answered.
const LOAD: Load = Load { work: Work::Add, outstanding: 64, calls: 1_000 };

pub(crate) const ROUNDS: u64 = 5;

/// The subcommand of a child process.
pub(crate) const SUBCOMMAND: &str = "memory-of";

pub(crate) const ABOUT: &str = "a process whose four workers have each answered";

/// The libraries that run in this program.
const OURS: [&str; 3] = ["wpc", "Extism", "waPC, caller's thread"];

/// A figure with its points.
type Measured = (&'static str, Vec<Point>);

pub(crate) fn measure(
    rounds: u64,
    with_node: bool,
    mut tick: impl FnMut(),
) -> Result<[Measured; 2]> {
    let libraries = if with_node { LIBRARIES.as_slice() } else { &[] };
    let mut taken: Vec<(&str, Vec<Memory>)> =
        OURS.iter().chain(libraries).map(|series| (*series, Vec::new())).collect();
    for _ in 0..rounds {
        for (series, taken) in &mut taken {
            taken.push(if LIBRARIES.contains(series) {
                of_node(series)?
            } else {
                of_child(series)?
            });
        }
        tick();
    }
    let figure = |name: &'static str, bytes: fn(&Memory) -> f64| {
        let point = |(series, taken): &(&str, Vec<Memory>)| {
            let megabytes = taken.iter().map(|taken| bytes(taken) / MEGABYTE).collect();
            let samples = Samples::of(megabytes, false);
            Point::new(name, series, WORKERS, Unit::Megabytes, &samples)
        };
        (name, taken.iter().map(point).collect())
    };
    Ok([figure("memory", |taken| taken.resident), figure("memory-peak", |taken| taken.peak)])
}

fn of_child(series: &str) -> Result<Memory> {
    let output = Command::new(std::env::current_exe()?).args([SUBCOMMAND, series]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn of_node(library: &'static str) -> Result<Memory> {
    let node = Rc::new(RefCell::new(Node::start()?));
    let mut pool = node::Pool::start(&node, library, WORKERS)?;
    pool.run(LOAD)?;
    node.borrow_mut().memory()
}

/// The child process: starts the workers, makes calls, and prints its memory.
pub(crate) fn print(series: &str) -> Result<()> {
    let guests = Guests::read()?;
    let mut contestants: Vec<Box<dyn Contestant>> = match series {
        "wpc" => vec![Box::new(wpc::Pool::start(&guests.wpc, WORKERS)?)],
        "Extism" => {
            let compiled = extism::compile(&guests.extism)?;
            vec![Box::new(extism::Pool::start(&compiled, WORKERS)?)]
        }
        // waPC has no pool, so its workers are four hosts.
        "waPC, caller's thread" => {
            let compiled = wapc::compile(&guests.wapc)?;
            let mut hosts: Vec<Box<dyn Contestant>> = Vec::new();
            for _ in 0..WORKERS {
                hosts.push(Box::new(wapc::Local::start(&compiled)?));
            }
            hosts
        }
        other => bail!("unknown library {other:?}"),
    };
    for contestant in &mut contestants {
        contestant.run(LOAD)?;
    }
    let peak = bytes_of_this_process("VmHWM:")?;
    println!("{}", serde_json::json!({ "resident": resident()?, "peak": peak }));
    Ok(())
}

/// The resident memory of this process, in bytes.
pub(crate) fn resident() -> Result<f64> {
    bytes_of_this_process("VmRSS:")
}

fn bytes_of_this_process(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = number.with_context(|| format!("{name} is missing"))?.parse()?;
    Ok(kilobytes * 1024.0)
}
