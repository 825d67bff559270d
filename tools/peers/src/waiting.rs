//! Calls that wait: 200 of them for 100 ms each, and 10,000 until all of them are suspended.

use crate::memory::resident;
use crate::node::{self, Node};
use crate::report::{Point, Unit};
use crate::sampling::Samples;
use crate::tasks::Tasks;
use crate::wait::Wait;
use crate::wpc;
use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Calls of a guest whose host function waits.
pub(crate) trait Waiting {
    /// Makes this number of calls at once, runs `all_wait`, and waits for the calls.
    fn run(&mut self, calls: u32, all_wait: &mut dyn FnMut() -> Result<()>) -> Result<()>;
}

/// The number of workers, and of threads of Wasmtime's tasks.
const THREADS: usize = 2;

/// How many calls wait, and for how long.
const FEW: u32 = 200;
const WAIT: Duration = Duration::from_millis(100);

/// How many calls are suspended at once.
const MANY: u32 = 10_000;

pub(crate) const ROUNDS: u64 = 9;

/// The subcommand of a child process with many suspended calls.
pub(crate) const SUBCOMMAND: &str = "suspended-in";

const WPC: &str = "wpc";
const TASKS: &str = "Wasmtime, a task and a store each";

/// The libraries whose calls can share a worker while they wait.
const OF_NODE: [&str; 2] = ["piscina", "tinypool"];

fn start(series: &str, wait: &Wait, most: u32) -> Result<Box<dyn Waiting>> {
    Ok(match series {
        WPC => Box::new(wpc::Suspending::start(wait, most, THREADS)?),
        TASKS => Box::new(Tasks::start(wait, most, THREADS)?),
        other => bail!("unknown library {other:?}"),
    })
}

/// The time until 200 calls are answered that each await 100 ms.
pub(crate) fn few(rounds: u64, with_node: bool, mut tick: impl FnMut()) -> Result<Vec<Point>> {
    let node = with_node.then(Node::start).transpose()?.map(|node| Rc::new(RefCell::new(node)));
    let mut runs: Vec<(&str, Box<dyn FnMut() -> Result<Duration>>)> = Vec::new();
    for series in [WPC, TASKS] {
        let mut waiting = start(series, &Wait::For(WAIT), FEW)?;
        let run = move || {
            let begun = Instant::now();
            waiting.run(FEW, &mut || Ok(()))?;
            Ok(begun.elapsed())
        };
        runs.push((series, Box::new(run)));
    }
    for library in OF_NODE {
        let Some(node) = &node else { continue };
        let per_thread = FEW as usize / THREADS;
        let mut pool = node::Pool::sharing(node, library, THREADS, per_thread)?;
        runs.push((library, Box::new(move || pool.wait(FEW, WAIT))));
    }
    let mut samples = vec![Vec::new(); runs.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for ((_, run), samples) in runs.iter_mut().zip(&mut samples) {
            let took = run()?;
            if round > 0 {
                samples.push(took.as_secs_f64() * 1e9);
            }
        }
        tick();
    }
    let series = runs.iter().map(|(series, _)| *series);
    Ok(series
        .zip(samples)
        .map(|(series, samples)| {
            let samples = Samples::of(samples, false);
            Point::new("waiting", series, FEW as usize, Unit::Nanoseconds, &samples)
        })
        .collect())
}

/// What a child process measures.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Suspended {
    nanoseconds: f64,
    /// For each call, in bytes.
    resident: f64,
}

/// The figures of 10,000 suspended calls: their duration, and their memory.
pub(crate) fn many(rounds: u64, mut tick: impl FnMut()) -> Result<[(&'static str, Vec<Point>); 2]> {
    let mut taken: Vec<(&str, Vec<Suspended>)> =
        [WPC, TASKS].map(|series| (series, Vec::new())).into();
    for _ in 0..rounds {
        for (series, taken) in &mut taken {
            let child = std::env::current_exe()?;
            let output = Command::new(child).args([SUBCOMMAND, series]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            taken.push(serde_json::from_slice(&output.stdout)?);
        }
        tick();
    }
    let figure = |name: &'static str, unit: Unit, value: fn(&Suspended) -> f64| {
        let point = |(series, taken): &(&str, Vec<Suspended>)| {
            let samples = Samples::of(taken.iter().map(value).collect(), false);
            Point::new(name, series, MANY as usize, unit, &samples)
        };
        (name, taken.iter().map(point).collect())
    };
    Ok([
        figure("suspended", Unit::Nanoseconds, |taken| taken.nanoseconds),
        figure("suspended-memory", Unit::Kilobytes, |taken| taken.resident / 1024.0),
    ])
}

/// The child process: suspends the calls, answers them, and prints what that took.
pub(crate) fn print(series: &str) -> Result<()> {
    let (gate, opened) = watch::channel(false);
    let waiting = Arc::new(AtomicU32::new(0));
    let mut calls = start(series, &Wait::Gate(opened, Arc::clone(&waiting)), MANY)?;
    let before = resident()?;
    let mut after = before;
    let begun = Instant::now();
    calls.run(MANY, &mut || {
        while waiting.load(Ordering::Acquire) < MANY {
            std::thread::yield_now();
        }
        after = resident()?;
        gate.send_replace(true);
        Ok(())
    })?;
    let nanoseconds = begun.elapsed().as_secs_f64() * 1e9;
    let resident = (after - before) / f64::from(MANY);
    println!("{}", json!({ "nanoseconds": nanoseconds, "resident": resident }));
    Ok(())
}
