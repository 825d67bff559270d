//! `cargo xtask bench`: what wpc costs, each row against its floor in the same run.

mod floors;
mod rows;
mod sampling;

use anyhow::{Context as _, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rows::{Goal, Guests, ROWS, Row, Unit};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Parser)]
struct Arguments {
    /// Writes a line of JSON for each row to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut file = match &arguments.json {
        Some(path) => {
            let file = std::fs::File::create(path);
            Some(file.with_context(|| format!("{} could not be written", path.display()))?)
        }
        None => None,
    };
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("it lies in the workspace")?;
    let guests = Guests::read(root)?;
    let bar = ProgressBar::new(ROWS.iter().map(|(_, steps)| steps).sum());
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len}")?);
    println!(
        "{}",
        line(
            ["", "ours p50", "p99", "spread", "floor p50", "ratio", "goal", "", "n"]
                .map(str::to_owned)
        )
    );
    for (measure, _) in ROWS {
        let row = measure(&guests, &mut || bar.inc(1))?;
        bar.suspend(|| println!("{}", line(cells(&row))));
        if let Some(file) = &mut file {
            writeln!(file, "{}", as_json(&row))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn line(cells: [String; 9]) -> String {
    let [name, rest @ ..] = cells;
    let widths = [12, 12, 7, 12, 7, 12, 7, 6];
    let rest = rest.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
    format!("{name:<60}{}", rest.collect::<Vec<_>>().join(""))
}

fn cells(row: &Row) -> [String; 9] {
    let floor = row.floor.as_ref();
    let goal = match row.goal {
        Goal::Ratio(most) => format!("<= {most}x"),
        Goal::Absolute(least) if row.unit == Unit::CallsPerSecond => {
            format!(">= {}", figure(row.unit, least))
        }
        Goal::Absolute(most) => format!("<= {}", figure(row.unit, most)),
    };
    [
        row.name.to_owned(),
        figure(row.unit, row.ours.median()),
        figure(row.unit, row.ours.quantile(0.99)),
        format!("{:.0}%", row.ours.spread() * 100.0),
        floor.map_or_else(String::new, |floor| figure(row.unit, floor.median())),
        row.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
        goal,
        if row.is_met() { "met" } else { "missed" }.to_owned(),
        row.ours.len().to_string(),
    ]
}

fn figure(unit: Unit, value: f64) -> String {
    let scaled = |steps: [(&str, f64); 4]| {
        let step = steps.iter().rev().find(|(_, size)| value >= *size).unwrap_or(&steps[0]);
        format!("{:.2} {}", value / step.1, step.0)
    };
    match unit {
        Unit::Nanoseconds => scaled([("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]),
        Unit::CallsPerSecond => scaled([("/s", 1.0), ("k/s", 1e3), ("M/s", 1e6), ("G/s", 1e9)]),
    }
}

fn as_json(row: &Row) -> serde_json::Value {
    let (goal, kind) = match row.goal {
        Goal::Ratio(most) => (most, "ratio"),
        Goal::Absolute(figure) => (figure, "absolute"),
    };
    let unit = match row.unit {
        Unit::Nanoseconds => "ns",
        Unit::CallsPerSecond => "calls/s",
    };
    json!({
        "row": row.name,
        "ours": row.ours.median(),
        "ours_p99": row.ours.quantile(0.99),
        "spread": row.ours.spread(),
        "floor": row.floor.as_ref().map(sampling::Samples::median),
        "ratio": row.ratio(),
        "goal": goal,
        "goal_kind": kind,
        "met": row.is_met(),
        "unit": unit,
        "samples": row.ours.len(),
    })
}
