//! TOML values of a manifest, converted to JSON.

use serde_json::Value;

/// A constant's type and value: `"text"`, or `{ type = "u32", value = 3 }`.
pub(crate) fn constant(value: &toml::Value) -> (Option<&str>, Value) {
    if let Some(table) = value.as_table()
        && let (2, Some(ty), Some(value)) =
            (table.len(), table.get("type").and_then(toml::Value::as_str), table.get("value"))
    {
        return (Some(ty), json(value));
    }
    (None, json(value))
}

/// The secret that a constant refers to: `{ secret = "env:NAME" }`.
pub(crate) fn secret(value: &toml::Value) -> Option<&str> {
    let table = value.as_table().filter(|table| table.len() == 1)?;
    table.get("secret")?.as_str()
}

/// A value of the manifest as JSON.
#[must_use]
pub fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        // JSON has no literals for these; the host accepts them as strings.
        toml::Value::Float(number) if number.is_nan() => Value::from("NaN"),
        toml::Value::Float(number) if number.is_infinite() => {
            Value::from(if *number > 0.0 { "Infinity" } else { "-Infinity" })
        }
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(moment) => Value::from(moment.to_string()),
        toml::Value::Array(items) => items.iter().map(json).collect(),
        toml::Value::Table(entries) => {
            entries.iter().map(|(name, value)| (name.clone(), json(value))).collect()
        }
    }
}
