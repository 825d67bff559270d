//! Writes JSON-RPC responses.

use crate::problem::Problem;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: &'a str,
    /// The problem document of the same error over HTTP.
    data: &'a Problem,
}

/// Appends the response to the request with this id: the JSON text of a result, or an error.
pub(super) fn write(out: &mut Vec<u8>, id: &RawValue, answer: &Result<Vec<u8>, Problem>) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    match answer {
        Ok(text) => {
            out.extend_from_slice(br#""result":"#);
            out.extend_from_slice(text);
        }
        Err(problem) => {
            let code = problem.json_rpc_code();
            let message = &problem.details().detail;
            out.extend_from_slice(br#""error":"#);
            append(out, &Error { code, message, data: problem });
        }
    }
    out.extend_from_slice(br#","id":"#);
    out.extend_from_slice(id.get().as_bytes());
    out.push(b'}');
}

/// The response to a message that cannot be read.
pub(super) fn of_message(problem: Problem) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, RawValue::NULL, &Err(problem));
    out
}

/// Writing JSON to memory does not fail.
fn append<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}
