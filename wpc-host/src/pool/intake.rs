//! Checks and encodes a call, and accepts it or refuses it with the reason.

use crate::call::Call;
use crate::call::items::Items;
use crate::call::pending::PendingCall;
use crate::codec::payload::{Payload as _, Unencoded, check_size};
use crate::codec::type_check::Check;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::id::CallId;
use crate::module::signature;
use crate::options::{CallOptions, MAX_DURATION};
use crate::registry::{Definition, Function};
use crate::supervisor::workers::Pool;
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::system::buffers::SHORT;
use crate::worker::Local;
use crate::worker::job::Job;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use wpc_abi::section;

/// Who reads the outcome of a call.
#[derive(Clone, Copy)]
pub(crate) enum Reader<'a> {
    /// Its caller outside of the pool.
    Caller,
    /// Its caller outside of the pool, which also reads the items that the function yields.
    Items(&'a Arc<Items>),
    /// The guest or the host function of this call.
    Call(&'a Arc<Call>),
}

/// Returns the function that was looked up under `name`, or the reason for refusing a call of it.
#[inline]
pub(crate) fn defined<F>(pool: &Pool, function: Option<F>, name: &str) -> Result<F, Error> {
    match function {
        Some(function) if pool.is_open.load(Ordering::Acquire) => Ok(function),
        _ => Err(undefined(pool, name)),
    }
}

#[cold]
fn undefined(pool: &Pool, name: &str) -> Error {
    let error = if pool.is_open.load(Ordering::Acquire) {
        Error::FunctionNotDefined { function: name.to_owned() }
    } else {
        Error::NotRunning
    };
    pool.registry.count_elsewhere(name, &error);
    error
}

/// Accepts a call, or returns the reason for refusing it.
pub(crate) fn submit<R: DeserializeOwned>(
    pool: &Pool,
    function: Arc<Function>,
    arguments: &impl Serialize,
    options: &CallOptions,
) -> Result<PendingCall<R>, Error> {
    let encode = |function: &Function, limits: &Limits| encode(pool, function, arguments, limits);
    accept(pool, function, encode, options, Reader::Caller).map(PendingCall::new)
}

/// Like [`submit`], for a call whose items are read from `items`.
pub(crate) fn stream<R: DeserializeOwned>(
    pool: &Pool,
    function: Arc<Function>,
    arguments: &impl Serialize,
    options: &CallOptions,
    items: &Arc<Items>,
) -> Result<PendingCall<R>, Error> {
    let encode = |function: &Function, limits: &Limits| encode(pool, function, arguments, limits);
    accept(pool, function, encode, options, Reader::Items(items)).map(PendingCall::new)
}

/// Like [`submit`], for a call by name: its types are compared with those that the function declares, until they are
/// proven.
pub(crate) fn submit_by_name<A: Serialize, R: DeserializeOwned + 'static>(
    pool: &Pool,
    function: Arc<Function>,
    arguments: &A,
    options: &CallOptions,
) -> Result<PendingCall<R>, Error> {
    if function.types.covers::<A, R>(arguments) {
        submit(pool, function, arguments, options)
    } else {
        submit_compared(pool, function, arguments, options, Reader::Caller)
    }
}

/// Like [`submit_by_name`], for a call whose items are read from `items`.
pub(crate) fn stream_by_name<A: Serialize, R: DeserializeOwned + 'static>(
    pool: &Pool,
    function: Arc<Function>,
    arguments: &A,
    options: &CallOptions,
    items: &Arc<Items>,
) -> Result<PendingCall<R>, Error> {
    if function.types.covers::<A, R>(arguments) {
        stream(pool, function, arguments, options, items)
    } else {
        submit_compared(pool, function, arguments, options, Reader::Items(items))
    }
}

#[cold]
fn submit_compared<A: Serialize, R: DeserializeOwned + 'static>(
    pool: &Pool,
    function: Arc<Function>,
    arguments: &A,
    options: &CallOptions,
    reader: Reader<'_>,
) -> Result<PendingCall<R>, Error> {
    let mut unproven = None;
    let encode = |function: &Function, limits: &Limits| {
        let check = compare::<A, R>(function)?;
        unproven = check.unproven_result();
        check.arguments(arguments, |arguments| encode(pool, function, arguments, limits))
    };
    let call = accept(pool, Arc::clone(&function), encode, options, reader)?;
    Ok(match unproven {
        None => PendingCall::new(call),
        Some(declared) => {
            PendingCall::decoded_by(call, move |value| declared.decode(&function.name, value))
        }
    })
}

/// Compares a call's types with those that the function declares.
pub(crate) fn compare<A, R: DeserializeOwned>(function: &Function) -> Result<Check<'_>, Error> {
    let declared = signature::known(function.export());
    function.types.begin::<A, R>(&function.name, declared.as_deref())
}

fn encode(
    pool: &Pool,
    function: &Function,
    arguments: &impl Serialize,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    // Short arguments are encoded on the stack, so that their buffer is allocated once.
    let (mut short, mut buffer) = ([0; SHORT], Vec::new());
    let written = Unencoded::new(arguments, &mut buffer, limits.arguments)
        .in_buffers(&pool.buffers)
        .write(&mut short)
        .map_err(|refused| refused.error(&function.name))?;
    if let Some(len) = written {
        buffer = Vec::with_capacity(SHORT);
        buffer.extend_from_slice(&short[..len]);
    }
    Ok(buffer)
}

/// Like [`submit`], for arguments that `encode` produces. Returns the accepted call.
pub(crate) fn submit_encoded(
    pool: &Pool,
    function: Arc<Function>,
    encode: impl FnOnce(&Function) -> Result<Vec<u8>, Error>,
    options: &CallOptions,
    reader: Reader<'_>,
) -> Result<Arc<Call>, Error> {
    let encode = |function: &Function, limits: &Limits| {
        let arguments = encode(function)?;
        check_size(arguments.len(), limits.arguments)
            .map_err(|refused| refused.error(&function.name))?;
        Ok(arguments)
    };
    accept(pool, function, encode, options, reader)
}

/// Like [`submit_by_name`], on behalf of another call.
pub(crate) fn submit_by_name_for<A: Serialize, R: DeserializeOwned + 'static>(
    pool: &Pool,
    caller: &Arc<Call>,
    function: Arc<Function>,
    arguments: &A,
) -> Result<PendingCall<R>, Error> {
    submit_compared(pool, function, arguments, &CallOptions::new(), Reader::Call(caller))
}

/// Accepts a call on behalf of another call, with arguments that `encode` produces. Returns the accepted call.
pub(crate) fn submit_encoded_for(
    pool: &Pool,
    caller: &Arc<Call>,
    function: Arc<Function>,
    encode: impl FnOnce(&Function, &Limits) -> Result<Vec<u8>, Error>,
) -> Result<Arc<Call>, Error> {
    accept(pool, function, encode, &CallOptions::new(), Reader::Call(caller))
}

/// Accepts a call, or returns the reason for refusing it.
#[inline(always)]
fn accept(
    pool: &Pool,
    function: Arc<Function>,
    encode: impl FnOnce(&Function, &Limits) -> Result<Vec<u8>, Error>,
    options: &CallOptions,
    reader: Reader<'_>,
) -> Result<Arc<Call>, Error> {
    let check_and_encode = || {
        if let Reader::Call(caller) = reader {
            caller.check_chain(&function.name)?;
        }
        let definition = match reader {
            Reader::Items(_) => check(pool, &function, options)?,
            Reader::Caller | Reader::Call(_) => check_plain(pool, &function, options)?,
        };
        Ok((definition, encode(&function, &definition.limits)?))
    };
    let (definition, arguments) = check_and_encode()
        .inspect_err(|error: &Error| function.meter.count_elsewhere(error.code()))?;
    let call = new_call(pool, &function, definition, options, reader);
    let fuel = fuel(definition, options);
    let definition = Arc::clone(definition);
    let mut job = Job::new(Arc::clone(&call), function, definition, arguments);
    job.fuel = fuel;
    job.affinity = options.affinity;
    job.wait_for_capacity = options.wait_for_capacity;
    pool.dispatch_or_enqueue(job)?;
    Ok(call)
}

/// The time limit of a call.
#[inline]
pub(crate) fn time_limit(pool: &Pool, definition: &Definition, options: &CallOptions) -> Duration {
    options.time_limit(own_limit(pool, definition))
}

/// The fuel of a call, if its caller limits it.
#[inline]
pub(crate) fn fuel(definition: &Definition, options: &CallOptions) -> Option<u64> {
    match (options.fuel, definition.limits.fuel) {
        (Some(chosen), Some(own)) if options.within_limits => Some(chosen.min(own)),
        (chosen, _) => chosen,
    }
}

/// The time limit of a call for which its caller sets none.
#[inline]
fn own_limit(pool: &Pool, definition: &Definition) -> Duration {
    definition.limits.timeout.unwrap_or(pool.options.call_timeout)
}

fn new_call(
    pool: &Pool,
    function: &Function,
    definition: &Definition,
    options: &CallOptions,
    reader: Reader<'_>,
) -> Arc<Call> {
    if let Reader::Call(caller) = reader {
        return new_nested_call(pool, function, definition, options, caller);
    }
    // Unlike `Arc::new`, this allocates first and then creates the call, which is copied once less.
    Arc::new_cyclic(|_| {
        let mut call = unshared_call(pool, function, definition, options);
        if let Reader::Items(items) = reader {
            call.items = Some(Arc::clone(items));
        }
        call
    })
}

#[cold]
fn new_nested_call(
    pool: &Pool,
    function: &Function,
    definition: &Definition,
    options: &CallOptions,
    caller: &Arc<Call>,
) -> Arc<Call> {
    let mut call = unshared_call(pool, function, definition, options);
    call.nest(caller);
    Arc::new(call)
}

#[inline(always)]
fn unshared_call(
    pool: &Pool,
    function: &Function,
    definition: &Definition,
    options: &CallOptions,
) -> Call {
    let (id, name) = (CallId(pool.call_ids.next()), Arc::clone(&function.name));
    let own_limit = own_limit(pool, definition);
    let time_limit = options.time_limit(own_limit);
    let mut call = Call::new(id, name, definition.generation, time::now(), time_limit);
    call.own_limit = own_limit;
    call.context = options.context.clone();
    call
}

/// Makes every worker create a sandbox of `function`. Each returned call is answered when the sandbox of its worker is
/// ready.
pub(crate) fn warm(pool: &Pool, function: &Arc<Function>) -> Result<Vec<PendingCall<()>>, Error> {
    if !pool.is_open.load(Ordering::Acquire) {
        return Err(Error::NotRunning);
    }
    let options = CallOptions::new();
    let definition = check(pool, function, &options)?;
    let workers = pool.workers.load_full();
    let calls: Vec<_> = workers
        .iter()
        .filter_map(|worker| {
            let call = new_call(pool, function, definition, &options, Reader::Caller);
            let (function, definition) = (Arc::clone(function), Arc::clone(definition));
            let mut job = Job::new(Arc::clone(&call), function, definition, Vec::new());
            // This worker's sandbox is needed, so no other worker may take the job.
            job.affinity = Some(worker.id.0);
            job.is_warm_up = true;
            // A worker that has closed in the meantime is skipped.
            (worker.reserve(usize::MAX) && worker.push(job).is_ok()).then(|| PendingCall::new(call))
        })
        .collect();
    if calls.is_empty() {
        return Err(Error::NoReadyWorkers { function: function.name.to_string() });
    }
    Ok(calls)
}

/// Creates a sandbox of a function on this thread and drops it. The function need not be published.
pub(crate) fn instantiate(
    pool: &Pool,
    local: &mut Local,
    function: &Arc<Function>,
) -> Result<(), Error> {
    let Ok(definition) = &function.definition else { return Ok(()) };
    let call = new_call(pool, function, definition, &CallOptions::new(), Reader::Caller);
    let mut job = Job::new(call, Arc::clone(function), Arc::clone(definition), Vec::new());
    // Nothing waits for its answer.
    job.is_disowned = true;
    local.instantiate(&job, &pool.is_open).map_err(|error| *error)
}

/// Like [`check`], for a call without a reader of items.
#[inline]
pub(crate) fn check_plain<'a>(
    pool: &Pool,
    function: &'a Function,
    options: &CallOptions,
) -> Result<&'a Arc<Definition>, Error> {
    let definition = check(pool, function, options)?;
    // A function that yields can suspend.
    if definition.can_suspend {
        check_yields_none(function)?;
    }
    Ok(definition)
}

#[cold]
fn check_yields_none(function: &Function) -> Result<(), Error> {
    match signature::known(function.export()) {
        Some(signature) if signature.items != section::Items::None => {
            Err(Error::YieldsItems { function: function.name.to_string(), ran: false })
        }
        _ => Ok(()),
    }
}

/// Returns the definition that a call runs, or the reason for refusing the call before it is encoded or queued.
#[inline]
pub(crate) fn check<'a>(
    pool: &Pool,
    function: &'a Function,
    options: &CallOptions,
) -> Result<&'a Arc<Definition>, Error> {
    match (&function.definition, options) {
        // Most calls need none of the checks.
        (
            Ok(definition),
            CallOptions { pin: None, timeout: None, fuel: None, context: None, .. },
        ) if definition.host_functions.is_empty() => Ok(definition),
        _ => check_each(pool, function, options),
    }
}

#[inline(never)]
fn check_each<'a>(
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
    let is_too_long = |limit: Duration| limit > MAX_DURATION && !options.within_limits;
    if options.timeout.is_some_and(|limit| limit.is_zero() || is_too_long(limit)) {
        return invalid("`CallOptions::timeout` must be longer than zero and at most one year");
    }
    if options.fuel.is_some() && definition.limits.fuel.is_none() {
        return invalid(
            "`CallOptions::fuel` needs a function with a fuel limit; leave it out, or define the function with `Limits::fuel`",
        );
    }
    if let Some(problem) = options.context.as_ref().and_then(|context| context.problem()) {
        return invalid(problem);
    }
    Ok(definition)
}
