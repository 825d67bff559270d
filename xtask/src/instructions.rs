//! Counts the instructions of calls and compares them with the recorded numbers. With the same compiler and kind of
//! processor, the count of the same work is nearly constant, unlike times on shared machines.

use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// What is counted: the kind, two numbers of rounds, and the calls in a round. The difference between both runs is the
/// cost of the additional rounds, because start and end cancel out.
const KINDS: [(&str, [u64; 2], u64); 3] = [
    ("local-add", [1_000, 11_000], 1),
    ("local-echo", [1_000, 11_000], 1),
    ("submit", [2, 12], 1_000),
];

const RECORD: &str = "tools/counted/instructions.txt";

/// The accepted deviation from the recorded number. Deviations of +0.9, +0.4 and -1.7 % were *seen* without a change of
/// the code: the size of the environment moves the stack, which affects the count.
const TOLERANCE: f64 = 0.02;

const HEAD: &str = "\
# Instructions per call, guest and Wasmtime included. `cargo xtask instructions` compares with these numbers;
# `--record` updates them. `local-add` and `local-echo` are calls of `add` and `echo_bytes` (1 KiB) on the caller's
# thread; `submit` is a call on a worker, on both threads, with 1,000 outstanding.
";

/// Counts and records the numbers.
pub(crate) fn record(root: &Path, counted: &Path) -> Result<()> {
    let mut record = HEAD.to_owned();
    for (kind, count) in count_all(counted)? {
        writeln!(record, "{kind} {count:.0}")?;
    }
    print!("{record}");
    std::fs::write(root.join(RECORD), record).with_context(|| RECORD.to_owned())
}

/// Counts and compares with the recorded numbers.
pub(crate) fn check(root: &Path, counted: &Path) -> Result<()> {
    let record = std::fs::read_to_string(root.join(RECORD)).with_context(|| RECORD.to_owned())?;
    let mut departures = Vec::new();
    for (kind, count) in count_all(counted)? {
        let recorded = recorded(&record, kind)?;
        let change = count / recorded - 1.0;
        println!(
            "{kind:<12}{count:>8.0} instructions a call, recorded {recorded:.0} ({:+.1} %)",
            change * 100.0
        );
        if change.abs() > TOLERANCE {
            departures.push(kind);
        }
    }
    ensure!(
        departures.is_empty(),
        "{} deviates by more than {:.0} % from {RECORD}: find the cause, then run `cargo xtask instructions --record`",
        departures.join(", "),
        TOLERANCE * 100.0
    );
    Ok(())
}

fn recorded(record: &str, kind: &str) -> Result<f64> {
    let lines = record.lines().filter(|line| !line.starts_with('#'));
    let count = lines.filter_map(|line| line.split_once(' ')).find(|(of, _)| *of == kind);
    let (_, count) = count.with_context(|| format!("{kind} is missing in {RECORD}"))?;
    count.trim().parse().with_context(|| format!("{kind} in {RECORD} must be a number"))
}

fn count_all(counted: &Path) -> Result<Vec<(&'static str, f64)>> {
    KINDS
        .iter()
        .map(|(kind, [few, many], calls)| {
            let more = count(counted, kind, *many)?.checked_sub(count(counted, kind, *few)?);
            let more =
                more.with_context(|| format!("{kind}: more rounds took fewer instructions"))?;
            #[expect(clippy::cast_precision_loss, reason = "some millions")]
            Ok((*kind, more as f64 / ((many - few) * calls) as f64))
        })
        .collect()
}

/// The instructions of a whole run.
fn count(counted: &Path, kind: &str, rounds: u64) -> Result<u64> {
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(counted)
        .args([kind, &rounds.to_string()])
        .env("RUST_BACKTRACE", "0")
        .output()
        .context("failed to start valgrind; install its package")?;
    let output = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        bail!("{kind} failed under valgrind:\n{output}");
    }
    collected(&output).with_context(|| format!("valgrind reported no count:\n{output}"))
}

/// The number in `==1== Collected : 484320046`.
fn collected(output: &str) -> Option<u64> {
    let line = output.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_a_number_for_every_kind() {
        let record = include_str!("../../tools/counted/instructions.txt");
        for (kind, _, _) in KINDS {
            assert!(recorded(record, kind).unwrap() > 100.0, "{kind}");
        }
        assert!(record.starts_with(HEAD));
        assert!(recorded(record, "nothing").is_err());
    }

    #[test]
    fn the_count_is_parsed_from_the_output_of_valgrind() {
        let output = "==7== Events    : Ir\n==7== Collected : 484320046\n==7==\n==7== I   refs:  484,320,046\n";
        assert_eq!(collected(output), Some(484_320_046));
        assert_eq!(collected("==7== killed"), None);
    }
}
