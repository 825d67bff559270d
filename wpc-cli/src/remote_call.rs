//! `wpc call --server`: calls a function of a server.

use crate::client::{Client, RemoteProblem};
use crate::failure::Failure;
use crate::target::{MAX_JSON, Target};
use crate::{terminal, text};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};

/// Calls the function, and prints its result as a local call does.
pub(crate) fn run(client: &Client, target: &Target, as_json: bool) -> Result<(), Failure> {
    let mut response = send(client, target, "application/json")?;
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(|text| text.trim_matches('"').to_owned())
    };
    let hash = header("etag");
    let fuel = header("wpc-fuel-used").and_then(|fuel| fuel.parse::<u64>().ok());
    let body = response.body_mut().with_config().limit(MAX_JSON as u64).read_to_vec();
    let body = body.map_err(|error| client.unreachable(&error))?;
    let value = parse(client, &body)?;
    let line = if as_json {
        json!({ "value": value, "function_hash_sha1": hash, "fuel_used": fuel }).to_string()
    } else {
        text::escape_json(&value.to_string())
    };
    terminal::print((line + "\n").as_bytes())?;
    if !as_json {
        report("fuel used", fuel.map(Value::from));
    }
    Ok(())
}

/// Calls the function, and prints each item as soon as it arrives.
pub(crate) fn stream(client: &Client, target: &Target, as_json: bool) -> Result<(), Failure> {
    let response = send(client, target, "application/jsonl")?;
    let mut lines = BufReader::new(response.into_body().into_reader());
    loop {
        let mut line = Vec::new();
        let limit = MAX_JSON as u64 + 1;
        let read = lines.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| client.unreachable(&error))?;
        if line.is_empty() {
            return Err(client.unreachable(&"the stream ended before the result"));
        }
        let mut part = parse(client, &line)?;
        if let Some(item) = part.get("item") {
            let line =
                if as_json { part.to_string() } else { text::escape_json(&item.to_string()) };
            // If the reader is gone, the end of the connection cancels the call.
            terminal::print((line + "\n").as_bytes())?;
        } else if let Some(problem) = part.get_mut("error") {
            let problem = RemoteProblem::new(problem.take());
            return Err(problem.map_or_else(|| unexpected(client), Failure::remote));
        } else if part.get("value").is_some() {
            if as_json {
                return terminal::print((part.to_string() + "\n").as_bytes());
            }
            report("result", part.get("value").cloned());
            report("fuel used", part.get("fuel_used").cloned());
            return Ok(());
        } else {
            return Err(unexpected(client));
        }
    }
}

fn send(
    client: &Client,
    target: &Target,
    accept: &str,
) -> Result<ureq::http::Response<ureq::Body>, Failure> {
    let function = target.remote_function()?;
    let query = target.remote_query();
    let body = Value::Array(target.untyped_values()?).to_string();
    let request = client
        .request("POST", &format!("/v1/functions/{function}/call{query}"))
        .header("content-type", "application/json")
        .header("accept", accept);
    client.send(request, body)
}

fn parse(client: &Client, text: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(text).map_err(|_| unexpected(client))
}

fn unexpected(client: &Client) -> Failure {
    client.unreachable(&"the response does not have the form that `wpc serve` sends")
}

/// Writes a line to standard error, whose reader may be gone.
pub(crate) fn report(name: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|value| !value.is_null()) {
        let value = text::escape_json(&value.to_string());
        terminal::note(&format!("{name}: {value}"));
    }
}
