//! Submits calls for clients: checks their rights first, and suggests a name for a function that does not exist.

use crate::access::{CallPermit, Principal, Scope};
use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use crate::unserved::UnservedEntry;
use wpc_deploy::{Item, Kind};
use wpc_host::{
    Backend, CallArguments, CallOptions, Error, ErrorCode, ReplyFormat, StreamOptions,
    SubmittedCall, SubmittedStream,
};

/// Submits a call whose result has this format.
pub(crate) fn submit(
    application: &Application,
    principal: &Principal,
    function: &str,
    arguments: CallArguments,
    format: ReplyFormat,
    options: &CallOptions,
) -> Result<SubmittedCall, Problem> {
    let permit = admit(application, principal, function)?;
    let call = application.backend().submit(function, arguments, format, options);
    let call = call.map_err(|error| refused(application, principal, function, &error))?;
    Ok(permit.count(call))
}

/// Submits a call whose items are read.
pub(super) fn stream(
    application: &Application,
    principal: &Principal,
    function: &str,
    arguments: CallArguments,
    options: &StreamOptions,
) -> Result<SubmittedStream, Problem> {
    let permit = admit(application, principal, function)?;
    let stream = application.backend().stream(function, arguments, options);
    let stream = stream.map_err(|error| refused(application, principal, function, &error))?;
    Ok(permit.count_stream(stream))
}

fn admit(
    application: &Application,
    principal: &Principal,
    function: &str,
) -> Result<CallPermit, Problem> {
    principal.require_call(function)?;
    // Before the quota, which a refused call does not use.
    application.intake().admit().map_err(|problem| problem.with_function(function))?;
    principal.begin_call()
}

/// The problem of a request about a function: if it is not defined, that it is not served, or the nearest name.
#[cold]
pub(crate) fn refused(
    application: &Application,
    principal: &Principal,
    function: &str,
    error: &Error,
) -> Problem {
    let problem = Problem::of_call(error, function);
    if error.code() != ErrorCode::FunctionNotDefined {
        return problem;
    }
    if let Some(not_served) = not_served(application, principal, function) {
        return not_served;
    }
    match nearest(application.backend(), principal, function) {
        Some(name) => problem.with_hint(&format!("; did you mean \"{name}\"?")),
        None => problem,
    }
}

/// The problem of a function that is not defined because its entry is not served. The reason is about the deployment, so that clients need
/// a right to read it.
fn not_served(application: &Application, principal: &Principal, function: &str) -> Option<Problem> {
    let item = Item::new(Kind::Function, function).to_string();
    let mut entries = application.unserved_entries().into_iter();
    let UnservedEntry { reason, .. } = entries.find(|not_served| not_served.entry == item)?;
    let reason = if principal.has(Scope::Observe) {
        reason
    } else {
        "the server refused it; its operator can read the reason".to_owned()
    };
    let detail = format!("{item} is not served: {reason}");
    Some(Problem::new(ServerCode::FunctionNotServed, detail).with_function(function))
}

/// The name with the smallest edit distance among those that the client may call, if it may be a misspelling. Clients choose
/// how often this runs, so its work is bounded: long names are not compared, and the number of compared characters is
/// limited.
fn nearest(backend: &dyn Backend, principal: &Principal, wanted: &str) -> Option<String> {
    /// The longest compared name, in bytes.
    const MAX_LEN: usize = 64;
    /// How many names are visited. Each takes nanoseconds.
    const MAX_NAMES: usize = 20_000;
    /// How many pairs of characters are compared, which takes up to a millisecond.
    const MAX_PAIRS: usize = 250_000;
    if wanted.len() > MAX_LEN {
        return None;
    }
    let wanted = wanted.to_ascii_lowercase();
    // At most one plus a quarter of the length, but fewer than all characters.
    let furthest = (1 + wanted.len() / 4).min(wanted.len().saturating_sub(1));
    let (mut names, mut pairs) = (0, 0);
    let mut best: Option<(usize, String)> = None;
    backend.visit_names(&mut |name| {
        names += 1;
        if name.len() <= MAX_LEN
            && name.len().abs_diff(wanted.len()) <= furthest
            && principal.may_call(name)
        {
            pairs += name.len() * wanted.len();
            let distance = strsim::osa_distance(&wanted, &name.to_ascii_lowercase());
            let is_better =
                |(found, best): &(usize, String)| (distance, name) < (*found, best.as_str());
            if distance <= furthest && best.as_ref().is_none_or(is_better) {
                best = Some((distance, name.to_owned()));
            }
        }
        names < MAX_NAMES && pairs < MAX_PAIRS
    });
    best.map(|(_, name)| name)
}
