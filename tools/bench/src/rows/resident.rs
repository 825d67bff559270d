//! Resident memory, measured in child processes.

use super::CHILDREN;
use crate::child::Task;
use crate::guests::Guests;
use crate::process;
use crate::row::{Goal, Row};
use crate::sampling::Samples;
use crate::unit::Unit;
use anyhow::Result;

/// A row whose samples are measured in one child process each.
fn of_children(
    (name, unit, most): (&'static str, Unit, f64),
    ours: &Task,
    baseline: Option<&Task>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (mut of_ours, mut of_baseline) = (Vec::new(), Vec::new());
    for _ in 0..CHILDREN {
        of_ours.push(process::ask(ours)?);
        if let Some(baseline) = baseline {
            of_baseline.push(process::ask(baseline)?);
        }
        tick();
    }
    Ok(Row {
        name,
        unit,
        ours: Samples::of(of_ours),
        baseline: baseline.map(|_| Samples::of(of_baseline)),
        goal: Goal::Absolute(most),
    })
}

pub(super) fn resident(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident memory, 4 workers, one function used", Unit::Megabytes, 25.0);
    of_children(what, &Task::Workers { workers: 4 }, Some(&Task::Nothing), tick)
}

pub(super) fn resident_by_sandbox(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident memory for each live sandbox of the SDK's guest", Unit::Kilobytes, 16.0);
    of_children(what, &Task::Sandbox, None, tick)
}

pub(super) fn resident_by_suspended_call(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident memory for each of 10,000 suspended calls", Unit::Kilobytes, 24.0);
    of_children(what, &Task::Suspended, None, tick)
}

pub(super) fn suspended_calls(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("10,000 calls suspended at once and answered", Unit::Nanoseconds, 1e9);
    of_children(what, &Task::SuspendAndAnswer, None, tick)
}

/// A function takes no memory on a worker until it is called there, so this is the maximum for each function and
/// worker.
pub(super) fn resident_by_function(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident memory for each idle function of 10,000", Unit::Bytes, 2048.0);
    of_children(what, &Task::IdleFunction, None, tick)
}
