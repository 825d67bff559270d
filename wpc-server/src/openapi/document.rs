//! An OpenAPI document: a fixed part, and a path for each function.

use super::operation::{Operations, path};
use super::responses::problem_components;
use super::schema::Schemas;
use axum::body::Bytes;
use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use wpc_host::{FunctionInformation, Sha256Hash};

/// The parts that do not depend on functions.
const BASE: &str = include_str!("base.json");

/// The maximum size of the descriptions of all functions in bytes. Ten thousand functions with usual types take 20 MiB.
const MAX_SIZE: usize = 32 << 20;

/// A document as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) json: Bytes,
    pub(super) etag: HeaderValue,
}

#[derive(Serialize, Deserialize)]
struct Content {
    openapi: String,
    info: Map<String, Value>,
    servers: Value,
    security: Value,
    tags: Value,
    paths: BTreeMap<String, Box<RawValue>>,
    components: Components,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Components {
    schemas: BTreeMap<String, Value>,
    #[serde(default)]
    responses: Map<String, Value>,
    headers: Value,
    parameters: Value,
    security_schemes: Value,
}

impl Document {
    /// Describes the functions. If they do not fit, the last ones are left out, and the document states their number.
    pub(super) fn of<'a>(
        functions: impl Iterator<Item = &'a FunctionInformation>,
    ) -> Result<Self, serde_json::Error> {
        let mut content: Content = serde_json::from_str(BASE)?;
        let (mut operations, mut schemas) = (Operations::default(), Schemas::default());
        for (name, schema) in std::mem::take(&mut content.components.schemas) {
            schemas.reserve(&name, schema);
        }
        let (mut size, mut left_out) = (0, 0_usize);
        // Clients would normalise such paths.
        for function in functions.filter(|function| !matches!(&*function.name, "." | "..")) {
            if size + schemas.size() > MAX_SIZE {
                left_out += 1;
                continue;
            }
            let item = to_raw_value(&operations.path_item(function, &mut schemas))?;
            let path = path(&function.name);
            size += path.len() + item.get().len();
            content.paths.insert(path, item);
        }
        content.info.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        if left_out > 0 {
            content.info.insert("x-wpc-functions-left-out".to_owned(), left_out.into());
        }
        content.components.schemas = schemas.into_components();
        content.components.responses = problem_components();
        let json = serde_json::to_vec(&content)?;
        let etag = format!("\"{}\"", Sha256Hash::of(&json));
        // A hash has only hexadecimal digits.
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""));
        Ok(Self { json: json.into(), etag })
    }
}
