//! `cargo xtask bench plot`: results as line charts. Figures with a single `x` are skipped.

mod axis;
mod chart;

use crate::figure;
use crate::point::{Point, read};
use crate::unit::Unit;
use anyhow::{Context as _, Result};
use chart::{Chart, Line};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The content of a chart and the runs that it is from.
#[derive(Default)]
struct Shown {
    lines: Vec<Line>,
    runs: Vec<String>,
}

impl Shown {
    /// Whether there is more than one `x`.
    fn has_lines(&self) -> bool {
        let mut xs = self.lines.iter().flat_map(|line| &line.points).map(|(x, ..)| *x);
        xs.next().is_some_and(|first| xs.any(|other| other != first))
    }
}

/// Draws a chart into the folder for each figure and unit of the files. Returns a line for each: its path, or why it
/// was skipped.
pub(crate) fn draw(files: &[PathBuf], folder: &Path) -> Result<Vec<String>> {
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
    let mut lines = Vec::new();
    for (name, units) in pictures {
        let is_only = units.len() == 1;
        for (unit, shown) in units {
            if !shown.has_lines() {
                lines.push(format!("{name}, {unit}: skipped, it has a single point on its axis"));
                continue;
            }
            let suffix = if is_only { String::new() } else { format!("-{}", slug(&unit)) };
            let path = folder.join(format!("{name}{suffix}.svg"));
            chart(&name, &unit, shown).draw(&path)?;
            lines.push(path.display().to_string());
        }
    }
    Ok(lines)
}

/// Adds a point to the line of its series. It replaces an earlier point with the same `x`.
fn add(lines: &mut Vec<Line>, point: &Point) {
    let at = lines.iter().position(|line| line.name == point.series).unwrap_or_else(|| {
        lines.push(Line { name: point.series.clone(), points: Vec::new() });
        lines.len() - 1
    });
    let points = &mut lines[at].points;
    points.retain(|(x, _, _)| *x != point.x);
    // The p99 of a rate is below the median. Charts only show tails above it.
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

/// The unit as a part of a file name.
fn slug(unit: &str) -> String {
    match Unit::of(unit) {
        Some(Unit::Nanoseconds) => "time".to_owned(),
        Some(Unit::CallsPerSecond) => "throughput".to_owned(),
        Some(_) => "memory".to_owned(),
        None => unit.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_with_a_single_point_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("points.jsonl");
        let point = |figure: &str, x: f64| {
            format!(
                r#"{{"figure":"{figure}","series":"s","x":{x},"y":2.0,"p99":1.0,"unit":"calls/s"}}"#
            )
        };
        let points = [point("fresh", 0.0), point("f", 1.0), point("f", 2.0)];
        std::fs::write(&file, points.join("\n")).unwrap();
        let lines = draw(&[file], folder.path()).unwrap();
        let path = folder.path().join("f.svg");
        assert!(path.exists());
        assert!(!folder.path().join("fresh.svg").exists());
        let passed_over = "fresh, calls/s: skipped, it has a single point on its axis";
        assert_eq!(lines, [path.display().to_string(), passed_over.to_owned()]);
    }
}
