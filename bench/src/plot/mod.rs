//! `cargo xtask bench plot`: what was measured, as pictures.

mod axis;
mod chart;

use crate::figure;
use crate::point::{About, Point, read};
use crate::unit::Unit;
use anyhow::{Context as _, Result};
use chart::{Chart, Line};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Draws what the files have into the folder, a picture for each figure and unit; gives their paths.
pub(crate) fn draw(files: &[PathBuf], folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut abouts, mut points): (Vec<About>, Vec<Point>) = Default::default();
    for file in files {
        let (about, of_file) = read(file)?;
        abouts.extend(about);
        points.extend(of_file);
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut pictures: BTreeMap<&str, BTreeMap<&str, Vec<Line>>> = BTreeMap::new();
    for point in &points {
        let lines = pictures.entry(&point.figure).or_default().entry(&point.unit).or_default();
        add(lines, point);
    }
    let mut drawn = Vec::new();
    for (name, units) in pictures {
        let is_only = units.len() == 1;
        for (unit, lines) in units {
            let suffix = if is_only { String::new() } else { format!("-{}", slug(unit)) };
            let path = folder.join(format!("{name}{suffix}.svg"));
            chart(name, unit, lines, &abouts).draw(&path)?;
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

fn chart(name: &str, unit: &str, lines: Vec<Line>, abouts: &[About]) -> Chart {
    let figure = figure::of(name);
    let what = match Unit::of(unit) {
        Some(Unit::Nanoseconds) => "time",
        Some(Unit::CallsPerSecond) => "calls a second",
        Some(Unit::Megabytes) => "resident memory",
        Some(Unit::Kilobytes | Unit::Bytes) => "memory",
        None => unit,
    };
    let mut runs: Vec<_> =
        abouts.iter().map(|about| format!("{}, {}", about.machine, about.date)).collect();
    runs.dedup();
    Chart {
        title: figure.map_or(name, |figure| figure.title).to_owned(),
        subtitle: runs.join("; "),
        x: figure.map_or("", |figure| figure.x).to_owned(),
        y: what.to_owned(),
        unit: Unit::of(unit),
        lines,
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
