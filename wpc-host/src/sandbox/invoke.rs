//! One call across the sandbox boundary, by the convention of the export. The host's calls and calls between dependencies
//! take the same path.

use super::failure::Failure;
use super::memory;
use super::scalars::{decode, encode};
use super::state::{Buffer, State};
use crate::call::Interrupt;
use crate::call::reply::BorrowedReply;
use crate::codec::payload::{Payload, Refused};
use crate::module::{Convention, Scalar};
use std::sync::atomic::Ordering;
use wasmtime::{AsContext as _, AsContextMut, Func, TypedFunc, Val};
use wpc_abi::GuestError;
use wpc_abi::reply::{
    CONSTANT_NOT_DEFINED, MAX_LENGTH, Reply, TAG_ELSEWHERE, elsewhere, length, unpack,
};

/// The minimum capacity of the buffer that the host requests from the guest. Most payloads fit, so one request suffices.
const MIN_BUFFER: u32 = 1024;

/// How errors name the buffer.
pub(super) const BUFFER: &str = "its argument buffer";

/// How many bytes of an init hook's error are kept at most.
const MAX_TEXT: usize = 16 * 1024;

/// An export that was looked up in its instance.
#[derive(Clone)]
pub(super) enum Entry {
    Wpc(TypedFunc<(u32, u32), u64>),
    Scalars { function: Func, parameters: Vec<Scalar>, result: Option<Scalar> },
    Command(TypedFunc<(), ()>),
}

impl Entry {
    pub(super) fn new(
        mut store: impl AsContextMut<Data = State>,
        instance: wasmtime::Instance,
        name: &str,
        convention: &Convention,
    ) -> Result<Self, Failure> {
        let missing = || Failure::Link(format!("the export \"{name}\" does not exist"));
        match convention {
            Convention::Wpc => {
                let function = instance.get_typed_func(&mut store, name).map_err(|_| missing())?;
                Ok(Self::Wpc(function))
            }
            Convention::Scalars { parameters, result } => Ok(Self::Scalars {
                function: instance.get_func(&mut store, name).ok_or_else(missing)?,
                parameters: parameters.clone(),
                result: *result,
            }),
            Convention::Command => {
                let function = instance.get_typed_func(&mut store, name).map_err(|_| missing())?;
                Ok(Self::Command(function))
            }
        }
    }
}

/// Calls `entry` of the instance at `at` and returns what `read` returns for the reply, whose kind is known to be valid. `keep`
/// receives the arguments once the guest has them; its result is passed to `read`.
#[inline(always)]
pub(super) fn invoke<A: Payload, K, T>(
    mut store: impl AsContextMut<Data = State>,
    at: usize,
    entry: &Entry,
    mut arguments: A,
    keep: impl FnOnce(A) -> K,
    read: impl FnOnce(BorrowedReply<'_>, K) -> T,
) -> wasmtime::Result<T> {
    match entry {
        Entry::Wpc(function) => invoke_wpc(store, at, function, arguments, keep, read),
        Entry::Scalars { function, parameters, result } => {
            let bytes = arguments.bytes().map_err(refused)?;
            let parameters = decode(parameters, bytes).map_err(failed)?;
            let kept = keep(arguments);
            let mut results = [Val::I32(0)];
            let results = &mut results[..usize::from(result.is_some())];
            function.call(&mut store, &parameters, results)?;
            let reply = encode(results.first());
            Ok(read(BorrowedReply::Encoded(&reply), kept))
        }
        Entry::Command(function) => {
            let bytes = arguments.bytes().map_err(refused)?;
            decode(&[], bytes).map_err(failed)?;
            own_exit(function.call(&mut store, ()), at)?;
            let (reply, kept) = (encode(None), keep(arguments));
            Ok(read(BorrowedReply::Encoded(&reply), kept))
        }
    }
}

#[inline(always)]
fn invoke_wpc<A: Payload, K, T>(
    mut store: impl AsContextMut<Data = State>,
    at: usize,
    function: &TypedFunc<(u32, u32), u64>,
    mut arguments: A,
    keep: impl FnOnce(A) -> K,
    read: impl FnOnce(BorrowedReply<'_>, K) -> T,
) -> wasmtime::Result<T> {
    let mut store = store.as_context_mut();
    let least = u32::try_from(arguments.least()).map_err(|_| too_many_arguments())?;
    let (buffer, capacity) = reserve(&mut store, at, least)?;
    let memory = memory_at(store.data(), at)?;
    let target = memory::buffer(memory, &mut store, buffer, capacity, BUFFER).map_err(failed)?;
    let (buffer, len) = match arguments.write(target).map_err(refused)? {
        // The length is at most the capacity.
        Some(len) => (buffer, u32::try_from(len).unwrap_or(capacity)),
        None => copy_in(&mut store, at, arguments.bytes().map_err(refused)?)?,
    };
    check_stopping(&store)?;
    let kept = keep(arguments);
    let packed = function.call(&mut store, (buffer, len))?;
    let reply = take_reply(&store, at, packed)?;
    Ok(read(reply, kept))
}

/// The end of the program of the module at `at`, for which the exit status 0 is a success.
pub(super) fn own_exit(ended: wasmtime::Result<()>, at: usize) -> wasmtime::Result<()> {
    ended.or_else(|error| match error.downcast_ref() {
        // This program exited, not one of its dependencies.
        Some(Failure::Exited { at: exited, status: 0 }) if *exited == at => Ok(()),
        _ => Err(error),
    })
}

/// Fails if the pool was stopped. Encoding runs code of the caller and may take any time. Meanwhile the supervisor may have
/// stopped advancing the epoch, so the epoch could no longer interrupt the guest.
#[inline]
pub(super) fn check_stopping(store: &wasmtime::StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    if store.data().environment.stopping.load(Ordering::Acquire) {
        return Err(failed(Failure::Interrupted(Interrupt::Stopped)));
    }
    Ok(())
}

/// Copies the arguments into a buffer that is large enough; returns its pointer and their length.
#[inline(never)]
fn copy_in(
    store: &mut wasmtime::StoreContextMut<'_, State>,
    at: usize,
    arguments: &[u8],
) -> wasmtime::Result<(u32, u32)> {
    let len = u32::try_from(arguments.len()).map_err(|_| too_many_arguments())?;
    let (buffer, _) = reserve(store, at, len)?;
    let memory = memory_at(store.data(), at)?;
    memory::buffer(memory, store, buffer, len, BUFFER).map_err(failed)?.copy_from_slice(arguments);
    Ok((buffer, len))
}

#[cold]
fn refused(refused: Refused) -> wasmtime::Error {
    failed(Failure::Refused(refused))
}

#[cold]
pub(super) fn too_many_arguments() -> wasmtime::Error {
    wasmtime::Error::new(Failure::BadArguments("they have 4 GiB or more".to_owned()))
}

/// Runs the init hook of the instance at `at`.
pub(super) fn initialise(
    mut store: impl AsContextMut<Data = State>,
    at: usize,
    hook: &TypedFunc<(), u64>,
) -> wasmtime::Result<()> {
    let mut store = store.as_context_mut();
    // As before a call: guests initialise themselves when their buffer is first requested.
    reserve(&mut store, at, 0)?;
    let packed = hook.call(&mut store, ())?;
    check_hook(take_reply(&store, at, packed)?)
}

/// Fails if an init hook returned an error.
pub(super) fn check_hook(reply: BorrowedReply<'_>) -> wasmtime::Result<()> {
    let BorrowedReply::Encoded(reply) = reply else { return Ok(()) };
    match Reply::split(reply) {
        Some(Reply::Value(_)) => Ok(()),
        Some(Reply::Error(error)) => {
            let reason = GuestError::decode(error).map_or_else(
                |_| "an error that cannot be decoded".to_owned(),
                |error| error.to_string(),
            );
            let reason = &reason[..reason.floor_char_boundary(MAX_TEXT)];
            Err(wasmtime::Error::new(Failure::Init(format!("its init hook returned {reason}"))))
        }
        _ => Err(wasmtime::Error::new(Failure::Contract(
            "the reply of its init hook has no valid kind".to_owned(),
        ))),
    }
}

/// The reply at the (pointer, length) that a function returned. Its kind is known to be valid.
#[inline(always)]
pub(super) fn take_reply<'a>(
    store: &'a wasmtime::StoreContextMut<'_, State>,
    at: usize,
    packed: u64,
) -> wasmtime::Result<BorrowedReply<'a>> {
    let memory = memory_at(store.data(), at)?;
    let limit = store.data().result_limit;
    let within = |found| if found > limit { Err(too_large(found)) } else { Ok(()) };
    let (ptr, len) = unpack(packed);
    within(len as usize)?;
    let reply = memory::read(memory, store, ptr, len, "its reply").map_err(failed)?;
    match Reply::split(reply) {
        Some(Reply::Elsewhere { ptr, len }) => {
            // The limit applies to the length that the encoded value would have, which is only computed near the limit.
            let bytes = len as usize;
            if 1 + MAX_LENGTH + bytes > limit {
                within(1 + length(bytes).1 + bytes)?;
            }
            let what = "the value that its reply points to";
            Ok(BorrowedReply::Bytes(memory::read(memory, store, ptr, len, what).map_err(failed)?))
        }
        Some(Reply::Error(error)) => match missing_constant(store.data(), at, error) {
            Some(constant) => Err(failed(Failure::ConstantNotDefined(constant))),
            None => Ok(BorrowedReply::Encoded(reply)),
        },
        Some(_) => Ok(BorrowedReply::Encoded(reply)),
        None => Err(no_reply(reply)),
    }
}

/// The declared constant that is not defined and made the module at `at` fail, if there is one. Importers handle the
/// errors of their dependencies: only an error of the definition's own module ends the call.
#[cold]
fn missing_constant(state: &State, at: usize, error: &[u8]) -> Option<String> {
    let constant = state.missing_constant().filter(|_| at + 1 == state.instances.len())?;
    let error = GuestError::decode(error).ok()?;
    (error.name == CONSTANT_NOT_DEFINED).then(|| constant.to_owned())
}

#[cold]
pub(super) fn failed(failure: Failure) -> wasmtime::Error {
    wasmtime::Error::new(failure)
}

#[cold]
fn too_large(found: usize) -> wasmtime::Error {
    failed(Failure::ResultTooLarge { found })
}

#[cold]
fn no_reply(bytes: &[u8]) -> wasmtime::Error {
    failed(Failure::Contract(match bytes {
        [] => "its reply is empty".to_owned(),
        [TAG_ELSEWHERE, ..] => format!(
            "its reply, which points to the value, must have {} bytes, but has {}",
            elsewhere(0, 0).len(),
            bytes.len()
        ),
        [kind, ..] => format!("its reply begins with {kind}, which is not a kind of reply"),
    }))
}

#[inline]
pub(super) fn memory_at(state: &State, at: usize) -> wasmtime::Result<wasmtime::Memory> {
    state.instances.get(at).and_then(|instance| instance.memory).ok_or_else(no_memory)
}

#[cold]
fn no_memory() -> wasmtime::Error {
    wasmtime::Error::new(Failure::Contract(
        "it does not export a memory named \"memory\"".to_owned(),
    ))
}

#[cold]
fn no_buffer() -> wasmtime::Error {
    wasmtime::Error::new(Failure::Contract("it does not export a buffer".to_owned()))
}

/// The pointer and the capacity of the guest's buffer, at least `len` bytes. The guest's function is called only if the
/// buffer must grow, and before the guest's first call whatever the length, so that the guest can initialise itself.
#[inline]
fn reserve(
    store: &mut wasmtime::StoreContextMut<'_, State>,
    at: usize,
    len: u32,
) -> wasmtime::Result<(u32, u32)> {
    let buffer = buffer_of(store.data(), at)?;
    if buffer.capacity >= len.max(1) {
        return Ok((buffer.ptr, buffer.capacity));
    }
    grow(store, at, len)
}

#[cold]
fn grow(
    store: &mut wasmtime::StoreContextMut<'_, State>,
    at: usize,
    len: u32,
) -> wasmtime::Result<(u32, u32)> {
    let (function, capacity) = (buffer_of(store.data(), at)?.function.clone(), capacity_for(len));
    let ptr = function.call(&mut *store, capacity)?;
    set_buffer(store, at, ptr, capacity)?;
    Ok((ptr, capacity))
}

#[inline]
pub(super) fn buffer_of(state: &State, at: usize) -> wasmtime::Result<&Buffer> {
    let instance = state.instances.get(at).ok_or_else(no_buffer)?;
    instance.buffer.as_ref().ok_or_else(no_buffer)
}

/// The capacity of the buffer that the host requests from the guest for `len` bytes.
pub(super) fn capacity_for(len: u32) -> u32 {
    len.checked_next_power_of_two().unwrap_or(len).max(MIN_BUFFER)
}

/// Checks and records the buffer that the guest returned.
pub(super) fn set_buffer(
    store: &mut wasmtime::StoreContextMut<'_, State>,
    at: usize,
    ptr: u32,
    capacity: u32,
) -> wasmtime::Result<()> {
    let memory = memory_at(store.data(), at)?;
    memory::read(memory, &store.as_context(), ptr, capacity, BUFFER).map_err(failed)?;
    if let Some(buffer) =
        store.data_mut().instances.get_mut(at).and_then(|instance| instance.buffer.as_mut())
    {
        (buffer.ptr, buffer.capacity) = (ptr, capacity);
    }
    Ok(())
}
