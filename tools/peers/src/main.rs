//! Measures wpc and its peers in one run. See README.md.

mod about;
mod contestant;
mod extism;
mod figures;
mod guests;
mod memory;
mod node;
mod peers;
mod report;
mod sampling;
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
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::MemoryOf { series }) = &arguments.command {
        return memory::print(series);
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
    let about = about::line(node.as_deref())?;
    println!("{about}");
    if let Some(file) = &mut file {
        writeln!(file, "{about}")?;
    }
    eprintln!("building the peers' guests");
    Guests::build()?;
    run(&arguments, node.is_some(), file.as_mut())
}

fn run(arguments: &Arguments, with_node: bool, mut file: Option<&mut File>) -> Result<()> {
    let quick = arguments.quick;
    let wanted = |name: &str| name.starts_with(&arguments.only);
    let figures: Vec<&Figure> = FIGURES.iter().filter(|figure| wanted(figure.name)).collect();
    let of_memory = match (wanted("memory"), quick) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => memory::ROUNDS,
    };
    let ticks: u64 = figures.iter().map(|figure| figure.ticks(quick)).sum();
    let bar = ProgressBar::new(ticks + of_memory);
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
    let peers = Peers::prepare(Guests::read()?, with_node)?;
    for figure in figures {
        bar.set_message(figure.name);
        let points = figure.measure(&peers, quick, || bar.inc(1))?;
        emit(&format!("{}: {}", figure.name, figure.about), &points)?;
    }
    // Nothing else runs while processes start and their memory is measured.
    drop(peers);
    if of_memory > 0 {
        bar.set_message("memory");
        for (name, points) in memory::measure(of_memory, with_node, || bar.inc(1))? {
            emit(&format!("{name}: {}", memory::ABOUT), &points)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}
