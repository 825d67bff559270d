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
    let status = std::fs::read_to_string("/proc/self/status")
        .context("resident memory is only told by Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("/proc/self/status has no VmRSS")?
        .trim()
        .parse()?;
    Ok(kilobytes * 1024.0)
}
