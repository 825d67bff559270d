//! The functions of the pool that a guest calls: each by an import of its own, or all by their names.
//!
//! The guest is suspended until the function has replied. If its own call ends before, the call to the function is cancelled.

use super::imports::{check_interrupt, link_suspending, memory_of, take_arguments, write_reply};
use super::memory;
use super::node::Node;
use super::state::State;
use crate::call::Call;
use crate::call::nested::CalledFunction;
use crate::call::pending::PendingCall;
use crate::call::reply::encode_reply;
use crate::error::{Error, Grant};
use crate::sync::time;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::{Caller, Linker};
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_ERROR};
use wpc_abi::{GuestError, names};

/// Links what the module at `at` calls.
pub(super) fn link(linker: &mut Linker<State>, at: usize, node: &Node) -> wasmtime::Result<()> {
    let Node { what, module, functions, .. } = node;
    for (name, declared) in &module.requirements.functions {
        let name: Arc<str> = name.as_str().into();
        let called = CalledFunction::new(Arc::clone(&name), Arc::clone(what), declared.clone());
        link_suspending(
            linker,
            at,
            (names::CALLED_FUNCTIONS_MODULE, &*name),
            move |caller, arguments| {
                let waiting = Waiting::of(caller.data());
                let submitted = submit(caller.data(), &called, arguments);
                Box::pin(async move {
                    let _waiting = waiting;
                    Ok(reply(submitted).await)
                })
            },
        )?;
    }
    if module.requirements.calls_by_name {
        link_by_name(linker, at, what, functions)?;
    }
    Ok(())
}

fn link_by_name(
    linker: &mut Linker<State>,
    at: usize,
    what: &Arc<str>,
    granted: &Arc<BTreeSet<String>>,
) -> wasmtime::Result<()> {
    let (what, granted) = (Arc::clone(what), Arc::clone(granted));
    linker.func_wrap_async(
        names::HOST_MODULE,
        names::CALL_IMPORT,
        move |mut caller: Caller<'_, State>, parameters: (u32, u32, u32, u32, u32, u32)| {
            let (name, name_len, arguments, len, buffer, capacity) = parameters;
            let (what, granted) = (Arc::clone(&what), Arc::clone(&granted));
            Box::new(async move {
                check_interrupt(&caller)?;
                let name = granted_name(&mut caller, at, (name, name_len), &granted)?;
                let arguments = take_arguments(&mut caller, at, (arguments, len))?;
                let reply = match (name, arguments) {
                    (Err(refused), _) => not_granted(&what, &refused),
                    (_, Err(refusal)) => refusal,
                    (Ok(name), Ok(arguments)) => {
                        let called = CalledFunction::new(name, what, Vec::new());
                        let _waiting = Waiting::of(caller.data());
                        reply(submit(caller.data(), &called, arguments)).await
                    }
                };
                write_reply(&mut caller, at, reply, (buffer, capacity))
            })
        },
    )?;
    Ok(())
}

/// The name that the guest passed, or its text if no function of that name was granted.
fn granted_name(
    caller: &mut Caller<'_, State>,
    at: usize,
    (name, len): (u32, u32),
    granted: &BTreeSet<String>,
) -> wasmtime::Result<Result<Arc<str>, String>> {
    let memory = memory_of(caller, at).map_err(wasmtime::Error::new)?;
    let name = memory::read(memory, caller, name, len, "the name of a function")
        .map_err(wasmtime::Error::new)?;
    // The guest chooses the length of the name, which is validated and copied into messages.
    let shown = &name[..name.len().min(names::MAX_NAME_LEN)];
    let is_granted = |name: &&str| granted.contains(*name);
    let whole = (shown.len() == name.len()).then_some(shown);
    let found = whole.and_then(|name| std::str::from_utf8(name).ok()).filter(is_granted);
    Ok(found.map(Arc::from).ok_or_else(|| String::from_utf8_lossy(shown).into_owned()))
}

/// Measures how long a guest waits for a function that it called. The time is recorded when the wait ends, even if the guest's
/// own call ends it.
struct Waiting {
    call: Option<Arc<Call>>,
    since: Instant,
}

impl Waiting {
    fn of(state: &State) -> Self {
        Self { call: state.call.clone(), since: time::now() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            call.note_nested(time::now().saturating_duration_since(self.since));
        }
    }
}

/// Submits a call on behalf of the running one.
fn submit(
    state: &State,
    called: &CalledFunction,
    arguments: Vec<u8>,
) -> Result<PendingCall<()>, Error> {
    let pool = state.environment.nested_calls.upgrade();
    let (Some(caller), Some(pool)) = (&state.call, pool) else { return Err(Error::NotRunning) };
    pool.submit(caller, called, arguments)
}

/// The encoded reply of a call that was submitted or refused.
async fn reply(submitted: Result<PendingCall<()>, Error>) -> Vec<u8> {
    let reply = match submitted {
        Ok(call) => call.reply_for_guest().await,
        Err(error) => Err(error),
    };
    reply.unwrap_or_else(|error| encode_error(&error))
}

/// The reply that a guest receives if its call failed: the error of the function, or one that is named after the error's
/// code.
#[cold]
fn encode_error(error: &Error) -> Vec<u8> {
    match error {
        Error::Guest { error, .. } if error.variant.is_empty() && error.payload.is_none() => {
            encode_reply(TAG_ERROR, &**error)
        }
        Error::Guest { error, .. } => {
            encode_reply(TAG_ERROR, &(&**error, &*error.variant, error.payload.as_deref()))
        }
        Error::BadArguments { reason, .. } => encode_reply(TAG_BAD_ARGUMENTS, reason),
        error => {
            let name = format!("{:?}", error.code());
            encode_reply(TAG_ERROR, &GuestError::new(name, error.to_string()))
        }
    }
}

#[cold]
fn not_granted(what: &str, name: &str) -> Vec<u8> {
    let grant = Grant::Function(name.to_owned());
    let message = format!("{what} was not granted function {name:?}; grant it with `{grant}`");
    encode_reply(TAG_ERROR, &GuestError::new("NotGranted", message))
}
