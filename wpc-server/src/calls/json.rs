//! JSON of clients, read once: bounded in depth and without duplicate keys. An error names the position of the value.

use crate::problem::{Problem, ServerCode};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};

/// The maximum nesting of arrays and objects: half of what the parser itself accepts, and more than the types that modules
/// declare in practice.
const MAX_DEPTH: usize = 64;

/// Reads a whole body as one value.
pub(crate) fn read(body: &[u8]) -> Result<Value, Problem> {
    let mut path = Path::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Strict::new(&mut path).deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| path.problem(&error))
}

/// The position of an error. It is built after the error, from the inside to the outside.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug)]
enum Step {
    Index(usize),
    Key(String),
}

impl Path {
    pub(crate) fn within_index(&mut self, at: usize) {
        self.0.push(Step::Index(at));
    }

    pub(crate) fn within_key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    /// The problem of a body that is not acceptable JSON.
    pub(crate) fn problem(&self, error: &serde_json::Error) -> Problem {
        let detail = match self.0.as_slice() {
            [] => format!("the body is not JSON: {error}"),
            _ => format!("`{self}`: {error}"),
        };
        Problem::new(ServerCode::InvalidJson, detail)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The maximum number of characters of a key that are shown.
        const MOST: usize = 60;
        f.write_char('$')?;
        for step in self.0.iter().rev() {
            match step {
                Step::Index(at) => write!(f, "[{at}]")?,
                Step::Key(key) => {
                    let shown = &key[..key.floor_char_boundary(MOST)];
                    write!(f, "[{shown:?}]")?;
                }
            }
        }
        Ok(())
    }
}

/// Reads one value.
pub(crate) struct Strict<'a> {
    path: &'a mut Path,
    depth: usize,
}

impl<'a> Strict<'a> {
    pub(crate) fn new(path: &'a mut Path) -> Self {
        Self { path, depth: 0 }
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested more than {MAX_DEPTH} levels deep")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut values = Vec::new();
        loop {
            match items.next_element_seed(Strict { path: &mut *self.path, depth }) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => return Ok(Value::Array(values)),
                Err(error) => {
                    self.path.within_index(values.len());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut values = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            match values.entry(key) {
                Entry::Vacant(entry) => {
                    match entries.next_value_seed(Strict { path: &mut *self.path, depth }) {
                        Ok(value) => drop(entry.insert(value)),
                        Err(error) => {
                            self.path.within_key(entry.key());
                            return Err(error);
                        }
                    }
                }
                Entry::Occupied(entry) => {
                    self.path.within_key(entry.key());
                    return Err(A::Error::custom("the key occurs twice"));
                }
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_json_is_read_as_by_serde_json() {
        for text in [
            "null",
            "[]",
            "{}",
            " [1, -1, 1.5, 1e3, true, \"a\\u00e9\\n\", {\"a\": {\"b\": [null]}}] ",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn refused_json_is_reported_with_its_position() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for (text, parts) in [
            (r#"{"a": 1, "a": 2}"#, ["$[\"a\"]", "twice"]),
            (
                r#"[1, {"orders": [{}, {"count": 1e999}]}]"#,
                ["$[1][\"orders\"][1][\"count\"]", "out of range"],
            ),
            ("[1, 2", ["$[2]", "EOF"]),
            ("[1] 2", ["not JSON", "trailing"]),
            ("", ["not JSON", "EOF"]),
            (&*deep, ["$[0][0]", "64 levels"]),
        ] {
            let problem = read(text.as_bytes()).unwrap_err();
            let detail = &problem.details().detail;
            assert!(parts.iter().all(|part| detail.contains(part)), "{text}: {detail}");
        }
        assert!(read(&[b'[', b'"', 0xff, b'"', b']']).is_err());
        assert!(read("[".repeat(1_000_000).as_bytes()).is_err());
    }
}
