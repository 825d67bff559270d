//! Checks and encodes a call, and accepts it or refuses it with the reason.

use crate::call::Call;
use crate::call::pending::PendingCall;
use crate::codec::payload::{Payload as _, Unencoded, check_size};
use crate::codec::type_check::Check;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::id::{CallId, Generation};
use crate::module::signature;
use crate::options::{CallOptions, MAX_DURATION};
use crate::registry::{Definition, Function};
use crate::supervisor::workers::Pool;
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::worker::job::Job;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Accepts a call of `function`, which was looked up under `name`, or returns the reason for refusing it.
pub(crate) fn submit<R: DeserializeOwned>(
    pool: &Pool,
    function: Option<Arc<Function>>,
    name: &str,
    arguments: &impl Serialize,
    options: &CallOptions,
) -> Result<PendingCall<R>, Error> {
    let encode = |_: &Function, limits: &Limits| encode(pool, name, arguments, limits);
    submit_with(pool, function, name, encode, options).map(|(call, _)| PendingCall::new(call))
}

/// Like [`submit`], for a call by name: its types are compared with those that the function declares, until they are
/// proven.
pub(crate) fn submit_by_name<A: Serialize, R: DeserializeOwned>(
    pool: &Pool,
    function: Option<Arc<Function>>,
    name: &str,
    arguments: &A,
    options: &CallOptions,
) -> Result<PendingCall<R>, Error> {
    if function.as_ref().is_none_or(|function| function.types.covers::<A, R>(arguments)) {
        submit(pool, function, name, arguments, options)
    } else {
        submit_compared(pool, function, name, arguments, options)
    }
}

#[cold]
fn submit_compared<A: Serialize, R: DeserializeOwned>(
    pool: &Pool,
    function: Option<Arc<Function>>,
    name: &str,
    arguments: &A,
    options: &CallOptions,
) -> Result<PendingCall<R>, Error> {
    let mut unproven = None;
    let encode = |function: &Function, limits: &Limits| {
        let check = compare::<A, R>(function, name)?;
        unproven = check.unproven_result();
        check.arguments(arguments, |arguments| encode(pool, name, arguments, limits))
    };
    let (call, _) = submit_with(pool, function, name, encode, options)?;
    Ok(PendingCall::new(call).compared(unproven))
}

/// Compares a call's types with those that the function declares.
pub(crate) fn compare<'a, A, R: DeserializeOwned>(
    function: &'a Function,
    name: &'a str,
) -> Result<Check<'a>, Error> {
    function.types.begin::<A, R>(name, signature::known(function.export()).as_deref())
}

fn encode(
    pool: &Pool,
    name: &str,
    arguments: &impl Serialize,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let mut buffer = Vec::new();
    let encoded = Unencoded::new(arguments, &mut buffer, limits.arguments)
        .in_buffers(&pool.buffers)
        .bytes()
        .map(drop);
    encoded.map(|()| buffer).map_err(|refused| refused.error(name))
}

/// Like [`submit`], for arguments that `encode` produces for the function that was found.
pub(crate) fn submit_encoded(
    pool: &Pool,
    function: Option<Arc<Function>>,
    name: &str,
    encode: impl FnOnce(&Function) -> Result<Vec<u8>, Error>,
    options: &CallOptions,
) -> Result<(Arc<Call>, Arc<Function>), Error> {
    let encode = |function: &Function, limits: &Limits| {
        let arguments = encode(function)?;
        check_size(arguments.len(), limits.arguments).map_err(|refused| refused.error(name))?;
        Ok(arguments)
    };
    submit_with(pool, function, name, encode, options)
}

fn submit_with(
    pool: &Pool,
    function: Option<Arc<Function>>,
    name: &str,
    encode: impl FnOnce(&Function, &Limits) -> Result<Vec<u8>, Error>,
    options: &CallOptions,
) -> Result<(Arc<Call>, Arc<Function>), Error> {
    if !pool.is_open.load(Ordering::Acquire) {
        return Err(Error::NotRunning);
    }
    let function =
        function.ok_or_else(|| Error::FunctionNotDefined { function: name.to_owned() })?;
    let (definition, time_limit) = prepare(pool, &function, options)?;
    let arguments = encode(&function, &definition.limits)?;
    let mut call = new_call(pool, &function, definition.generation, time_limit);
    call.context.clone_from(&options.context);
    let mut job = Job::new(Arc::new(call), Arc::clone(&function), arguments);
    job.fuel = options.fuel;
    job.affinity = options.affinity;
    job.wait_for_room = options.wait_for_room;
    let call = Arc::clone(&job.call);
    pool.accept(job)?;
    Ok((call, function))
}

/// Returns the definition that a call runs and its time limit, if the call can be served.
#[inline]
pub(crate) fn prepare<'a>(
    pool: &Pool,
    function: &'a Function,
    options: &CallOptions,
) -> Result<(&'a Arc<Definition>, Duration), Error> {
    let definition = check(pool, function, options)?;
    let limit = options.timeout.or(definition.limits.timeout);
    Ok((definition, limit.unwrap_or(pool.options.call_timeout)))
}

fn new_call(
    pool: &Pool,
    function: &Function,
    generation: Generation,
    time_limit: Duration,
) -> Call {
    let id = CallId(pool.call_ids.next());
    Call::new(id, Arc::clone(&function.name), generation, time::now(), time_limit)
}

/// Makes every worker create a sandbox of `function`. Each returned call is answered when the sandbox of its worker is
/// ready.
pub(crate) fn warm(pool: &Pool, function: &Arc<Function>) -> Result<Vec<PendingCall<()>>, Error> {
    if !pool.is_open.load(Ordering::Acquire) {
        return Err(Error::NotRunning);
    }
    let definition = check(pool, function, &CallOptions::new())?;
    let time_limit = definition.limits.timeout.unwrap_or(pool.options.call_timeout);
    let workers = pool.workers.load_full();
    let calls: Vec<_> = workers
        .iter()
        .filter_map(|worker| {
            let call = new_call(pool, function, definition.generation, time_limit);
            let mut job = Job::new(Arc::new(call), Arc::clone(function), Vec::new());
            // This worker's sandbox is needed, so no other worker may take the job.
            job.affinity = Some(worker.id.0);
            job.is_warm_up = true;
            let call = Arc::clone(&job.call);
            // A worker that has closed in the meantime is skipped.
            (worker.reserve(usize::MAX) && worker.push(job).is_ok()).then(|| PendingCall::new(call))
        })
        .collect();
    if calls.is_empty() {
        return Err(Error::NoReadyWorkers { function: function.name.to_string() });
    }
    Ok(calls)
}

/// Refuses a call that cannot be served, before it is encoded or queued.
#[inline]
fn check<'a>(
    pool: &Pool,
    function: &'a Function,
    options: &CallOptions,
) -> Result<&'a Arc<Definition>, Error> {
    let name = || function.name.to_string();
    if let Some(expected) = options.pin.filter(|pin| *pin != function.module.hash) {
        let found = function.module.hash;
        return Err(Error::PinMismatch { function: name(), expected, found });
    }
    let definition = function.definition.as_ref().map_err(|alias| Error::DependencyNotDefined {
        function: name(),
        alias: alias.to_string(),
    })?;
    if !definition.host_functions.is_empty()
        && let Some(missing) = pool.registry.missing_host_function(definition)
    {
        let host_function = missing.to_owned();
        return Err(Error::HostFunctionNotDefined { function: name(), host_function });
    }
    let invalid = |problem: &str| {
        Err(Error::InvalidCallOptions { function: name(), problem: problem.to_owned() })
    };
    if options.timeout.is_some_and(|limit| limit.is_zero() || limit > MAX_DURATION) {
        return invalid("`CallOptions::timeout` must be longer than zero and at most one year");
    }
    if options.fuel.is_some() && definition.limits.fuel.is_none() {
        return invalid(
            "`CallOptions::fuel` needs a metered definition; set `Limits::fuel` when you define the function",
        );
    }
    if let Some(problem) = options.context.as_ref().and_then(|context| context.problem()) {
        return invalid(problem);
    }
    Ok(definition)
}
