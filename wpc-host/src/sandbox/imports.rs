//! The functions that a guest can import: the import module `wpc`, functions of its typed dependencies, and the embedder's
//! host functions.
//!
//! The layer `module` lists the imports and has checked their types. A guest that passes a pointer outside its memory
//! violates the contract and is ended.

use super::exception;
use super::failure::Failure;
use super::fiber;
use super::invoke::{Entry, invoke};
use super::log_line::{LINE_COST, MAX_TEXT, emit_line};
use super::memory;
use super::state::State;
use crate::call::reply::{BorrowedReply, encode_reply};
use crate::error::Error;
use crate::event::Severity;
use crate::host_function::{HostContext, HostFunction};
use crate::module::Convention;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wasmtime::{AsContextMut as _, Caller, Engine, Extern, Linker, Memory};
use wpc_abi::GuestError;
use wpc_abi::names::{self, LogLevel};
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_ERROR};

/// Ends the guest if its call should end.
///
/// Every function that the host links calls it first. Compiled code checks the epoch in loops and at function entries; a
/// guest that only calls the host reaches neither.
pub(super) fn check_interrupt(caller: &Caller<'_, State>) -> wasmtime::Result<()> {
    caller.data().check_interrupt().map_err(wasmtime::Error::new)
}

/// A linker with the host's functions, for the module at `at` in its definition.
pub(super) fn host_linker(engine: &Engine, at: usize) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let host = names::HOST_MODULE;
    linker.func_wrap(
        host,
        names::CONSTANT_IMPORT,
        move |caller: Caller<'_, State>, name: u32, len: u32, buffer: u32, capacity: u32| {
            check_interrupt(&caller)?;
            constant(caller, at, (name, len), (buffer, capacity)).map_err(wasmtime::Error::new)
        },
    )?;
    linker.func_wrap(
        host,
        names::TAKE_IMPORT,
        move |mut caller: Caller<'_, State>, buffer: u32, capacity: u32| -> wasmtime::Result<i64> {
            check_interrupt(&caller)?;
            let reply = std::mem::take(&mut caller.data_mut().pending);
            let len = write_bytes(&mut caller, at, &reply, (buffer, capacity))
                .map_err(wasmtime::Error::new)?;
            if reply.len() > capacity as usize {
                caller.data_mut().pending = reply;
            }
            Ok(len)
        },
    )?;
    linker.func_wrap(
        host,
        names::LOG_IMPORT,
        move |mut caller: Caller<'_, State>, level: i32, text: u32, len: u32| {
            check_interrupt(&caller)?;
            let text = read_text(&mut caller, at, text, len).map_err(wasmtime::Error::new)?;
            let state = caller.data();
            // Each line takes resources of the host, whatever its length.
            state.volume.add(text.len() + LINE_COST).map_err(wasmtime::Error::new)?;
            if let Some(call) = &state.call {
                let (severity, level) = severity(LogLevel::from_wire(level));
                emit_line(&state.environment, call, severity, level, text);
            }
            Ok(())
        },
    )?;
    linker.func_wrap(
        host,
        names::PANIC_IMPORT,
        move |mut caller: Caller<'_, State>, text: u32, len: u32| {
            check_interrupt(&caller)?;
            let text = read_text(&mut caller, at, text, len).map_err(wasmtime::Error::new)?;
            caller.data_mut().panic = Some(text);
            Ok(())
        },
    )?;
    linker.func_wrap(
        host,
        names::RANDOM_IMPORT,
        move |mut caller: Caller<'_, State>, buffer: u32, len: u32| {
            check_interrupt(&caller)?;
            fill_with_random(&mut caller, at, buffer, len).map_err(wasmtime::Error::new)
        },
    )?;
    let clock = |caller: Caller<'_, State>, kind: i32| -> wasmtime::Result<i64> {
        check_interrupt(&caller)?;
        let nanos = if kind == names::ClockKind::Wall as i32 {
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
        } else {
            caller.data().environment.started.elapsed()
        };
        Ok(i64::try_from(nanos.as_nanos()).unwrap_or(i64::MAX))
    };
    linker.func_wrap(host, names::CLOCK_IMPORT, clock)?;
    Ok(linker)
}

/// Fills the guest's buffer with random bytes. Large buffers are filled in steps, so that this ends with the call.
pub(super) fn fill_with_random(
    caller: &mut Caller<'_, State>,
    at: usize,
    buffer: u32,
    len: u32,
) -> Result<(), Failure> {
    // Takes a few milliseconds.
    const STEP: u32 = 1 << 20;
    const WHAT: &str = "the buffer for random bytes";
    let memory = memory_of(caller, at)?;
    memory::buffer(memory, caller, buffer, len, WHAT)?;
    let mut done = 0;
    while done < len {
        if let Some(interrupt) = caller.data().interrupt(Instant::now()) {
            return Err(Failure::Interrupted(interrupt));
        }
        let step = STEP.min(len - done);
        rand::fill(memory::buffer(memory, caller, buffer + done, step, WHAT)?);
        done += step;
    }
    Ok(())
}

/// Links the function by which the module at `at`, on a fiber, yields items.
pub(super) fn link_yield(linker: &mut Linker<State>, at: usize) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        names::HOST_MODULE,
        names::YIELD_IMPORT,
        move |mut caller: Caller<'_, State>, (item, len): (u32, u32)| {
            Box::new(poll_fn(move |task| {
                let added = add_item(&mut caller, at, (item, len), task.waker());
                added.map(|added| added.map_err(wasmtime::Error::new))
            }))
        },
    )?;
    Ok(())
}

/// Adds an item for the caller of the running call. It is read in the guest's memory, even if the guest was suspended.
fn add_item(
    caller: &mut Caller<'_, State>,
    at: usize,
    (item, len): (u32, u32),
    guest: &Waker,
) -> Poll<Result<(), Failure>> {
    let mut add = || {
        caller.data().check_interrupt()?;
        let memory = memory_of(caller, at)?;
        let item = memory::read(memory, &*caller, item, len, "an item")?;
        let state = caller.data();
        if item.len() > state.result_limit {
            return Err(Failure::ResultTooLarge { found: item.len() });
        }
        let Some(call) = state.call.as_ref().filter(|_| state.instantiating.is_none()) else {
            let reason = "it yields an item before its function is called";
            return Err(Failure::Init(reason.to_owned()));
        };
        // The type of its items is that of the called function.
        if at + 1 != state.instances.len() {
            let reason =
                "one of its dependencies yielded an item; only its own module may yield items";
            return Err(Failure::Contract(reason.to_owned()));
        }
        call.poll_add_item(item, guest).ok_or_else(|| {
            Failure::Host(Error::YieldsItems { function: call.function.to_string(), ran: true })
        })
    };
    match add() {
        Ok(added) => added.map(Ok),
        Err(failure) => Poll::Ready(Err(failure)),
    }
}

/// The arguments of a function that the module at `at` calls with encoded arguments, or the encoded reply that refuses them.
pub(super) fn take_arguments(
    caller: &mut Caller<'_, State>,
    at: usize,
    (arguments, len): (u32, u32),
) -> wasmtime::Result<Result<Vec<u8>, Vec<u8>>> {
    check_interrupt(caller)?;
    let memory = memory_of(caller, at).map_err(wasmtime::Error::new)?;
    let arguments = memory::read(memory, caller, arguments, len, "the arguments it passes")
        .map_err(wasmtime::Error::new)?;
    let (found, limit) = (arguments.len(), caller.data().argument_limit);
    // Checked before they are copied, because the guest chooses their length.
    Ok(if found > limit {
        let reason = format!("they have {found} bytes, but the limit is {limit} bytes");
        Err(bad_arguments(&reason))
    } else {
        Ok(arguments.to_vec())
    })
}

/// Writes the encoded reply into the guest's buffer, or keeps it if it does not fit; returns its length.
pub(super) fn write_reply(
    caller: &mut Caller<'_, State>,
    at: usize,
    reply: Vec<u8>,
    buffer: (u32, u32),
) -> wasmtime::Result<i64> {
    let len = write_bytes(caller, at, &reply, buffer).map_err(wasmtime::Error::new)?;
    if reply.len() > buffer.1 as usize {
        caller.data_mut().pending = reply;
    }
    Ok(len)
}

/// Links a function that the module at `at` calls with encoded arguments; `answer` returns the encoded reply.
fn link_carried(
    linker: &mut Linker<State>,
    at: usize,
    import: (&str, &str),
    answer: impl Fn(&mut Caller<'_, State>, Vec<u8>) -> wasmtime::Result<Vec<u8>>
    + Send
    + Sync
    + 'static,
) -> wasmtime::Result<()> {
    linker.func_wrap(
        import.0,
        import.1,
        move |mut caller: Caller<'_, State>, ptr: u32, len: u32, buffer: u32, capacity: u32| {
            let arguments = take_arguments(&mut caller, at, (ptr, len))?;
            let reply = match arguments {
                Ok(arguments) => answer(&mut caller, arguments)?,
                Err(refusal) => refusal,
            };
            write_reply(&mut caller, at, reply, (buffer, capacity))
        },
    )?;
    Ok(())
}

/// The future of an encoded reply. The guest that waits for it is suspended.
pub(super) type Suspending<'a> =
    Pin<Box<dyn Future<Output = wasmtime::Result<Vec<u8>>> + Send + 'a>>;

/// Like [`link_carried`], for guests on fibers, which are suspended until the reply is ready.
pub(super) fn link_suspending(
    linker: &mut Linker<State>,
    at: usize,
    import: (&str, &str),
    answer: impl for<'a> Fn(&'a mut Caller<'_, State>, Vec<u8>) -> Suspending<'a>
    + Send
    + Sync
    + 'static,
) -> wasmtime::Result<()> {
    let answer = Arc::new(answer);
    linker.func_wrap_async(
        import.0,
        import.1,
        move |mut caller: Caller<'_, State>, parameters: (u32, u32, u32, u32)| {
            let (ptr, len, buffer, capacity) = parameters;
            let answer = Arc::clone(&answer);
            Box::new(async move {
                let arguments = take_arguments(&mut caller, at, (ptr, len))?;
                let reply = match arguments {
                    Ok(arguments) => answer(&mut caller, arguments).await?,
                    Err(refusal) => refusal,
                };
                write_reply(&mut caller, at, reply, (buffer, capacity))
            })
        },
    )?;
    Ok(())
}

/// An export of a dependency that another module imports with encoded arguments.
pub(super) struct Target {
    /// The index of the dependency's module.
    pub(super) callee: usize,
    pub(super) alias: String,
    pub(super) item: String,
    pub(super) convention: Convention,
}

impl Target {
    fn entry(&self, caller: &mut Caller<'_, State>) -> wasmtime::Result<Entry> {
        let instance = caller.data().instances[self.callee].instance;
        Entry::new(caller, instance, &self.item, &self.convention).map_err(wasmtime::Error::new)
    }

    /// The reply that the calling module receives if the call failed, or why the call ends.
    fn failed(
        &self,
        caller: &mut Caller<'_, State>,
        error: wasmtime::Error,
    ) -> wasmtime::Result<Vec<u8>> {
        // An exception does not cross a call with encoded arguments: Wasmtime would throw it again in the calling module.
        if error.is::<wasmtime::ThrownException>() {
            let exception = exception::take(&mut *caller);
            let callee = format!("dependency \"{}\", which it called with bytes", self.alias);
            return Err(wasmtime::Error::new(Failure::Exception(format!(
                "{exception} of {callee}"
            ))));
        }
        match error.downcast::<Failure>()? {
            // Invalid arguments do not end the calling module: it receives an error as the reply.
            Failure::BadArguments(reason) => Ok(bad_arguments(&reason)),
            failure => Err(wasmtime::Error::new(failure)),
        }
    }
}

/// Links an export of a dependency for the module at `at`.
pub(super) fn link_typed(
    linker: &mut Linker<State>,
    at: usize,
    import: (&str, &str),
    target: Target,
) -> wasmtime::Result<()> {
    link_carried(linker, at, import, move |caller, arguments| {
        let entry = target.entry(caller)?;
        // The arguments are dropped before the call: calls between dependencies may nest, and each would keep its
        // arguments.
        let reply = |reply: BorrowedReply<'_>, ()| reply.to_encoded(Vec::new());
        let called = invoke(&mut *caller, target.callee, &entry, arguments, drop, reply);
        called.or_else(|error| target.failed(caller, error))
    })
}

/// Like [`link_typed`], for guests on fibers.
pub(super) fn link_suspending_typed(
    linker: &mut Linker<State>,
    at: usize,
    import: (&str, &str),
    target: Target,
) -> wasmtime::Result<()> {
    let target = Arc::new(target);
    link_suspending(linker, at, import, move |caller, arguments| {
        let target = Arc::clone(&target);
        Box::pin(async move {
            let entry = target.entry(caller)?;
            let reply = |reply: BorrowedReply<'_>| reply.to_encoded(Vec::new());
            let store = caller.as_context_mut();
            let called = fiber::invoke(store, target.callee, &entry, &arguments, reply).await;
            called.or_else(|error| target.failed(caller, error))
        })
    })
}

/// Links a host function of the embedder for the module at `at`.
pub(super) fn link_host_function(
    linker: &mut Linker<State>,
    at: usize,
    name: &str,
) -> wasmtime::Result<()> {
    let name: Arc<str> = name.into();
    link_carried(
        linker,
        at,
        (names::HOST_FUNCTIONS_MODULE, &*Arc::clone(&name)),
        move |caller, arguments| {
            let Some(context) = host_context(caller.data()) else { return Ok(Vec::new()) };
            let Some(function) = host_function(caller, &name) else { return Ok(is_removed(&name)) };
            let environment = Arc::clone(&caller.data().environment);
            // The function may block indefinitely, including on another call to this pool.
            environment.is_occupied.store(true, Ordering::Relaxed);
            let ran = function.run(&context, &arguments);
            environment.is_occupied.store(false, Ordering::Relaxed);
            ran.map_err(|interrupted| wasmtime::Error::new(Failure::Interrupted(interrupted.0)))
        },
    )
}

/// Like [`link_host_function`], for guests on fibers.
pub(super) fn link_suspending_host_function(
    linker: &mut Linker<State>,
    at: usize,
    name: &str,
) -> wasmtime::Result<()> {
    let name: Arc<str> = name.into();
    link_suspending(
        linker,
        at,
        (names::HOST_FUNCTIONS_MODULE, &*Arc::clone(&name)),
        move |caller, arguments| {
            let name = Arc::clone(&name);
            Box::pin(async move {
                let Some(context) = host_context(caller.data()) else { return Ok(Vec::new()) };
                let Some(function) = host_function(caller, &name) else {
                    return Ok(is_removed(&name));
                };
                let host = &caller.data().environment.host_runtime;
                let started = function.start(context, arguments, host);
                let reply = started.map_err(|error| wasmtime::Error::new(Failure::Host(error)))?;
                Ok(reply.await)
            })
        },
    )
}

fn host_context(state: &State) -> Option<HostContext> {
    Some(HostContext {
        call: state.call.clone()?,
        worker: state.environment.worker,
        stopping: Arc::clone(&state.environment.stopping),
    })
}

fn host_function(caller: &mut Caller<'_, State>, name: &str) -> Option<Arc<HostFunction>> {
    caller.data_mut().bindings().host_functions.get(name).cloned()
}

fn is_removed(name: &str) -> Vec<u8> {
    let message = format!("host function `{name}` has been removed");
    encode_reply(TAG_ERROR, &GuestError::new("HostFunctionNotDefined", message))
}

fn bad_arguments(reason: &str) -> Vec<u8> {
    encode_reply(TAG_BAD_ARGUMENTS, reason)
}

/// The memory of the calling instance. It is looked up by name only while the instance is created and its start
/// function runs.
pub(super) fn memory_of(caller: &mut Caller<'_, State>, at: usize) -> Result<Memory, Failure> {
    if let Some(instance) = caller.data().instances.get(at) {
        return instance.memory.ok_or_else(no_memory);
    }
    caller.get_export("memory").and_then(Extern::into_memory).ok_or_else(no_memory)
}

fn no_memory() -> Failure {
    Failure::Contract(
        "it passes pointers to the host but does not export a memory named \"memory\"".to_owned(),
    )
}

fn constant(
    mut caller: Caller<'_, State>,
    at: usize,
    (name, len): (u32, u32),
    buffer: (u32, u32),
) -> Result<i64, Failure> {
    let memory = memory_of(&mut caller, at)?;
    let name = memory::read(memory, &caller, name, len, "the name of a constant")?;
    // The guest chooses the length of the name, which is validated and copied.
    if name.len() > names::MAX_NAME_LEN {
        return Ok(names::NOT_DEFINED);
    }
    // Names of constants are UTF-8.
    let Ok(name) = std::str::from_utf8(name).map(str::to_owned) else {
        return Ok(names::NOT_DEFINED);
    };
    let Some(value) = caller.data_mut().constant(&name) else { return Ok(names::NOT_DEFINED) };
    write_bytes(&mut caller, at, &value, buffer)
}

/// Writes `bytes` into the guest's buffer if they fit; returns their length.
fn write_bytes(
    caller: &mut Caller<'_, State>,
    at: usize,
    bytes: &[u8],
    (buffer, capacity): (u32, u32),
) -> Result<i64, Failure> {
    let memory = memory_of(caller, at)?;
    if let Ok(len) = u32::try_from(bytes.len())
        && len <= capacity
    {
        memory::buffer(memory, caller, buffer, len, "the buffer for an answer")?
            .copy_from_slice(bytes);
    }
    i64::try_from(bytes.len()).map_err(|_| Failure::ResultTooLarge { found: bytes.len() })
}

fn read_text(
    caller: &mut Caller<'_, State>,
    at: usize,
    text: u32,
    len: u32,
) -> Result<String, Failure> {
    let memory = memory_of(caller, at)?;
    let len = len.min(MAX_TEXT.try_into().unwrap_or(u32::MAX));
    let text = memory::read(memory, caller, text, len, "a text for the host")?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

const fn severity(level: LogLevel) -> (Severity, &'static str) {
    match level {
        LogLevel::Error => (Severity::Error, "error"),
        LogLevel::Warn => (Severity::Warn, "warn"),
        LogLevel::Info => (Severity::Info, "info"),
        LogLevel::Debug => (Severity::Debug, "debug"),
        LogLevel::Trace => (Severity::Debug, "trace"),
    }
}
