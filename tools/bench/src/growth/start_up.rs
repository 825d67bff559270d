//! The time from the creation of a pool to its first answer, each in a new process.

use super::series::{Expected, Series, What};
use super::xs;
use crate::child::Task;
use crate::figure::START_UP;
use crate::guests::Guests;
use crate::process;
use crate::sampling::{Sampled, in_turns};
use crate::unit::Unit;
use anyhow::Result;

const MODULES: [u32; 4] = [1, 2, 4, 8];
const CHILDREN: u64 = 7;
pub(super) const STEPS: u64 = CHILDREN + 1;

pub(super) fn measure(_: &Guests, tick: &mut dyn FnMut()) -> Result<Vec<Series>> {
    let folder = tempfile::tempdir()?;
    let start = |modules, is_cached: bool| -> Sampled<'_> {
        let cache = is_cached.then(|| folder.path().to_owned());
        Box::new(move || process::ask(&Task::StartUp { modules, cache: cache.clone() }))
    };
    // The warm-up round fills the cache.
    let cold = MODULES.map(|modules| start(modules, false));
    let warm = MODULES.map(|modules| start(modules, true));
    let mut measures: Vec<_> = cold.into_iter().chain(warm).collect();
    let mut samples = in_turns(CHILDREN, &mut measures, tick)?;
    let warm = samples.split_off(MODULES.len());
    let names = [("without a compile cache", samples), ("with a warm compile cache", warm)];
    let series = names.map(|(name, samples)| Series {
        what: What { figure: START_UP, name, unit: Unit::Nanoseconds, expected: Expected::Linear },
        points: xs(&MODULES.map(|modules| modules as usize)).into_iter().zip(samples).collect(),
    });
    Ok(series.into())
}
