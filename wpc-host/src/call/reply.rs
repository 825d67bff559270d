//! A guest's reply: borrowed from the guest's memory, owned by the call for its caller, and the error that it may carry.

use crate::codec::decode::{decode_bytes, decode_owned, from_vec};
use crate::codec::encode::encode;
use crate::codec::type_check::Declared;
use crate::error::{Error, PayloadType};
use crate::id::{FunctionHash, WorkerId};
use crate::system::buffers::{Buffers, LARGE, Loan, fits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, TryLockError};
use wpc_abi::GuestError;
use wpc_abi::reply::{Reply as Split, TAG_ERROR, TAG_VALUE, length, plain_error};

/// The function that replied, for error reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub(crate) name: &'a str,
    /// The declared type of its errors, if any.
    pub(crate) payload_type: Option<&'a PayloadType>,
}

/// A reply in a guest's memory, whose kind is known to be valid.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BorrowedReply<'a> {
    /// The kind, then postcard.
    Encoded(&'a [u8]),
    /// A value that is one string or byte sequence, without the length that postcard puts before it.
    Bytes(&'a [u8]),
}

impl BorrowedReply<'_> {
    /// The kind, then postcard, in `buffer` if it fits there. This form is for another guest, so an error's payload is left out.
    pub(crate) fn to_encoded(self, buffer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Encoded([TAG_ERROR, error @ ..]) => {
                written(buffer, &[&[TAG_ERROR], plain_error(error)], None)
            }
            Self::Encoded(bytes) => written(buffer, &[bytes], None),
            Self::Bytes(bytes) => {
                let (length, used) = length(bytes.len());
                written(buffer, &[&[TAG_VALUE], &length[..used], bytes], None)
            }
        }
    }

    /// Copies the value for its caller, into `buffer` if it fits there, or returns the error that the reply carries.
    /// If the value does not fit, a large `buffer` goes to `buffers`, and a large one is taken from there.
    pub(crate) fn to_body<'c>(
        self,
        buffer: Vec<u8>,
        buffers: &Arc<Buffers>,
        callee: impl FnOnce() -> Callee<'c>,
    ) -> Result<Body, Box<Error>> {
        match self {
            Self::Encoded(bytes @ [TAG_VALUE, ..]) => {
                Ok(Body::Encoded(written(buffer, &[bytes], Some(buffers))))
            }
            Self::Encoded(_) => Err(self.failure(callee())),
            Self::Bytes(bytes) => {
                let loan = (bytes.len() >= LARGE).then(|| Buffers::lend(buffers));
                let bytes = written(buffer, &[bytes], Some(buffers));
                Ok(Body::Bytes(Mutex::new(Some(Kept { bytes, loan }))))
            }
        }
    }

    /// The error of a reply without a value.
    #[cold]
    fn failure(self, callee: Callee<'_>) -> Box<Error> {
        let function = callee.name.to_owned();
        let split = match self {
            Self::Encoded(bytes) => Split::split(bytes),
            Self::Bytes(_) => None,
        };
        let broken = |error| format!("failed to decode its error: {error}");
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
                "its reply has no valid kind".to_owned()
            }
        };
        Error::BadReply { function, reason }.into()
    }

    /// The decoded value, or the error that the reply carries.
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

impl BorrowedReply<'_> {
    /// The decoded value, compared with the declared type, or the error that the reply carries.
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

/// A reply with a value, copied for the caller, with the module and worker that gave it.
#[derive(Debug)]
pub(crate) struct OwnedReply {
    pub(crate) body: Body,
    pub(crate) metadata: ReplyMetadata,
}

/// The value of an owned reply.
pub(crate) enum Body {
    /// The kind, then postcard.
    Encoded(Vec<u8>),
    /// The bytes of a [`BorrowedReply::Bytes`], until the first reader takes them. Readers do not wait for the lock: if it is
    /// held, another reader takes the bytes.
    Bytes(Mutex<Option<Kept>>),
}

/// The bytes of a [`BorrowedReply::Bytes`].
pub(crate) struct Kept {
    bytes: Vec<u8>,
    /// Returns the buffer, or the one exchanged for it, to the pool; `None` for small replies.
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
    /// Omits the bytes, which may be large, and whose lock only readers may hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Encoded(_) => "Encoded(..)",
            Self::Bytes(_) => "Bytes(..)",
        })
    }
}

impl Body {
    /// The reply of a function that returns nothing.
    pub(crate) fn nothing() -> Self {
        Self::Encoded(vec![TAG_VALUE])
    }

    /// The decoded value.
    pub(crate) fn take<R: DeserializeOwned + 'static>(&self, function: &str) -> Result<R, Error> {
        match self {
            Self::Encoded(bytes) => BorrowedReply::Encoded(bytes).value(|| value_of(function)),
            Self::Bytes(kept) => take_over(kept)
                .ok_or_else(|| TAKEN.to_owned())
                .and_then(Kept::value)
                .map_err(|reason| not_decoded::<R>(function, reason)),
        }
        .map_err(|error| *error)
    }

    /// Replaces the content of `into` with the value. A large value's buffer is exchanged with that of `into`; a small value
    /// is copied, so that `into` keeps its capacity. After an error `into` is unchanged.
    pub(crate) fn take_into(&self, function: &str, into: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Encoded(bytes) => {
                let value: Vec<u8> = BorrowedReply::Encoded(bytes)
                    .value(|| value_of(function))
                    .map_err(|error| *error)?;
                replace(into, value, None);
            }
            Self::Bytes(kept) => {
                let kept = take_over(kept)
                    .ok_or_else(|| *not_decoded::<Vec<u8>>(function, TAKEN.to_owned()))?;
                replace(into, kept.bytes, kept.loan);
            }
        }
        Ok(())
    }

    /// The encoded value.
    pub(crate) fn take_encoded(&self, function: &str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Encoded(bytes) => Ok(bytes.get(1..).unwrap_or_default().to_vec()),
            Self::Bytes(kept) => {
                let Kept { mut bytes, .. } = take_over(kept)
                    .ok_or_else(|| *not_decoded::<()>(function, TAKEN.to_owned()))?;
                let (length, used) = length(bytes.len());
                // In the same buffer, because a large value would need as much memory again.
                bytes.reserve_exact(used);
                bytes.splice(..0, length[..used].iter().copied());
                Ok(bytes)
            }
        }
    }
}

impl Body {
    /// The kind and the encoded value, for another guest.
    pub(crate) fn take_reply(&self, function: &str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Encoded(bytes) => Ok(bytes.clone()),
            Self::Bytes(kept) => {
                let Kept { bytes, loan } = take_over(kept)
                    .ok_or_else(|| *not_decoded::<()>(function, TAKEN.to_owned()))?;
                let reply = BorrowedReply::Bytes(&bytes).to_encoded(Vec::new());
                if let Some(loan) = loan {
                    loan.put(bytes);
                }
                Ok(reply)
            }
        }
    }
}

/// The callee of a reply that carries a value, whose error type is not needed.
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

/// The bytes, unless another reader has taken them.
fn take_over(kept: &Mutex<Option<Kept>>) -> Option<Kept> {
    match kept.try_lock() {
        Ok(mut kept) => kept.take(),
        Err(TryLockError::Poisoned(kept)) => kept.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Concatenates the parts in `buffer` if they [fit](fits), so that its memory is reused and
/// returns to the thread that allocated it. Otherwise a large `buffer` goes to `buffers`, and a large one is taken from there.
#[inline]
fn written(mut buffer: Vec<u8>, parts: &[&[u8]], buffers: Option<&Buffers>) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    if fits(&buffer, len) {
        buffer.clear();
    } else if let Some(buffers) = buffers {
        buffers.put(std::mem::replace(&mut buffer, buffers.take(len)));
    } else {
        buffer = Vec::with_capacity(len);
    }
    parts.iter().for_each(|part| buffer.extend_from_slice(part));
    buffer
}

const TAKEN: &str = "the answer was already read, and the first reader took its bytes";

#[cold]
fn not_decoded<R>(function: &str, reason: String) -> Box<Error> {
    let (function, wanted) = (function.to_owned(), std::any::type_name::<R>());
    Error::ResultDecode { function, wanted, reason }.into()
}

/// The reply of a host function to the guest that called it: the kind, then the value.
pub(crate) fn encode_reply<T: Serialize + ?Sized>(kind: u8, value: &T) -> Vec<u8> {
    let mut reply = vec![kind];
    if let Err(error) = encode(value, &mut reply) {
        let message = format!("failed to encode the host function's result: {error}");
        reply = vec![TAG_ERROR];
        if encode(&GuestError::new("EncodeError", message), &mut reply).is_err() {
            // Three strings can always be encoded. If not, an empty reply is an error, because it has no kind.
            reply.clear();
        }
    }
    reply
}

/// Which module and worker answered a call, and the fuel used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplyMetadata {
    /// The SHA-1 of the function's module.
    pub function_hash_sha1: FunctionHash,
    /// The worker that ran it.
    pub worker_id: WorkerId,
    /// The exact fuel used; `None` if the definition does not meter fuel. For calls that
    /// fail, see [`PendingCall::wait_metered`](crate::PendingCall::wait_metered).
    pub fuel_used: Option<u64>,
}

impl ReplyMetadata {
    /// The metadata of a call without metered fuel. `fuel_used` can be set afterwards.
    #[must_use]
    pub fn new(function_hash_sha1: FunctionHash, worker_id: WorkerId) -> Self {
        Self { function_hash_sha1, worker_id, fuel_used: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_in_their_own_buffer() {
        let mut bytes = Vec::with_capacity(1000);
        bytes.resize(300, 7);
        let buffer = bytes.as_ptr();
        let body = Body::Bytes(Mutex::new(Some(Kept { bytes, loan: None })));
        let encoded = body.take_encoded("f").unwrap();
        assert_eq!(encoded.as_ptr(), buffer);
        assert_eq!(postcard::from_bytes::<Vec<u8>>(&encoded).unwrap(), [7; 300]);
    }
}
