//! The constants of a manifest's text, which can be changed without changing the rest.

use crate::manifest::{self, Source};
use crate::problem::{MANIFEST, Problem};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

/// A constant as a manifest states it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConstantEntry {
    /// A value.
    #[non_exhaustive]
    Value {
        /// The value as JSON.
        value: Value,
        /// Its type, if the manifest states it.
        ty: Option<String>,
    },
    /// The source of a secret, such as `env:API_KEY`.
    Secret(String),
}

impl ConstantEntry {
    /// A value, with its type if that is to be stated.
    #[must_use]
    pub fn value(value: Value, ty: Option<String>) -> Self {
        Self::Value { value, ty }
    }

    /// The constants of a text that was parsed as a manifest, sorted by name.
    #[must_use]
    pub fn all(source: &Source) -> Vec<(String, Self)> {
        let Ok(mut table) = source.text().parse::<toml::Table>() else { return Vec::new() };
        let Some(toml::Value::Table(constants)) = table.remove(KEY) else { return Vec::new() };
        let mut all: Vec<_> =
            constants.into_iter().map(|(name, value)| (name, Self::of(&value))).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn of(value: &toml::Value) -> Self {
        if let Some(reference) = manifest::secret(value) {
            return Self::Secret(reference.to_owned());
        }
        let (ty, value) = manifest::constant(value);
        Self::Value { value, ty: ty.map(str::to_owned) }
    }

    /// The entry in TOML, or why it cannot be written.
    fn toml(&self) -> Result<toml::Value, String> {
        let table = |entries: Vec<(&str, toml::Value)>| {
            let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
            toml::Value::Table(entries.collect())
        };
        let (value, ty) = match self {
            Self::Secret(reference) => {
                return Ok(table(vec![("secret", reference.as_str().into())]));
            }
            Self::Value { value, ty } => (of_json(value)?, ty),
        };
        if let Some(ty) = ty {
            return Ok(table(vec![("type", ty.as_str().into()), ("value", value)]));
        }
        // Such an object would be read as something else.
        match Self::of(&value) {
            Self::Value { ty: None, .. } => Ok(value),
            _ => Err("an object with these keys needs a `type`".to_owned()),
        }
    }
}

/// The table of a manifest.
const KEY: &str = "constants";

/// The text of a manifest with this constant, or without it. Comments are kept where that is possible; otherwise the whole text
/// is rewritten.
///
/// # Errors
///
/// A problem if the value cannot be written in TOML.
///
/// ```
/// use wpc_deploy::{ConstantEntry, Source, with_constant};
///
/// let source = Source::new("wpc.toml".into(), "# Prices.\n[constants]\nRATE = 0.5 # VAT\n".to_owned());
/// let entry = ConstantEntry::value(serde_json::json!(0.19), None);
/// let text = with_constant(&source, "RATE", Some(&entry))?;
/// assert_eq!(text, "# Prices.\n[constants]\nRATE = 0.19 # VAT\n");
/// # Ok::<(), wpc_deploy::Problem>(())
/// ```
pub fn with_constant(
    source: &Source,
    name: &str,
    entry: Option<&ConstantEntry>,
) -> Result<String, Problem> {
    let problem = |message: &str| source.problem(0, MANIFEST, message);
    let table = source.text().parse::<toml::Table>();
    let mut table = table.map_err(|error| problem(error.message()))?;
    let value = entry.map(ConstantEntry::toml).transpose();
    let value = value.map_err(|reason| problem(&format!("the constant \"{name}\": {reason}")))?;
    let constants = table.entry(KEY).or_insert_with(|| toml::Table::new().into());
    let constants =
        constants.as_table_mut().ok_or_else(|| problem("`constants` is not a table"))?;
    match &value {
        Some(value) => drop(constants.insert(name.to_owned(), value.clone())),
        None => drop(constants.remove(name)),
    }
    let edited = value.and_then(|value| edited(source.text(), name, &value));
    // An edit is correct if it has the same content as the table.
    let edited =
        edited.filter(|text| text.parse::<toml::Table>().is_ok_and(|found| found == table));
    Ok(edited.unwrap_or_else(|| table.to_string()))
}

/// The text with the value in place of the present one, or as a new line. It may be wrong for unusual texts.
fn edited(text: &str, name: &str, value: &toml::Value) -> Option<String> {
    let value = value.to_string();
    let mut edited = text.to_owned();
    let table = DeTable::parse(text).ok()?;
    let Some(constants) = table.get_ref().get(KEY) else {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{end}\n[{KEY}]\n{name} = {value}\n"));
    };
    let DeValue::Table(constants) = constants.get_ref() else { return None };
    match constants.get(name) {
        Some(present) => edited.replace_range(present.span(), &value),
        None => {
            let header = format!("[{KEY}]\n");
            let at = text.find(&header)? + header.len();
            edited.insert_str(at, &format!("{name} = {value}\n"));
        }
    }
    Some(edited)
}

fn of_json(value: &Value) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Null => return Err("TOML cannot represent `null`".to_owned()),
        Value::Bool(truth) => (*truth).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(float)) if number.is_f64() => float.into(),
            _ => {
                return Err(format!(
                    "TOML cannot represent the number {number}; declare its `type` and write it as a string of digits"
                ));
            }
        },
        Value::Array(items) => {
            toml::Value::Array(items.iter().map(of_json).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((key.clone(), of_json(value)?)));
            toml::Value::Table(entries.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(text: &str) -> Source {
        Source::new("wpc.toml".into(), text.to_owned())
    }

    fn set(text: &str, name: &str, entry: &ConstantEntry) -> String {
        with_constant(&source(text), name, Some(entry)).unwrap()
    }

    #[test]
    fn a_constant_is_changed_and_the_rest_of_the_text_stays() {
        let text =
            "# One.\n[functions.f]\nfile = \"1\" # Two.\n\n[constants] \nA = [1,\n  2] # Three.\n";
        let entry = ConstantEntry::value(json!({ "b": [true, "x\"y"] }), None);
        let changed = set(text, "A", &entry);
        assert!(
            changed
                .starts_with("# One.\n[functions.f]\nfile = \"1\" # Two.\n\n[constants] \nA = {"),
            "{changed}"
        );
        assert!(changed.ends_with("} # Three.\n"), "{changed}");
        assert_eq!(ConstantEntry::all(&source(&changed)), [("A".to_owned(), entry)]);
    }

    #[test]
    fn a_constant_is_added_and_removed() {
        for text in [
            "",
            "[functions.f]\nfile = \"1\"",
            "[constants]\nB = 2\n",
            "constants = { B = 2 }\n",
            "[constants.B]\ntype = \"u8\"\nvalue = 2\n",
        ] {
            let before = ConstantEntry::all(&source(text));
            let entry = ConstantEntry::value(json!(7), Some("u32".to_owned()));
            let added = set(text, "A", &entry);
            let mut expected = vec![("A".to_owned(), entry)];
            expected.extend(before.iter().cloned());
            assert_eq!(ConstantEntry::all(&source(&added)), expected, "{added}");
            let removed = with_constant(&source(&added), "A", None).unwrap();
            assert_eq!(ConstantEntry::all(&source(&removed)), before, "{removed}");
        }
    }

    #[test]
    fn a_secret_is_a_reference() {
        let entry = ConstantEntry::Secret("env:KEY".to_owned());
        let text = set("[constants]\nKEY = { secret = \"env:OLD\" }\n", "KEY", &entry);
        assert_eq!(ConstantEntry::all(&source(&text)), [("KEY".to_owned(), entry)]);
    }

    #[test]
    fn what_toml_cannot_state_or_would_state_otherwise_is_refused() {
        for (value, part) in [
            (json!(null), "null"),
            (json!([{ "a": null }]), "null"),
            (json!(u64::MAX), "string of digits"),
            (json!({ "secret": "env:PATH" }), "`type`"),
            (json!({ "type": "u8", "value": 1 }), "`type`"),
        ] {
            let entry = ConstantEntry::value(value, None);
            let refused = with_constant(&source(""), "A", Some(&entry)).unwrap_err();
            assert!(refused.message.contains(part), "{refused}");
        }
        let entry = ConstantEntry::value(
            json!({ "secret": "env:PATH" }),
            Some("Map<String, String>".to_owned()),
        );
        assert_eq!(ConstantEntry::all(&source(&set("", "A", &entry)))[0].1, entry);
    }
}
