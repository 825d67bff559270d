//! Measures wpc and its peers in one run. See README.md.

mod about;
mod contestant;
mod extism;
mod figures;
mod guests;
mod http;
mod memory;
mod node;
mod peers;
mod report;
mod sampling;
mod serving;
mod tasks;
mod wait;
mod waiting;
mod wapc;
mod wpc;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use figures::{FIGURES, Figure};
use guests::Guests;
use indicatif::{ProgressBar, ProgressStyle};
use peers::Peers;
use report::Point;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

/// Measures wpc and its peers by turns and prints medians, with p99 in parentheses.
#[derive(Parser)]
struct Arguments {
    /// Writes a line of JSON for each point to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A smoke run: everything once, without meaningful figures.
    #[arg(long)]
    quick: bool,
    /// Measures only figures whose name starts with this prefix.
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The hidden subcommand of a child process, see `memory.rs`.
    #[command(hide = true, name = memory::SUBCOMMAND)]
    MemoryOf { series: String },
    /// The hidden subcommand of a child process, see `waiting.rs`.
    #[command(hide = true, name = waiting::SUBCOMMAND)]
    SuspendedIn { series: String },
    /// The hidden subcommand of a child process, see `serving.rs`.
    #[command(hide = true, name = serving::SUBCOMMAND)]
    Serve { series: String },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.command {
        None => {}
        Some(Command::MemoryOf { series }) => return memory::print(series),
        Some(Command::SuspendedIn { series }) => return waiting::print(series),
        Some(Command::Serve { series }) => return serving::run(series),
    }
    let mut file = match &arguments.json {
        Some(path) => {
            let file = File::create(path);
            Some(file.with_context(|| format!("failed to write {}", path.display()))?)
        }
        None => None,
    };
    let node = node::version();
    if node.is_none() {
        eprintln!("skipping Node's pools, which need Node 20 and `npm ci` in tools/peers/node");
    }
    let wasmtime = serving::wasmtime_version();
    if wasmtime.is_none() {
        eprintln!("skipping `wasmtime serve`, because the command `wasmtime` is not installed");
    }
    let about = about::line(node.as_deref(), wasmtime.as_deref())?;
    println!("{about}");
    if let Some(file) = &mut file {
        writeln!(file, "{about}")?;
    }
    eprintln!("building the peers' guests");
    Guests::build()?;
    let optional = Optional { node: node.is_some(), wasmtime: wasmtime.is_some() };
    run(&arguments, optional, file.as_mut())
}

/// Which peers that must be installed are included.
#[derive(Clone, Copy)]
struct Optional {
    node: bool,
    wasmtime: bool,
}

fn run(arguments: &Arguments, optional: Optional, mut file: Option<&mut File>) -> Result<()> {
    let quick = arguments.quick;
    let wanted = |name: &str| name.starts_with(&arguments.only);
    let figures: Vec<&Figure> = FIGURES.iter().filter(|figure| wanted(figure.name)).collect();
    let rounds = |name: &str, usual: u64| match (wanted(name), quick) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => usual,
    };
    let of_http = rounds("http", http::ROUNDS);
    let (of_waiting, of_suspended) =
        (rounds("waiting", waiting::ROUNDS), rounds("suspended", waiting::ROUNDS));
    let of_memory = rounds("memory", memory::ROUNDS);
    let ticks: u64 = figures.iter().map(|figure| figure.ticks(quick)).sum();
    let bar = ProgressBar::new(ticks + of_http + of_waiting + of_suspended + of_memory);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}")?);
    let mut emit = |title: &str, points: &[Point]| -> Result<()> {
        bar.suspend(|| println!("\n{title}\n{}", report::table(points)));
        for point in points {
            if let Some(file) = &mut file {
                writeln!(file, "{}", serde_json::to_string(point)?)?;
            }
        }
        Ok(())
    };
    let peers = Peers::prepare(Guests::read()?, optional.node)?;
    for figure in figures {
        bar.set_message(figure.name);
        let points = figure.measure(&peers, quick, || bar.inc(1))?;
        emit(&format!("{}: {}", figure.name, figure.about), &points)?;
    }
    // Nothing else runs while processes start and their memory is measured.
    drop(peers);
    if of_http > 0 {
        bar.set_message("http");
        let points = http::measure(of_http, optional.wasmtime, || bar.inc(1))?;
        emit("http: a JSON call with 64 connections that are kept open", &points)?;
    }
    if of_waiting > 0 {
        bar.set_message("waiting");
        let points = waiting::few(of_waiting, optional.node, || bar.inc(1))?;
        emit("waiting: 200 calls that each await 100 ms, two workers", &points)?;
    }
    if of_suspended > 0 {
        bar.set_message("suspended");
        for (name, points) in waiting::many(of_suspended, || bar.inc(1))? {
            emit(&format!("{name}: 10,000 calls suspended at once and answered"), &points)?;
        }
    }
    if of_memory > 0 {
        bar.set_message("memory");
        for (name, points) in memory::measure(of_memory, optional.node, || bar.inc(1))? {
            emit(&format!("{name}: {}", memory::ABOUT), &points)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}
