//! Child processes of this very program: what is measured of a process has one to itself.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use std::process::{Command, Stdio};

/// The subcommand that a child is started with, before its task.
pub(crate) const CHILD: &str = "child";

/// Has a child do a task, and gives its answer: a number.
pub(crate) fn ask(task: &impl Serialize) -> Result<f64> {
    let task = serde_json::to_string(task)?;
    let output = Command::new(std::env::current_exe()?)
        .args([CHILD, &task])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("a child for {task} could not be started"))?;
    ensure!(output.status.success(), "the child for {task} failed");
    let answer = String::from_utf8(output.stdout)?;
    answer.trim().parse().with_context(|| format!("the child for {task} answered {answer:?}"))
}

/// How much of this process's memory is resident, in bytes.
pub(crate) fn resident() -> Result<f64> {
    told("/proc/self/status", "VmRSS:")
}

/// The same where a page that is mapped many times counts once: sandboxes of a module share what they never write.
pub(crate) fn resident_once() -> Result<f64> {
    told("/proc/self/smaps_rollup", "Pss:")
}

/// A number of bytes that the system tells.
fn told(file: &str, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(file).context("resident memory is only told by Linux")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .with_context(|| format!("{file} has no {name}"))?
        .trim()
        .parse()?;
    Ok(kilobytes * 1024.0)
}
