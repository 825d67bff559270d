//! `cargo xtask bench plot`: what was measured, as pictures.

mod axis;
mod chart;

use crate::figure;
use crate::point::{Point, read};
use crate::unit::Unit;
use anyhow::{Context as _, Result};
use chart::{Chart, Line};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a picture shows, and which runs it is from.
#[derive(Default)]
struct Shown {
    lines: Vec<Line>,
    runs: Vec<String>,
}

/// Draws what the files have into the folder, a picture for each figure and unit; gives their paths.
pub(crate) fn draw(files: &[PathBuf], folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures: BTreeMap<String, BTreeMap<String, Shown>> = BTreeMap::new();
    for file in files {
        let (about, points) = read(file)?;
        let run = about.map(|about| format!("{}, {}", about.machine, about.date));
        for point in points {
            let units = pictures.entry(point.figure.clone()).or_default();
            let shown = units.entry(point.unit.clone()).or_default();
            if let Some(run) = run.as_ref().filter(|run| !shown.runs.contains(run)) {
                shown.runs.push(run.clone());
            }
            add(&mut shown.lines, &point);
        }
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut drawn = Vec::new();
    for (name, units) in pictures {
        let is_only = units.len() == 1;
        for (unit, shown) in units {
            let suffix = if is_only { String::new() } else { format!("-{}", slug(&unit)) };
            let path = folder.join(format!("{name}{suffix}.svg"));
            chart(&name, &unit, shown).draw(&path)?;
            drawn.push(path);
        }
    }
    Ok(drawn)
}

/// Adds a point to the line of its series. Of two for the same place the later one counts.
fn add(lines: &mut Vec<Line>, point: &Point) {
    let at = lines.iter().position(|line| line.name == point.series).unwrap_or_else(|| {
        lines.push(Line { name: point.series.clone(), points: Vec::new() });
        lines.len() - 1
    });
    let points = &mut lines[at].points;
    points.retain(|(x, _, _)| *x != point.x);
    // Of a rate it is the best that happened.
    let p99 = point.p99.filter(|_| Unit::of(&point.unit) == Some(Unit::Nanoseconds));
    points.push((point.x, point.y, p99));
    points.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
}

fn chart(name: &str, unit: &str, shown: Shown) -> Chart {
    let figure = figure::of(name);
    let what = match Unit::of(unit) {
        Some(Unit::Nanoseconds) => "time",
        Some(Unit::CallsPerSecond) => "calls a second",
        Some(Unit::Megabytes) => "resident memory",
        Some(Unit::Kilobytes | Unit::Bytes) => "memory",
        None => unit,
    };
    Chart {
        title: figure.map_or(name, |figure| figure.title).to_owned(),
        subtitle: shown.runs.join("; "),
        x: figure.map_or("", |figure| figure.x).to_owned(),
        y: what.to_owned(),
        unit: Unit::of(unit),
        lines: shown.lines,
    }
}

/// What a picture of this unit shows, as a part of a file's name.
fn slug(unit: &str) -> String {
    match Unit::of(unit) {
        Some(Unit::Nanoseconds) => "time".to_owned(),
        Some(Unit::CallsPerSecond) => "throughput".to_owned(),
        Some(_) => "memory".to_owned(),
        None => unit.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"),
    }
}
