//! The options of a call, from its query and headers.

use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, header};
use serde::Deserialize;
use wpc_host::{CallOptions, FunctionHash, TraceContext};

/// The query of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// The time limit, such as `500ms`.
    timeout: Option<String>,
    fuel: Option<u64>,
    affinity: Option<String>,
}

pub(super) fn read(headers: &HeaderMap, parameters: &Parameters) -> Result<CallOptions, Problem> {
    let mut options = CallOptions::new();
    if let Some(text) = &parameters.timeout {
        let timeout = humantime::parse_duration(text)
            .map_err(|error| Problem::bad_request(format!("`timeout`: {error}")))?;
        options = options.timeout(timeout);
    }
    if let Some(fuel) = parameters.fuel {
        options = options.fuel(fuel);
    }
    if let Some(key) = &parameters.affinity {
        options = options.affinity(key);
    }
    if let Some(tag) = text(headers, &header::IF_MATCH)?
        && tag != "*"
    {
        let hash = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let hash = hash.and_then(|hash| hash.parse::<FunctionHash>().ok());
        options = options.pin(hash.ok_or_else(|| {
            Problem::bad_request("`If-Match`: expected the SHA-1 of a module in quotation marks")
        })?);
    }
    if let Some(context) = trace_context(headers)? {
        options = options.trace_context(context);
    }
    if let Some(id) = text(headers, &HeaderName::from_static("x-request-id"))? {
        options = options.correlation_id(id);
    }
    Ok(options)
}

/// The trace of the client. As the specification demands, an invalid one is ignored.
fn trace_context(headers: &HeaderMap) -> Result<Option<TraceContext>, Problem> {
    let parent = text(headers, &HeaderName::from_static("traceparent"))?;
    let context = parent.and_then(|parent| parent.parse::<TraceContext>().ok());
    let state = text(headers, &HeaderName::from_static("tracestate"))?;
    Ok(context.map(|context| match state {
        Some(state) => context.clone().with_state(state).unwrap_or(context),
        None => context,
    }))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Problem::bad_request(format!("`{name}` is not ASCII")))
}
