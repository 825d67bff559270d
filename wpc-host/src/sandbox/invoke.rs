//! One call across the wall, by whichever convention the export keeps. The host's calls and calls
//! between dependencies go the same way.

use super::environment::Failure;
use super::memory;
use super::state::State;
use crate::call::Interrupt;
use crate::call::reply::RawReply;
use crate::codec::decode::{counted, trailing};
use crate::codec::payload::{Payload, Refused};
use crate::module::{Convention, Scalar};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use wasmtime::{AsContext as _, AsContextMut, Func, TypedFunc, Val};
use wpc_abi::GuestError;
use wpc_abi::reply::{
    CONSTANT_NOT_DEFINED, Reply, TAG_ELSEWHERE, TAG_VALUE, elsewhere, length, unpack,
};

/// The least the guest's buffer is asked for: most payloads fit, and it is asked once.
const MIN_BUFFER: u32 = 1024;

/// How errors name it.
const BUFFER: &str = "its argument buffer";

/// The most bytes that are kept of why an init hook failed.
const MAX_TEXT: usize = 16 * 1024;

/// An export, ready to be called.
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
        let gone = || Failure::Link(format!("the export \"{name}\" is not there"));
        match convention {
            Convention::Wpc => {
                let function = instance.get_typed_func(&mut store, name).map_err(|_| gone())?;
                Ok(Self::Wpc(function))
            }
            Convention::Scalars { parameters, result } => Ok(Self::Scalars {
                function: instance.get_func(&mut store, name).ok_or_else(gone)?,
                parameters: parameters.clone(),
                result: *result,
            }),
            Convention::Command => {
                let function = instance.get_typed_func(&mut store, name).map_err(|_| gone())?;
                Ok(Self::Command(function))
            }
        }
    }
}

/// Calls `entry` of the instance at `at` and gives what `read` takes of the reply, which has a kind. What `keep`
/// makes of the arguments, once the guest has them, goes along.
#[inline(always)]
pub(super) fn invoke<A: Payload, K, T>(
    mut store: impl AsContextMut<Data = State>,
    at: usize,
    entry: &Entry,
    mut arguments: A,
    keep: impl FnOnce(A) -> K,
    read: impl FnOnce(RawReply<'_>, K) -> T,
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
            Ok(read(RawReply::Encoded(&reply), kept))
        }
        Entry::Command(function) => {
            let bytes = arguments.bytes().map_err(refused)?;
            decode(&[], bytes).map_err(failed)?;
            match function.call(&mut store, ()) {
                Ok(()) => {}
                Err(error) => match error.downcast_ref() {
                    // Its own end, not one of its dependencies'.
                    Some(Failure::Exited { at: whose, status: 0 }) if *whose == at => {}
                    _ => return Err(error),
                },
            }
            let (reply, kept) = (encode(None), keep(arguments));
            Ok(read(RawReply::Encoded(&reply), kept))
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
    read: impl FnOnce(RawReply<'_>, K) -> T,
) -> wasmtime::Result<T> {
    let mut store = store.as_context_mut();
    let least = u32::try_from(arguments.least()).map_err(|_| too_many_arguments())?;
    let (buffer, capacity) = reserve(&mut store, at, least)?;
    let memory = memory_at(store.data(), at)?;
    let place = memory::room(memory, &mut store, buffer, capacity, BUFFER).map_err(failed)?;
    let (buffer, len) = match arguments.write(place).map_err(refused)? {
        // It is no longer than the buffer.
        Some(len) => (buffer, u32::try_from(len).unwrap_or(capacity)),
        None => copy_in(&mut store, at, arguments.bytes().map_err(refused)?)?,
    };
    // Encoding may have taken any time: a pool that stopped meanwhile ends no loop of a guest.
    if store.data().environment.stopping.load(Ordering::Acquire) {
        return Err(failed(Failure::Interrupted(Interrupt::Stopped)));
    }
    let kept = keep(arguments);
    let packed = function.call(&mut store, (buffer, len))?;
    let reply = take_reply(&store, at, packed)?;
    Ok(read(reply, kept))
}

/// Copies the arguments into a buffer that has room for them; where it lies, and their length.
#[inline(never)]
fn copy_in(
    store: &mut wasmtime::StoreContextMut<'_, State>,
    at: usize,
    arguments: &[u8],
) -> wasmtime::Result<(u32, u32)> {
    let len = u32::try_from(arguments.len()).map_err(|_| too_many_arguments())?;
    let (buffer, _) = reserve(store, at, len)?;
    let memory = memory_at(store.data(), at)?;
    memory::room(memory, store, buffer, len, BUFFER).map_err(failed)?.copy_from_slice(arguments);
    Ok((buffer, len))
}

#[cold]
fn refused(refused: Refused) -> wasmtime::Error {
    failed(Failure::Refused(refused))
}

#[cold]
fn too_many_arguments() -> wasmtime::Error {
    wasmtime::Error::new(Failure::BadArguments("they have 4 GiB or more".to_owned()))
}

/// Runs the init hook of the instance at `at`.
pub(super) fn initialise(
    mut store: impl AsContextMut<Data = State>,
    at: usize,
    hook: &TypedFunc<(), u64>,
) -> wasmtime::Result<()> {
    let mut store = store.as_context_mut();
    // As before a call: guests prepare themselves when they are first asked for their buffer.
    reserve(&mut store, at, 0)?;
    let packed = hook.call(&mut store, ())?;
    let RawReply::Encoded(reply) = take_reply(&store, at, packed)? else { return Ok(()) };
    match Reply::split(reply) {
        Some(Reply::Value(_)) => Ok(()),
        Some(Reply::Error(error)) => {
            let why = GuestError::decode(error).map_or_else(
                |_| "an error that does not decode".to_owned(),
                |error| error.to_string(),
            );
            let why = &why[..why.floor_char_boundary(MAX_TEXT)];
            Err(wasmtime::Error::new(Failure::Init(format!("its init hook returned {why}"))))
        }
        _ => Err(wasmtime::Error::new(Failure::Contract(
            "its init hook's reply has no kind".to_owned(),
        ))),
    }
}

/// The reply at the place that a function returned, which has a kind.
#[inline(always)]
fn take_reply<'a>(
    store: &'a wasmtime::StoreContextMut<'_, State>,
    at: usize,
    packed: u64,
) -> wasmtime::Result<RawReply<'a>> {
    let memory = memory_at(store.data(), at)?;
    let limit = store.data().result_limit;
    let within = |found| if found > limit { Err(too_large(found)) } else { Ok(()) };
    let (ptr, len) = unpack(packed);
    within(len as usize)?;
    let reply = memory::read(memory, store, ptr, len, "its reply").map_err(failed)?;
    match Reply::split(reply) {
        Some(Reply::Elsewhere { ptr, len }) => {
            // As long as its encoding would be.
            within(1 + length(len as usize).1 + len as usize)?;
            let what = "the value that its reply tells of";
            Ok(RawReply::Bytes(memory::read(memory, store, ptr, len, what).map_err(failed)?))
        }
        Some(Reply::Error(error)) => match missing_constant(store.data(), at, error) {
            Some(constant) => Err(failed(Failure::ConstantNotDefined(constant))),
            None => Ok(RawReply::Encoded(reply)),
        },
        Some(_) => Ok(RawReply::Encoded(reply)),
        None => Err(no_reply(reply)),
    }
}

/// The declared constant for whose absence the module at `at` failed, if it did. An error of a dependency is its
/// importer's to handle: only the outermost one ends the call.
#[cold]
fn missing_constant(state: &State, at: usize, error: &[u8]) -> Option<String> {
    let constant = state.missing_constant().filter(|_| at + 1 == state.instances.len())?;
    let error = GuestError::decode(error).ok()?;
    (error.name == CONSTANT_NOT_DEFINED).then(|| constant.to_owned())
}

#[cold]
fn failed(failure: Failure) -> wasmtime::Error {
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
            "its reply tells where the value lies in {} bytes, and those are {}",
            bytes.len(),
            elsewhere(0, 0).len()
        ),
        [kind, ..] => format!("its reply begins with {kind}, which is no kind of reply"),
    }))
}

#[inline]
fn memory_at(state: &State, at: usize) -> wasmtime::Result<wasmtime::Memory> {
    state.instances.get(at).and_then(|instance| instance.memory).ok_or_else(no_memory)
}

#[cold]
fn no_memory() -> wasmtime::Error {
    wasmtime::Error::new(Failure::Contract("it exports no memory called \"memory\"".to_owned()))
}

#[cold]
fn no_buffer() -> wasmtime::Error {
    wasmtime::Error::new(Failure::Contract("it exports no buffer".to_owned()))
}

/// Where the guest's buffer lies and how much room it has, at least `len` bytes. The guest is asked only when it has to grow, and
/// before its first call whatever the length, so that guests can prepare themselves then.
#[inline]
fn reserve(
    store: &mut wasmtime::StoreContextMut<'_, State>,
    at: usize,
    len: u32,
) -> wasmtime::Result<(u32, u32)> {
    let instance = store.data().instances.get(at).ok_or_else(no_buffer)?;
    let buffer = instance.buffer.as_ref().ok_or_else(no_buffer)?;
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
    let buffer = store.data().instances.get(at).and_then(|instance| instance.buffer.as_ref());
    let function = buffer.ok_or_else(no_buffer)?.function.clone();
    let capacity = len.checked_next_power_of_two().unwrap_or(len).max(MIN_BUFFER);
    let ptr = function.call(&mut *store, capacity)?;
    let memory = memory_at(store.data(), at)?;
    memory::read(memory, &store.as_context(), ptr, capacity, BUFFER)
        .map_err(wasmtime::Error::new)?;
    if let Some(buffer) =
        store.data_mut().instances.get_mut(at).and_then(|instance| instance.buffer.as_mut())
    {
        (buffer.ptr, buffer.capacity) = (ptr, capacity);
    }
    Ok((ptr, capacity))
}

/// A plain export's arguments: few functions take more, and those allocate.
type Values = SmallVec<[Val; 8]>;

fn decode(parameters: &[Scalar], arguments: &[u8]) -> Result<Values, Failure> {
    let mut rest = arguments;
    let mut values = Values::with_capacity(parameters.len());
    for (at, parameter) in parameters.iter().enumerate() {
        values.push(scalar(*parameter, &mut rest).map_err(|error| {
            Failure::BadArguments(format!(
                "argument {} must be {}: {error}",
                at + 1,
                parameter.name()
            ))
        })?);
    }
    if rest.is_empty() {
        return Ok(values);
    }
    Err(Failure::BadArguments(format!(
        "it takes {}, and after them there {} {}",
        counted(parameters.len(), "argument"),
        if rest.len() == 1 { "is" } else { "are" },
        trailing(rest.len())
    )))
}

fn scalar(ty: Scalar, bytes: &mut &[u8]) -> postcard::Result<Val> {
    fn take<'a, T: serde::Deserialize<'a>>(bytes: &mut &'a [u8]) -> postcard::Result<T> {
        let (value, rest) = postcard::take_from_bytes(bytes)?;
        *bytes = rest;
        Ok(value)
    }
    Ok(match ty {
        Scalar::I32 => Val::I32(take(bytes)?),
        Scalar::I64 => Val::I64(take(bytes)?),
        Scalar::F32 => Val::F32(take::<f32>(bytes)?.to_bits()),
        Scalar::F64 => Val::F64(take::<f64>(bytes)?.to_bits()),
    })
}

/// A number as a reply: at most a kind and ten bytes. Numbers always encode; were it not so, an empty
/// reply is no value.
fn encode(value: Option<&Val>) -> impl std::ops::Deref<Target = [u8]> {
    const MOST: usize = 11;
    struct Short([u8; MOST], usize);
    impl std::ops::Deref for Short {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            &self.0[..self.1]
        }
    }
    let mut reply = [TAG_VALUE; MOST];
    let rest = &mut reply[1..];
    let used = match value {
        Some(Val::I32(value)) => postcard::to_slice(value, rest),
        Some(Val::I64(value)) => postcard::to_slice(value, rest),
        Some(Val::F32(bits)) => postcard::to_slice(&f32::from_bits(*bits), rest),
        Some(Val::F64(bits)) => postcard::to_slice(&f64::from_bits(*bits), rest),
        _ => Ok(&mut [][..]),
    };
    let len = used.map_or(0, |used| used.len() + 1);
    Short(reply, len)
}
