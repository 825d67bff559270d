//! The types of constants whose values are written as JSON or TOML.
//!
//! The type is stated explicitly, declared by a module, or inferred from the value, in this order. It is inferred for
//! strings, booleans, fractions, and arrays and maps of them. It is not inferred for integers,
//! because the encoding of one integer type may decode to a different number as another type.

use serde_json::Value;
use std::collections::BTreeMap;
use wpc_host::{DeclaredType, Error, WasmModule};

/// The types that modules declare for constants. If they differ, the first one applies, and the other module is
/// rejected when it is defined.
#[derive(Debug, Default)]
pub struct ConstantTypes(BTreeMap<String, DeclaredType>);

impl ConstantTypes {
    /// Adds a module's declarations. Errors of the module are reported when it is defined.
    pub fn add(&mut self, module: &WasmModule) {
        for (name, ty) in module.constant_types().unwrap_or_default() {
            self.0.entry(name).or_insert(ty);
        }
    }

    /// The declared type of a constant.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&DeclaredType> {
        self.0.get(name)
    }
}

/// The type of a constant: the stated one, otherwise the one that a module declares, otherwise the
/// one inferred from its value.
///
/// # Errors
///
/// [`Error::ConstantEncode`] if the stated type cannot be read, or if no type is known and none can
/// be inferred from the value.
///
/// ```
/// let fraction = serde_json::json!(0.5);
/// assert_eq!(wpc_deploy::type_of("RATE", None, None, &fraction)?.to_string(), "f64");
/// // The types of integers differ in their encodings.
/// assert!(wpc_deploy::type_of("LIMIT", None, None, &serde_json::json!(3)).is_err());
/// assert!(wpc_deploy::type_of("LIMIT", Some("u32"), None, &serde_json::json!(3)).is_ok());
/// # Ok::<(), wpc_host::Error>(())
/// ```
pub fn type_of(
    name: &str,
    stated: Option<&str>,
    declared: Option<&DeclaredType>,
    value: &Value,
) -> Result<DeclaredType, Error> {
    let refused = |reason: String| Error::constant_encode(name, reason);
    let ty = match (stated, declared) {
        (Some(ty), _) => ty.to_owned(),
        (None, Some(declared)) => return Ok(declared.clone()),
        (None, None) => inferred_type(value).ok_or_else(|| {
            refused(format!(
                "the type is not declared by a module and cannot be inferred from the value; state it, for example {name}:u32={value} with `--const`, {name} = {{ type = \"u32\", value = {value} }} in a manifest, or `--type u32` with `wpc constant set`"
            ))
        })?,
    };
    ty.parse().map_err(|error| refused(format!("{ty:?} is not a type: {error}")))
}

fn inferred_type(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => "bool".to_owned(),
        Value::String(_) => "String".to_owned(),
        Value::Number(number) if number.is_f64() => "f64".to_owned(),
        Value::Number(_) => return None,
        Value::Array(items) => format!("Vec<{}>", common_type(items.iter())?),
        Value::Object(entries) => format!("Map<String, {}>", common_type(entries.values())?),
    })
}

fn common_type<'a>(mut values: impl Iterator<Item = &'a Value>) -> Option<String> {
    let first = inferred_type(values.next()?)?;
    values.all(|value| inferred_type(value).as_ref() == Some(&first)).then_some(first)
}
