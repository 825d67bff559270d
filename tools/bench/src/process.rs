//! Child processes of this program, for measurements of a whole process.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use std::process::{Command, Stdio};

/// The subcommand of a child, before its task.
pub(crate) const CHILD: &str = "child";

/// Runs a task in a child and returns its answer, a number.
pub(crate) fn ask(task: &impl Serialize) -> Result<f64> {
    let task = serde_json::to_string(task)?;
    let output = Command::new(std::env::current_exe()?)
        .args([CHILD, &task])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start a child for {task}"))?;
    ensure!(output.status.success(), "the child for {task} failed");
    let answer = String::from_utf8(output.stdout)?;
    answer.trim().parse().with_context(|| format!("the child for {task} answered {answer:?}"))
}

/// The resident memory of this process, in bytes.
pub(crate) fn resident() -> Result<f64> {
    read_bytes("/proc/self/status", "VmRSS:")
}

/// The resident memory of another process, in bytes.
pub(crate) fn resident_of(id: u32) -> Result<f64> {
    read_bytes(&format!("/proc/{id}/status"), "VmRSS:")
}

/// The resident memory of this process, but a page that is mapped many times counts once. Sandboxes of a module share pages that they never write.
pub(crate) fn resident_once() -> Result<f64> {
    read_bytes("/proc/self/smaps_rollup", "Pss:")
}

/// A number of bytes from a file of `/proc`.
fn read_bytes(file: &str, name: &str) -> Result<f64> {
    let text =
        std::fs::read_to_string(file).context("resident memory is only available on Linux")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .with_context(|| format!("{file} has no {name}"))?
        .trim()
        .parse()?;
    Ok(kilobytes * 1024.0)
}
