//! Decodes arguments.

use super::Probe;
use crate::text;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;

/// Decodes arguments from all of `bytes`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn decode_arguments<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((arguments, [])) => Ok(arguments),
        Ok((_, rest)) => Err(left_over(rest)),
        Err(error) => Err(text::decode_reason(&error).into()),
    }
}

pub(super) fn left_over(rest: &[u8]) -> String {
    text::joined(&[&text::trailing(rest.len()), " after the last argument"])
}

/// Decodes the next argument.
pub trait TakeAny<'a>: Sized {
    /// The argument's type.
    type Argument;

    /// Decodes an argument from the start of `rest`.
    ///
    /// # Errors
    ///
    /// The reason if the bytes do not decode.
    fn take(rest: &mut &'a [u8]) -> postcard::Result<Self::Argument>;
}

impl<'a, T: Deserialize<'a>> TakeAny<'a> for Probe<T> {
    type Argument = T;

    fn take(rest: &mut &'a [u8]) -> postcard::Result<T> {
        let (argument, left) = postcard::take_from_bytes(rest)?;
        *rest = left;
        Ok(argument)
    }
}

impl Probe<Vec<u8>> {
    /// Copies the bytes at once, where serde would decode them one by one.
    ///
    /// # Errors
    ///
    /// The reason if the bytes do not decode.
    pub fn take(rest: &mut &[u8]) -> postcard::Result<Vec<u8>> {
        <Probe<&[u8]> as TakeAny<'_>>::take(rest).map(<[u8]>::to_vec)
    }
}
