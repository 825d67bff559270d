//! A chaos run: concurrent callers, redefinitions, unresponsive workers, stops and starts, from one seed.
//!
//! Invariants:
//!
//! * Every call ends with an allowed outcome.
//! * A value is from a definition that was current between the call's acceptance and its answer.
//! * Nothing panics.
//! * At the end no call is in flight, no sandbox is left, and the number of threads and the memory are as before.
#![forbid(unsafe_code)]

mod attacks;
mod cluster;
mod scene;
mod suspension;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use scene::{Scene, Tally};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The number of callers. More than workers, so that some calls are queued.
const CALLERS: u64 = 6;

/// How much more memory the process may have at the end than after its first start, in KiB. The allocator and the
/// instance pool keep freed memory for reuse.
const MEMORY_SLACK: u64 = 96 * 1024;

/// How many more memory maps the process may have at the end. The allocator keeps arenas of ended threads.
const MAPS_SLACK: usize = 200;

/// Mixes calls, failures and changes at random and checks invariants.
#[derive(Parser)]
#[command(name = "cargo xtask soak", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The duration of the chaos run in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The duration in seconds of repeated stops that abandon their workers.
    #[arg(long, default_value_t = 60)]
    stops: u64,
    /// The duration in seconds for which guests flood the host with calls.
    #[arg(long, default_value_t = 12)]
    floods: u64,
    /// The duration in seconds for which thousands of calls are suspended, cancelled, dropped and stopped.
    #[arg(long, default_value_t = 8)]
    suspends: u64,
    /// The random seed; the same seed makes the same choices.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Subcommand)]
enum Command {
    Cluster(cluster::Arguments),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Cluster(arguments)) = &arguments.command {
        return cluster::run(arguments);
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("soak of {} s, seed {seed}", arguments.seconds);

    // The pool recovers from a panic on one of its threads, so panics are counted here.
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));

    let start = Usage::now()?;
    chaos(&arguments, seed)?;
    for (attack, seconds) in [
        (attacks::stops as fn(Duration) -> Result<Usage>, arguments.stops),
        (attacks::floods, arguments.floods),
        (suspension::suspends, arguments.suspends),
    ] {
        let before = attack(Duration::from_secs(seconds))?;
        let after = Usage::once_settled(start.threads)?;
        println!(
            "threads {} -> {}, maps {} -> {}, memory {} -> {} KiB",
            start.threads, after.threads, before.maps, after.maps, before.memory, after.memory
        );
        ensure!(after.threads <= start.threads, "threads are leaked");
        ensure!(after.maps < before.maps + MAPS_SLACK, "memory maps are leaked");
        ensure!(after.memory < before.memory + MEMORY_SLACK, "memory is leaked");
    }
    let panics = panics.load(Ordering::Relaxed);
    ensure!(panics == 0, "{panics} panics");
    println!("all invariants hold");
    Ok(())
}

/// The chaos run.
fn chaos(arguments: &Arguments, seed: u64) -> Result<()> {
    let scene = Scene::new(seed)?;
    scene.start()?;
    scene.warm_up()?;
    let before = Usage::now()?;
    let bar = progress_bar(arguments.seconds)?;
    let ends = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(arguments.seconds);

    let tally = std::thread::scope(|scope| -> Result<Tally> {
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let (scene, ends) = (&scene, &ends);
                scope.spawn(move || -> Result<Tally> {
                    let mut random = SmallRng::seed_from_u64(seed.wrapping_add(number));
                    let (mut here, mut tally) = (scene.local_worker(), Tally::default());
                    while !ends.load(Ordering::Relaxed) {
                        scene.call(&mut random, &mut here, &mut tally)?;
                    }
                    Ok(tally)
                })
            })
            .collect();
        let mut random = SmallRng::seed_from_u64(!seed);
        let mut result = Ok(());
        while Instant::now() < end
            && result.is_ok()
            && !callers.iter().any(|caller| caller.is_finished())
        {
            result = scene.change(&mut random);
            std::thread::sleep(Duration::from_millis(random.random_range(0..8)));
            bar.set_position(arguments.seconds.saturating_sub((end - Instant::now()).as_secs()));
        }
        ends.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for caller in callers {
            match caller.join() {
                Ok(counted) => tally.add(&counted?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result.map(|()| tally)
    })?;
    bar.finish_and_clear();

    scene.check_idle()?;
    scene.stop();
    let after = Usage::once_settled(before.threads - 1)?;
    println!("{tally}");
    println!(
        "threads {} -> {}, memory {} -> {} KiB",
        before.threads, after.threads, before.memory, after.memory
    );
    ensure!(after.threads < before.threads, "threads are leaked");
    ensure!(scene.has_no_sandboxes(), "sandboxes are leaked");
    ensure!(after.memory < before.memory + MEMORY_SLACK, "memory is leaked");
    Ok(())
}

fn progress_bar(seconds: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s")?;
    Ok(ProgressBar::new(seconds).with_style(style))
}

/// The resource usage of the process as reported by the system.
struct Usage {
    threads: u64,
    memory: u64,
    maps: usize,
}

impl Usage {
    /// The usage once at most `threads` are left. Abandoned threads end when their host function returns.
    fn once_settled(threads: u64) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut usage = Self::now()?;
        while usage.threads > threads && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            usage = Self::now()?;
        }
        Ok(usage)
    }

    fn now() -> Result<Self> {
        let status =
            std::fs::read_to_string("/proc/self/status").context("the soak needs Linux's /proc")?;
        let number = |name: &str| -> Result<u64> {
            let line =
                status.lines().find(|line| line.starts_with(name)).context("a line is missing")?;
            let number = line.split_whitespace().nth(1).context("a number is missing")?;
            Ok(number.parse()?)
        };
        let maps = std::fs::read_to_string("/proc/self/maps")?.lines().count();
        Ok(Self { threads: number("Threads:")?, memory: number("VmRSS:")?, maps })
    }
}
