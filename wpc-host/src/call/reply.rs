//! What comes back across a sandbox's wall: where it lies, as it is kept for its caller, and the error it
//! may carry. It knows nothing of who reads it.

use crate::codec::decode::{decode_bytes, decode_owned, from_vec};
use crate::codec::encode::encode;
use crate::codec::type_check::Declared;
use crate::error::Error;
use crate::error::payload_type::PayloadType;
use crate::id::{FunctionHash, WorkerId};
use crate::system::buffers::{Buffers, LARGE, Loan, fits};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, TryLockError};
use wpc_abi::GuestError;
use wpc_abi::reply::{Reply as Split, TAG_ERROR, TAG_VALUE, length, plain_error};

/// The function whose reply it is, as far as errors report it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub(crate) name: &'a str,
    /// The type of its errors, where it declares one.
    pub(crate) payload_type: Option<&'a PayloadType>,
}

/// A reply where it lies in a guest's memory, whose kind is known to be one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RawReply<'a> {
    /// The kind, then postcard.
    Encoded(&'a [u8]),
    /// A value that is one string or sequence of bytes, without the length that postcard puts before it.
    Bytes(&'a [u8]),
}

impl RawReply<'_> {
    /// The kind, then postcard, whichever it was, in `room` where it fits there: for another guest, which gets no error's
    /// payload.
    pub(crate) fn to_encoded(self, room: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Encoded([TAG_ERROR, error @ ..]) => {
                written(room, &[&[TAG_ERROR], plain_error(error)], None)
            }
            Self::Encoded(bytes) => written(room, &[bytes], None),
            Self::Bytes(bytes) => {
                let (length, used) = length(bytes.len());
                written(room, &[&[TAG_VALUE], &length[..used], bytes], None)
            }
        }
    }

    /// What is kept of it for its caller, in `room` where it fits there: one copy. Otherwise large memory is taken from
    /// `buffers`, and goes there.
    pub(crate) fn to_body<'c>(
        self,
        room: Vec<u8>,
        buffers: &Arc<Buffers>,
        callee: impl FnOnce() -> Callee<'c>,
    ) -> Body {
        match self {
            Self::Encoded(bytes @ [TAG_VALUE, ..]) => {
                Body::Encoded(written(room, &[bytes], Some(buffers)))
            }
            Self::Encoded(_) => Body::Failed(self.failure(callee())),
            Self::Bytes(bytes) => {
                let loan = (bytes.len() >= LARGE).then(|| Buffers::lend(buffers));
                let bytes = written(room, &[bytes], Some(buffers));
                Body::Bytes(Mutex::new(Some(Kept { bytes, loan })))
            }
        }
    }

    /// The error that a reply without a value carries.
    #[cold]
    fn failure(self, callee: Callee<'_>) -> Box<Error> {
        let function = callee.name.to_owned();
        let split = match self {
            Self::Encoded(bytes) => Split::split(bytes),
            Self::Bytes(_) => None,
        };
        let broken = |error| format!("its error does not decode: {error}");
        let reason = match split {
            Some(Split::Error(error)) => match GuestError::decode(error) {
                Ok(error) => {
                    let payload_type = callee.payload_type.filter(|_| error.payload.is_some());
                    let payload_type = payload_type.cloned();
                    return Error::Guest { function, error: error.into(), payload_type }.into();
                }
                Err(error) => broken(error),
            },
            Some(Split::BadArguments(reason)) => match postcard::from_bytes(reason) {
                Ok(reason) => return Error::BadArguments { function, reason }.into(),
                Err(error) => broken(error),
            },
            Some(Split::Value(_) | Split::Elsewhere { .. }) | None => {
                "its reply has no kind".to_owned()
            }
        };
        Error::BadReply { function, reason }.into()
    }

    /// The value, or the error that it carries.
    #[inline]
    pub(crate) fn value<'c, R: DeserializeOwned + 'static>(
        self,
        callee: impl Fn() -> Callee<'c>,
    ) -> Result<R, Box<Error>> {
        match self {
            Self::Encoded([TAG_VALUE, value @ ..]) => decode_owned(value),
            Self::Bytes(bytes) => decode_bytes(bytes),
            Self::Encoded(_) => return Err(self.failure(callee())),
        }
        .map_err(|reason| not_decoded::<R>(callee().name, reason))
    }
}

impl RawReply<'_> {
    /// The value, which is compared with the declared type, or the error that it carries.
    pub(crate) fn compared<R: DeserializeOwned>(
        self,
        callee: Callee<'_>,
        declared: &Declared,
    ) -> Result<R, Box<Error>> {
        if !matches!(self, Self::Encoded([TAG_VALUE, ..]) | Self::Bytes(_)) {
            return Err(self.failure(callee));
        }
        let encoded = self.to_encoded(Vec::new());
        Ok(declared.decode(callee.name, encoded.get(1..).unwrap_or_default())?)
    }
}

/// A reply as it is kept for its caller.
pub(crate) enum Body {
    /// A value: the kind, then postcard.
    Encoded(Vec<u8>),
    /// The error that came in place of a value.
    Failed(Box<Error>),
    /// The bytes of a [`RawReply::Bytes`], until its first reader takes them over. Nobody waits for the lock: who finds
    /// it held came second.
    Bytes(Mutex<Option<Kept>>),
}

/// The bytes of a [`RawReply::Bytes`].
pub(crate) struct Kept {
    bytes: Vec<u8>,
    /// Where their buffer goes, or one that was exchanged for it; `None` where they are few.
    loan: Option<Loan>,
}

impl Kept {
    fn value<R: DeserializeOwned + 'static>(self) -> Result<R, String> {
        match self.loan {
            Some(loan) if loan.is_wanted_back() => {
                let value = decode_bytes(&self.bytes);
                loan.put(self.bytes);
                value
            }
            _ => from_vec(self.bytes),
        }
    }
}

impl std::fmt::Debug for Body {
    /// Without the bytes, which may be many, and whose lock only their readers may hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Encoded(_) => "Encoded(..)",
            Self::Failed(_) => "Failed(..)",
            Self::Bytes(_) => "Bytes(..)",
        })
    }
}

impl Body {
    /// The reply of a function that returns nothing.
    pub(crate) fn nothing() -> Self {
        Self::Encoded(vec![TAG_VALUE])
    }

    /// The error that it carries, if it carries one instead of a value.
    pub(crate) fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Encoded(_) | Self::Bytes(_) => None,
        }
    }

    /// The value, or the error that it carries.
    pub(crate) fn take<R: DeserializeOwned + 'static>(&self, function: &str) -> Result<R, Error> {
        match self {
            Self::Encoded(bytes) => RawReply::Encoded(bytes).value(|| value_of(function)),
            Self::Failed(error) => Err(error.clone()),
            Self::Bytes(kept) => take_over(kept)
                .ok_or_else(|| TAKEN.to_owned())
                .and_then(Kept::value)
                .map_err(|reason| not_decoded::<R>(function, reason)),
        }
        .map_err(|error| *error)
    }

    /// Makes `into` the bytes that are the value. Many of them change places with what `into` had; few are copied, so that
    /// it keeps its capacity. Leaves it as it is where there is an error.
    pub(crate) fn take_into(&self, function: &str, into: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Encoded(bytes) => {
                let value: Vec<u8> = RawReply::Encoded(bytes)
                    .value(|| value_of(function))
                    .map_err(|error| *error)?;
                replace(into, value, None);
            }
            Self::Failed(error) => return Err(Error::clone(error)),
            Self::Bytes(kept) => {
                let kept = take_over(kept)
                    .ok_or_else(|| *not_decoded::<Vec<u8>>(function, TAKEN.to_owned()))?;
                replace(into, kept.bytes, kept.loan);
            }
        }
        Ok(())
    }

    /// The value's postcard, or the error that it carries.
    pub(crate) fn take_encoded(&self, function: &str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Encoded(bytes) => Ok(bytes.get(1..).unwrap_or_default().to_vec()),
            Self::Failed(error) => Err(Error::clone(error)),
            Self::Bytes(kept) => {
                let Kept { bytes, loan } = take_over(kept)
                    .ok_or_else(|| *not_decoded::<()>(function, TAKEN.to_owned()))?;
                let (length, used) = length(bytes.len());
                let encoded = written(Vec::new(), &[&length[..used], &bytes], None);
                if let Some(loan) = loan {
                    loan.put(bytes);
                }
                Ok(encoded)
            }
        }
    }
}

/// The function of a reply that carries a value.
pub(crate) fn value_of(function: &str) -> Callee<'_> {
    Callee { name: function, payload_type: None }
}

fn replace(into: &mut Vec<u8>, value: Vec<u8>, loan: Option<Loan>) {
    if value.len() < LARGE && value.len() <= into.capacity() {
        into.clear();
        into.extend_from_slice(&value);
        return;
    }
    let read = std::mem::replace(into, value);
    if let Some(loan) = loan {
        loan.put(read);
    }
}

/// The bytes, for the first who asks.
fn take_over(kept: &Mutex<Option<Kept>>) -> Option<Kept> {
    match kept.try_lock() {
        Ok(mut kept) => kept.take(),
        Err(TryLockError::Poisoned(kept)) => kept.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The parts in a row, in `room` where they fit and leave no more than as much of it unused: the memory is there,
/// and goes back to the thread that it came from. Otherwise what is large comes from `buffers`, and goes there.
#[inline]
fn written(mut room: Vec<u8>, parts: &[&[u8]], buffers: Option<&Buffers>) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    if fits(&room, len) {
        room.clear();
    } else if let Some(buffers) = buffers {
        buffers.put(std::mem::replace(&mut room, buffers.take(len)));
    } else {
        room = Vec::with_capacity(len);
    }
    parts.iter().for_each(|part| room.extend_from_slice(part));
    room
}

const TAKEN: &str = "the answer was read before, and its bytes went to whoever read it first";

#[cold]
fn not_decoded<R>(function: &str, reason: String) -> Box<Error> {
    let (function, wanted) = (function.to_owned(), std::any::type_name::<R>());
    Error::ResultDecode { function, wanted, reason }.into()
}

/// A reply of the host's own to a guest that called it: the kind, then the value.
pub(crate) fn encode_reply<T: Serialize + ?Sized>(tag: u8, value: &T) -> Vec<u8> {
    let mut reply = vec![tag];
    if let Err(error) = encode(value, &mut reply) {
        let message = format!("the host function's result does not encode: {error}");
        reply = vec![TAG_ERROR];
        if encode(&GuestError::new("EncodeError", message), &mut reply).is_err() {
            // Three strings always encode; were it not so, an empty reply has no kind.
            reply.clear();
        }
    }
    reply
}

/// Which code answered a call, and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyMetadata {
    /// The SHA-1 of the function's module.
    pub function_hash_sha1: FunctionHash,
    /// The worker that ran it.
    pub worker_id: WorkerId,
    /// The fuel it used, exactly; `None` where the definition does not meter fuel. For calls that
    /// fail, see [`PendingCall::wait_metered`](crate::PendingCall::wait_metered).
    pub fuel_used: Option<u64>,
}
