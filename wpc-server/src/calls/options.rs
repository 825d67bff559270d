//! The options of calls, from the query and the headers of a request.

use crate::problem::Problem;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use serde::Deserialize;
use wpc_host::{CallOptions, ErrorCode, FunctionHash, TraceContext};

/// The query of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The time limit, such as `500ms`.
    timeout: Option<String>,
    fuel: Option<u64>,
    affinity: Option<String>,
}

/// Reads the options that apply to any function. A client can lower the limits of a function, and not raise them.
pub(crate) fn read(uri: &Uri, headers: &HeaderMap) -> Result<CallOptions, Problem> {
    let mut options = CallOptions::new().within_limits();
    if uri.query().is_some() {
        let Query(parameters) = Query::<Parameters>::try_from_uri(uri)?;
        if let Some(text) = &parameters.timeout {
            let timeout = humantime::parse_duration(text).map_err(|error| {
                Problem::bad_request(format!(
                    "`timeout`: expected a duration such as `500ms`, found {text:?}: {error}"
                ))
            })?;
            options = options.timeout(timeout);
        }
        if let Some(fuel) = parameters.fuel {
            options = options.fuel(fuel);
        }
        if let Some(key) = &parameters.affinity {
            options = options.affinity(key);
        }
    }
    if let Some(context) = trace_context(headers) {
        options = options.trace_context(context);
    }
    if let Some(id) = text(headers, &HeaderName::from_static("x-request-id"))? {
        options = options.correlation_id(id);
    }
    Ok(options)
}

/// The trace context of the client. As the specification requires, an invalid one is ignored.
fn trace_context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all("traceparent").iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let context: TraceContext = parent.to_str().ok()?.parse().ok()?;
    let states = headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok());
    let states = states.collect::<Vec<_>>().join(",");
    if states.is_empty() {
        return Some(context);
    }
    Some(context.clone().with_state(&states).unwrap_or(context))
}

/// The module that `If-Match` requires. `current` is the module of the function, which is defined.
pub(super) fn pin(
    headers: &HeaderMap,
    current: FunctionHash,
) -> Result<Option<FunctionHash>, Problem> {
    let mut wanted = None;
    let mut is_present = false;
    for value in headers.get_all(header::IF_MATCH) {
        is_present = true;
        let text = value.to_str().map_err(|_| malformed())?;
        if text.trim() == "*" {
            return Ok(None);
        }
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let weak = tag.strip_prefix("W/");
            let hash = weak.unwrap_or(tag).strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let hash = hash.ok_or_else(malformed)?.parse::<FunctionHash>().ok();
            // The header uses strong comparison, so a weak tag never matches.
            let hash = hash.filter(|_| weak.is_none());
            if hash == Some(current) {
                return Ok(hash);
            }
            wanted = wanted.or(hash);
        }
    }
    if !is_present {
        return Ok(None);
    }
    // If none matches, the pool reports the first one as the required module.
    wanted.map(Some).ok_or_else(|| {
        let detail = format!(
            "`If-Match` has no strong tag with a SHA-1; the function's module has \"{current}\""
        );
        Problem::of_code_of_calls(ErrorCode::PinMismatch, detail)
    })
}

fn malformed() -> Problem {
    Problem::bad_request("`If-Match`: expected `*`, or SHA-1 hashes in quotation marks")
}

pub(super) fn text<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Problem::bad_request(format!("`{name}` is not ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12";
    const OTHER: &str = "de9f2c7fd25e1b3afad3e85a0bd17d9b100db4b3";

    fn pinned(values: &[String]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        let found = pin(&headers, CURRENT.parse().unwrap());
        found
            .map(|hash| hash.map(|hash| hash.to_string()))
            .map_err(|problem| problem.details().status)
    }

    #[test]
    fn if_match_pins_a_module() {
        let (current, other) = (|| Ok(Some(CURRENT.to_owned())), || Ok(Some(OTHER.to_owned())));
        for (values, expected) in [
            (vec![], Ok(None)),
            (vec!["*".to_owned()], Ok(None)),
            (vec![format!("\"{CURRENT}\"")], current()),
            (vec![format!("\"{OTHER}\"")], other()),
            (vec![format!("\"{OTHER}\", \"{CURRENT}\"")], current()),
            (vec![format!("\"{OTHER}\""), format!("\"{CURRENT}\"")], current()),
            (vec![format!("W/\"{CURRENT}\"")], Err(412)),
            (vec![format!("W/\"{CURRENT}\", \"{OTHER}\"")], other()),
            (vec!["\"v1\"".to_owned()], Err(412)),
            (vec![CURRENT.to_owned()], Err(400)),
            (vec!["\"".to_owned()], Err(400)),
            (vec![String::new()], Err(412)),
        ] {
            assert_eq!(pinned(&values), expected, "{values:?}");
        }
    }
}
