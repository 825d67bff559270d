//! The arguments of a call: already encoded, or to be encoded directly into the guest's buffer.

use crate::codec::encode::encode_into;
use crate::error::Error;
use crate::system::buffers::Buffers;
use serde::Serialize;

/// The encoded arguments of a call, or values that can be encoded.
pub(crate) trait Payload {
    /// A lower bound on its size in bytes.
    fn least(&self) -> usize;

    /// Writes it to the front of `buffer` and returns its size in bytes; `None` if it does not fit there, and must be read with
    /// [`bytes`](Self::bytes).
    fn write(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Refused>;

    /// Its bytes. Must not be called after a successful [`write`](Self::write).
    fn bytes(&mut self) -> Result<&[u8], Refused>;
}

/// Why the arguments cannot be passed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refused {
    #[error("failed to encode the arguments: {0}")]
    Unencodable(String),
    #[error("the arguments have {found} bytes, which exceeds the limit of {limit} bytes")]
    TooLarge { limit: usize, found: usize },
}

impl Refused {
    /// Whether the error was caused by refused arguments, so no call was made.
    pub(crate) fn caused(error: &Error) -> bool {
        matches!(error, Error::ArgumentsEncode { .. } | Error::ArgumentsTooLarge { .. })
    }

    pub(crate) fn error(self, function: &str) -> Error {
        let function = function.to_owned();
        match self {
            Self::Unencodable(reason) => Error::ArgumentsEncode { function, reason },
            Self::TooLarge { limit, found } => Error::ArgumentsTooLarge { function, limit, found },
        }
    }
}

/// Checks the size against the limit.
#[inline]
pub(crate) fn check_size(found: usize, limit: usize) -> Result<(), Refused> {
    if found > limit { Err(Refused::TooLarge { limit, found }) } else { Ok(()) }
}

impl<A: AsRef<[u8]>> Payload for A {
    #[inline]
    fn least(&self) -> usize {
        self.as_ref().len()
    }

    #[inline]
    fn write(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Refused> {
        let bytes = (*self).as_ref();
        Ok(buffer.get_mut(..bytes.len()).map(|buffer| {
            buffer.copy_from_slice(bytes);
            bytes.len()
        }))
    }

    #[inline]
    fn bytes(&mut self) -> Result<&[u8], Refused> {
        Ok((*self).as_ref())
    }
}

/// Values that are not encoded yet. They are encoded at most once, because serializing a value may consume its content.
pub(crate) struct Unencoded<'a, T> {
    value: &'a T,
    /// The buffer for values that do not fit the guest's buffer.
    spare: &'a mut Vec<u8>,
    limit: usize,
    /// The source of memory for large values.
    buffers: Option<&'a Buffers>,
    is_encoded: bool,
}

impl<'a, T: Serialize> Unencoded<'a, T> {
    pub(crate) fn new(value: &'a T, spare: &'a mut Vec<u8>, limit: usize) -> Self {
        spare.clear();
        Self { value, spare, limit, buffers: None, is_encoded: false }
    }

    /// The same, with memory for large values from `buffers`.
    pub(crate) fn in_buffers(self, buffers: &'a Buffers) -> Self {
        Self { buffers: Some(buffers), ..self }
    }
}

impl<T: Serialize> Payload for Unencoded<'_, T> {
    #[inline]
    fn least(&self) -> usize {
        0
    }

    #[inline]
    fn write(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Refused> {
        self.is_encoded = true;
        let written = encode_into(self.value, buffer, self.spare, self.buffers)
            .map_err(|error| Refused::Unencodable(error.to_string()))?;
        check_size(written.unwrap_or(self.spare.len()), self.limit)?;
        Ok(written)
    }

    fn bytes(&mut self) -> Result<&[u8], Refused> {
        if !self.is_encoded {
            self.write(&mut [])?;
        }
        Ok(self.spare)
    }
}

#[cfg(test)]
mod tests;
