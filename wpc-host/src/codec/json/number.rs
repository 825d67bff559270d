//! Conversions between floats and numbers of JSON, which lack `NaN` and the infinities.

use serde::ser::{Serialize, Serializer};
use serde_json::Value;

pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// The integer that a number such as `1.0` or `1e3` denotes, which JSON Schema counts as an integer. Beyond 53 bits a float may
/// stand for an integer other than the one that was written.
pub(super) fn integral(float: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and few bits")]
    let integer = float as i128;
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(integer)
}

/// The nearest `f32`; `None` for a finite number that is out of its range.
pub(super) fn single(float: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest is intended")]
    let single = float as f32;
    (single.is_finite() || !float.is_finite()).then_some(single)
}

/// The `f64` whose shortest decimal form is that of the `f32`: 0.1 for 0.1, and not 0.10000000149011612.
pub(super) fn shortest(single: f32) -> f64 {
    /// Integers below this have the same form in both.
    const EXACT: f32 = 16_777_216.0;
    if !single.is_finite() || (single.fract() == 0.0 && single.abs() < EXACT) {
        return single.into();
    }
    format!("{single:e}").parse().unwrap_or_else(|_| single.into())
}

/// A float, which is a string if JSON has no number for it.
pub(super) struct Float(pub(super) f64);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(float) = *self;
        if float.is_finite() {
            to.serialize_f64(float)
        } else if float.is_nan() {
            to.serialize_str("NaN")
        } else {
            to.serialize_str(if float.is_sign_negative() { "-Infinity" } else { "Infinity" })
        }
    }
}
