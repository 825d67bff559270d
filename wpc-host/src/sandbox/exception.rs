//! Exceptions that a guest threw and did not catch.

use super::state::State;
use wasmtime::{AsContextMut, Val};

/// How many values of an exception's payload are described at most. C++ exceptions have one.
const MAX_VALUES: usize = 8;

/// Removes the uncaught exception from the store and describes it.
#[cold]
pub(super) fn take(mut store: impl AsContextMut<Data = State>) -> String {
    let mut store = store.as_context_mut();
    let thrown = "an exception".to_owned();
    let Some(exception) = store.take_pending_exception() else { return thrown };
    let Ok(fields) = exception.fields(&mut store) else { return thrown };
    let count = fields.len();
    let mut values: Vec<_> = fields.take(MAX_VALUES).map(|value| describe(&value)).collect();
    if count > MAX_VALUES {
        values.push("...".to_owned());
    }
    format!("{thrown} with the payload ({})", values.join(", "))
}

fn describe(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(_) => "a vector".to_owned(),
        _ => "a reference".to_owned(),
    }
}
