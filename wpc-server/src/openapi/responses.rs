//! The responses that are problem documents.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use wpc_host::ErrorCode;

/// The statuses of the server's own problems, in addition to those of the codes of calls.
const OF_THE_SERVER: [u16; 7] = [400, 401, 403, 404, 406, 415, 429];

fn statuses() -> BTreeSet<u16> {
    ErrorCode::ALL.iter().map(|code| code.http_status()).chain(OF_THE_SERVER).collect()
}

/// The components to which [`add_problems`] refers.
pub(super) fn problem_components() -> Map<String, Value> {
    let described = |status: u16| {
        let codes = ErrorCode::ALL.iter().filter(|code| code.http_status() == status);
        let codes = codes.map(|code| format!("`{}`", code.as_str())).collect::<Vec<_>>();
        match codes.as_slice() {
            [] => "The server refused the request.".to_owned(),
            codes => format!(
                "A problem with one of these codes, or a problem of the server itself: {}.",
                codes.join(", ")
            ),
        }
    };
    let statuses = statuses().into_iter().map(|status| (name(status), described(status)));
    let other = ("problem".to_owned(), "Any other problem.".to_owned());
    statuses.chain([other]).map(|(name, description)| (name, problem(&description))).collect()
}

/// Adds a reference for each status to an operation's responses.
pub(super) fn add_problems(responses: &mut Value) {
    let reference = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    for status in statuses() {
        responses[status.to_string()] = reference(&name(status));
    }
    responses["default"] = reference("problem");
}

fn name(status: u16) -> String {
    format!("problem_{status}")
}

fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({
        "description": description,
        "content": { "application/problem+json": { "schema": schema } },
    })
}
