//! The file format of `growth`: a line of JSON about the run, and then one for each point.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A point of a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) figure: String,
    pub(crate) series: String,
    pub(crate) x: f64,
    /// The median of the samples.
    pub(crate) y: f64,
    /// The value that 99 of 100 samples are at least as good as. `growth` has it for durations only, the program of the
    /// peers also for rates and memory. A sample is a single call if each was timed, otherwise the mean of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
    pub(crate) unit: String,
    #[serde(default)]
    pub(crate) samples: usize,
}

/// The `figure` of the line about the run.
const ABOUT: &str = "about";

/// The date, machine and versions of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    figure: String,
    pub(crate) date: String,
    pub(crate) machine: String,
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, String>,
}

/// The lock file of this build, because Wasmtime does not export its version.
const LOCK: &str = include_str!("../../../Cargo.lock");

impl About {
    /// The current run.
    pub(crate) fn now() -> Self {
        let date = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let versions = [("wpc", env!("CARGO_PKG_VERSION")), ("wasmtime", locked("wasmtime"))];
        Self {
            figure: ABOUT.to_owned(),
            // The date without the time.
            date: date.chars().take(10).collect(),
            machine: machine(),
            versions: versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into(),
        }
    }
}

fn locked(package: &str) -> &'static str {
    let mut lines = LOCK.lines().skip_while(|line| *line != format!("name = \"{package}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version.map_or("unknown", |version| version.trim_end_matches('"'))
}

fn machine() -> String {
    let unknown = || "unknown".to_owned();
    let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |n| n.to_string());
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or_else(unknown, |(_, model)| model.trim().to_owned());
    let kernel =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    let system = if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS };
    format!("{cores} cores, {model}, {system} {}", kernel.trim())
}

/// Reads the points of a file and its line about the run.
pub(crate) fn read(path: &Path) -> Result<(Option<About>, Vec<Point>)> {
    let file = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(file)?;
    let (mut about, mut points) = (None, Vec::new());
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let location = || format!("{}:{}", file(), at + 1);
        let value: serde_json::Value = serde_json::from_str(line).with_context(location)?;
        if value["figure"] == ABOUT {
            about = Some(serde_json::from_value(value).with_context(location)?);
        } else {
            points.push(serde_json::from_value(value).with_context(location)?);
        }
    }
    Ok((about, points))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_round_trip() {
        let file = std::env::temp_dir().join(format!("wpc-bench-{}.jsonl", std::process::id()));
        let about = About::now();
        let point = r#"{"figure":"f","series":"s","x":100,"y":231.0,"unit":"ns"}"#;
        let lines = format!("{}\n{point}\n", serde_json::to_string(&about).unwrap());
        std::fs::write(&file, lines).unwrap();
        let (read_about, points) = read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read_about, Some(about));
        assert_eq!((points[0].x, points[0].p99), (100.0, None));
    }

    #[test]
    fn the_version_of_wasmtime_is_known() {
        assert!(locked("wasmtime").starts_with(|digit: char| digit.is_ascii_digit()));
    }
}
