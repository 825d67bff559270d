//! A chaos run: callers, redefinitions, lost workers, stops and starts at once, from one seed.
//!
//! What must hold: every call ends, with an outcome that is lawful for what was called; a value
//! belongs to a definition that was current at some time between the call's acceptance and its
//! answer; nothing panics; in the end nothing is in flight, no sandbox is left, and threads and memory
//! are what they were.
#![forbid(unsafe_code)]

mod attacks;
mod scene;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use scene::{Scene, Tally};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many callers: a few more than workers, so that some wait.
const CALLERS: u64 = 6;

/// How much more memory the process may have in the end than after its first start, in KiB: what
/// the allocator and the instance pool keep for later.
const MEMORY_SLACK: u64 = 96 * 1024;

/// How many more memory maps the process may have in the end: the allocator's, for threads that there were.
const MAPS_SLACK: usize = 200;

/// Mixes everything the host can meet and checks what must hold.
#[derive(Parser)]
#[command(name = "cargo xtask soak")]
struct Arguments {
    /// For how long.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// For how long workers are abandoned by stops.
    #[arg(long, default_value_t = 60)]
    stops: u64,
    /// For how long guests flood the host with calls.
    #[arg(long, default_value_t = 12)]
    floods: u64,
    /// What to begin the randomness with; the same seed makes the same choices.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("soak of {} s, seed {seed}", arguments.seconds);

    // A panic on one of the pool's threads would be mended, and go unnoticed.
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
    ] {
        let before = attack(Duration::from_secs(seconds))?;
        let after = Usage::once_settled(start.threads)?;
        println!(
            "threads {} -> {}, maps {} -> {}, memory {} -> {} KiB",
            start.threads, after.threads, before.maps, after.maps, before.memory, after.memory
        );
        ensure!(after.threads <= start.threads, "threads were left behind");
        ensure!(after.maps < before.maps + MAPS_SLACK, "memory maps were left behind");
        ensure!(after.memory < before.memory + MEMORY_SLACK, "memory was left behind");
    }
    let panics = panics.load(Ordering::Relaxed);
    ensure!(panics == 0, "{panics} panics");
    println!("everything held");
    Ok(())
}

/// The chaos run itself.
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
    ensure!(after.threads < before.threads, "threads were left behind");
    ensure!(scene.has_no_sandboxes(), "sandboxes were left behind");
    ensure!(after.memory < before.memory + MEMORY_SLACK, "memory was left behind");
    Ok(())
}

fn progress_bar(seconds: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s")?;
    Ok(ProgressBar::new(seconds).with_style(style))
}

/// What the process has, as the system tells.
struct Usage {
    threads: u64,
    memory: u64,
    maps: usize,
}

impl Usage {
    /// What is left once no more than so many threads are: abandoned ones end by themselves when their host function
    /// returns.
    fn once_settled(threads: u64) -> Result<Self> {
        let patience = Instant::now() + Duration::from_secs(10);
        let mut usage = Self::now()?;
        while usage.threads > threads && Instant::now() < patience {
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
                status.lines().find(|line| line.starts_with(name)).context("no such line")?;
            let number = line.split_whitespace().nth(1).context("no number")?;
            Ok(number.parse()?)
        };
        let maps = std::fs::read_to_string("/proc/self/maps")?.lines().count();
        Ok(Self { threads: number("Threads:")?, memory: number("VmRSS:")?, maps })
    }
}
