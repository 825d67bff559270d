//! The description of a function's calls.

use super::example;
use super::responses::add_problems;
use super::schema::{Schemas, identifier_character, short_hash};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use wpc_host::{DeclaredType, FunctionInformation, FunctionSignature};

/// The maximum length of a summary in bytes. The description has the whole documentation.
const MAX_SUMMARY: usize = 120;

/// The path of a function's calls. Names of exports may contain any character, such as `ns:pkg/iface#fn`.
pub(super) fn path(function: &str) -> String {
    let mut path = "/v1/functions/".to_owned();
    for byte in function.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(byte.into());
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path + "/call"
}

/// Describes the calls to functions, each with an id of its own.
#[derive(Debug, Default)]
pub(super) struct Operations {
    ids: BTreeSet<String>,
}

impl Operations {
    /// The path item of a function.
    pub(super) fn path_item(
        &mut self,
        function: &FunctionInformation,
        schemas: &mut Schemas,
    ) -> Value {
        let mut schemas = schemas.of_function();
        let signature = function.signature.as_ref();
        let mut operation = json!({
            "operationId": self.id(&function.name),
            "tags": ["functions"],
            "x-wpc-function": function.name,
            "x-wpc-function-hash-sha1": function.function_hash_sha1.to_string(),
            "parameters": parameters(),
        });
        let mut description = Vec::new();
        if let Some(text) = &function.documentation {
            operation["summary"] = summary(text).into();
            description.push(text.clone());
        }
        if let Some(signature) = signature {
            description.push(format!("Signature: `{signature}`"));
        }
        operation["description"] = description.join("\n\n").into();

        let arguments = signature.and_then(|signature| {
            let mut arguments = schemas.arguments(&signature.parameters)?;
            // Client generators build the name of the type from the operation's name and this title.
            arguments["title"] = "arguments".into();
            Some(arguments)
        });
        let is_required = signature.is_none_or(|signature| !signature.parameters.is_empty());
        operation["requestBody"] =
            json!({ "required": is_required, "content": request_content(signature, arguments) });

        let result = signature.and_then(|signature| signature.result.as_ref());
        let items = signature.and_then(|signature| signature.items.as_ref());
        let mut content = Map::new();
        if let Some(items) = items {
            // OpenAPI 3.1 has no keyword for the items of a stream.
            let items = items.ty.as_ref().map(|ty| schemas.of(ty.structure()));
            let result = result.map(|ty| schemas.of(ty.structure()));
            for kind in [EVENT_STREAM, JSON_LINES] {
                let stream = json!({
                    "schema": { "type": "string" },
                    "x-wpc-item-schema": items,
                    "x-wpc-result-schema": result,
                });
                content.insert(kind.to_owned(), stream);
            }
        } else if let Some(ty) = result {
            content.insert(JSON.to_owned(), json!({ "schema": schemas.of(ty.structure()) }));
            if ty.is_bytes() {
                content.insert(BYTES.to_owned(), binary());
            }
        } else {
            content.insert(POSTCARD.to_owned(), binary());
        }
        if let Some(error) = signature.and_then(|signature| signature.error.as_ref()) {
            operation["x-wpc-error-schema"] = schemas.of(error.structure());
        }
        let mut responses = json!({
            "200": {
                "description": "The result.",
                "headers": {
                    "ETag": { "$ref": "#/components/headers/function_hash" },
                    "wpc-call-id": { "$ref": "#/components/headers/call_id" },
                    "wpc-fuel-used": { "$ref": "#/components/headers/fuel_used" },
                },
                "content": content,
            },
        });
        add_problems(&mut responses);
        operation["responses"] = responses;
        json!({ "post": operation })
    }

    /// An id for a function: its name after `call_`. A name with characters other than letters, digits and underscores gets a suffix that
    /// depends only on the name.
    fn id(&mut self, name: &str) -> String {
        let mut id: String = name.chars().map(identifier_character).collect();
        if id != name {
            id = format!("{id}_{}", short_hash(name));
        }
        let mut id = format!("call_{id}");
        while !self.ids.insert(id.clone()) {
            id.push('_');
        }
        id
    }
}

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const POSTCARD: &str = "application/vnd.postcard";
const EVENT_STREAM: &str = "text/event-stream";
const JSON_LINES: &str = "application/jsonl";

fn parameters() -> Value {
    let names = ["timeout", "fuel", "affinity", "if_match"];
    names.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })).to_vec().into()
}

fn request_content(signature: Option<&FunctionSignature>, arguments: Option<Value>) -> Value {
    let Some(arguments) = arguments else { return json!({ POSTCARD: binary() }) };
    let parameters = signature.map_or(&[][..], |signature| &signature.parameters);
    let mut content = json!({ JSON: { "schema": arguments } });
    if let Some(example) = example::arguments(parameters) {
        content[JSON]["example"] = example;
    }
    if let [only] = parameters
        && only.ty.as_ref().is_some_and(DeclaredType::is_bytes)
    {
        content[BYTES] = binary();
    }
    content
}

fn binary() -> Value {
    json!({ "schema": { "type": "string", "format": "binary" } })
}

/// The first line of the documentation.
fn summary(documentation: &str) -> &str {
    let line = documentation.trim_start().lines().next().unwrap_or_default().trim_end();
    let end = line.find(". ").map_or(line.len(), |end| end + 1);
    &line[..line.floor_char_boundary(end.min(MAX_SUMMARY))]
}
