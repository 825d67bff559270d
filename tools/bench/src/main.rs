//! `cargo xtask bench`: the performance of wpc, each row against a baseline measured in the same run; how it scales;
//! and plots of the results.

mod baselines;
mod bulk;
mod child;
mod cluster;
mod figure;
mod fleet;
mod growth;
mod guests;
mod http;
mod load;
mod paced;
mod plot;
mod point;
mod process;
mod row;
mod rows;
mod sampling;
mod unit;
mod waiting;
mod workspace;

use anyhow::{Context as _, Result};
use child::Task;
use clap::{Parser, Subcommand};
use guests::Guests;
use indicatif::{ProgressBar, ProgressStyle};
use point::About;
use row::Row;
use rows::{CLUSTER_ROWS, HOST_ROWS, HTTP_ROWS, Measure};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Writes a line of JSON for each row to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Measures how costs grow with load and registry size, as figures of many points. Takes four minutes.
    Growth {
        /// Writes a line of JSON for each point to this file, after a line about the run.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Draws results of `growth`, and of other programs with the same format, as SVG.
    Plot {
        /// Files with a line of JSON for each point.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The output folder instead of docs/performance.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Measures only the rows about the server.
    Http {
        /// Writes a line of JSON for each row to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Measures the rows about a cluster, which need the program `nats-server`.
    Cluster {
        /// Writes a line of JSON for each row to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Measures how long `memory.fill` and `memory.copy` occupy a worker past the time limit of their call.
    Bulk,
    /// A child process that another measurement starts.
    #[command(name = process::CHILD, hide = true)]
    Child { task: String },
    /// A server process that another measurement starts.
    #[command(name = http::SERVE, hide = true)]
    Serve { contestant: http::Contestant },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        None => print_rows(&[HOST_ROWS.as_slice(), &HTTP_ROWS].concat(), arguments.json.as_deref()),
        Some(Command::Http { json }) => print_rows(&HTTP_ROWS, json.as_deref()),
        Some(Command::Cluster { json }) => print_rows(&CLUSTER_ROWS, json.as_deref()),
        Some(Command::Growth { json }) => print_growth(json.as_deref()),
        Some(Command::Plot { files, out }) => {
            let out =
                out.map_or_else(|| anyhow::Ok(workspace::root()?.join("docs/performance")), Ok);
            for line in plot::draw(&files, &out?)? {
                println!("{line}");
            }
            Ok(())
        }
        Some(Command::Bulk) => bulk::print(),
        Some(Command::Serve { contestant }) => http::serve(contestant),
        Some(Command::Child { task }) => {
            println!("{}", serde_json::from_str::<Task>(&task)?.run()?);
            Ok(())
        }
    }
}

fn print_rows(rows: &[(Measure, u64)], json: Option<&Path>) -> Result<()> {
    let mut file = json.map(create).transpose()?;
    let guests = Guests::read()?;
    let bar = bar(rows.iter().map(|(_, steps)| steps).sum())?;
    println!("{}", Row::heading());
    for (measure, _) in rows {
        let row = measure(&guests, &mut || bar.inc(1))?;
        bar.suspend(|| println!("{}", row.line()));
        if let Some(file) = &mut file {
            writeln!(file, "{}", row.as_json())?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_growth(json: Option<&Path>) -> Result<()> {
    let mut file = json.map(create).transpose()?;
    if let Some(file) = &mut file {
        writeln!(file, "{}", serde_json::to_string(&About::now())?)?;
    }
    let guests = Guests::read()?;
    let bar = bar(growth::FIGURES.iter().map(|(_, steps)| steps).sum())?;
    for (measure, _) in growth::FIGURES {
        for series in measure(&guests, &mut || bar.inc(1))? {
            bar.suspend(|| println!("{}\n", series.lines().join("\n")));
            for point in series.points() {
                if let Some(file) = &mut file {
                    writeln!(file, "{}", serde_json::to_string(&point)?)?;
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("failed to write {}", path.display()))
}

fn bar(steps: u64) -> Result<ProgressBar> {
    let bar = ProgressBar::new(steps);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len}")?);
    Ok(bar)
}
