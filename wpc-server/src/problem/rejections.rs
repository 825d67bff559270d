//! Parts of a request that do not have the expected form, in the terms of HTTP instead of those of the framework.

use super::Problem;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use std::error::Error;

impl From<QueryRejection> for Problem {
    fn from(rejected: QueryRejection) -> Self {
        Self::bad_request(format!("invalid query: {}", of_query(&reason(&rejected))))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejected: JsonRejection) -> Self {
        let reason = || reason(&rejected);
        Self::bad_request(match &rejected {
            JsonRejection::JsonSyntaxError(_) => format!("the body is not JSON: {}", reason()),
            JsonRejection::JsonDataError(_) => format!("invalid body: {}", reason()),
            JsonRejection::MissingJsonContentType(_) => {
                "expected the header `Content-Type: application/json`".to_owned()
            }
            _ => format!("the body cannot be read: {}", reason()),
        })
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejected: BytesRejection) -> Self {
        Self::bad_request(format!("the body cannot be read: {}", reason(&rejected)))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejected: PathRejection) -> Self {
        let why = match &rejected {
            PathRejection::FailedToDeserializePathParams(error) => of_path(error.kind()),
            rejected => reason(rejected),
        };
        Self::bad_request(format!("invalid path: {why}"))
    }
}

/// The text of the innermost error. The outer ones name steps of the framework.
fn reason(rejected: &(dyn Error + 'static)) -> String {
    let mut innermost = rejected;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn of_path(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ParseError { value, expected_type: "u64" } => {
            format!("expected a whole number, found {value:?}")
        }
        ErrorKind::InvalidUtf8InPathParam { key } => format!("`{key}` is not UTF-8"),
        kind => kind.to_string(),
    }
}

/// The reason why a query is refused, such as "limit: invalid digit found in string".
fn of_query(reason: &str) -> String {
    let (name, why) = match reason.split_once(": ") {
        Some((name, why)) => (Some(name), why),
        None => (None, reason),
    };
    // An unknown, missing or repeated one.
    if let Some((kind, which)) = why.split_once(" field ") {
        return format!("{kind} parameter {which}");
    }
    let why = match why {
        "provided string was not `true` or `false`" => "expected `true` or `false`",
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too large to fit in target type"
        | "number too small to fit in target type" => "expected a whole number",
        why => why,
    };
    name.map_or_else(|| why.to_owned(), |name| format!("`{name}`: {why}"))
}
