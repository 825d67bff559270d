//! The arguments and the result of plain exports, which are numbers.

use super::failure::Failure;
use crate::codec::decode::trailing;
use crate::error::counted;
use crate::module::Scalar;
use smallvec::SmallVec;
use wasmtime::Val;
use wpc_abi::reply::TAG_VALUE;

/// The arguments of a plain export. Few functions have more than eight; their arguments are allocated.
pub(super) type Values = SmallVec<[Val; 8]>;

pub(super) fn decode(parameters: &[Scalar], arguments: &[u8]) -> Result<Values, Failure> {
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
        "it takes {}, but the arguments have {}",
        counted(parameters.len(), "argument"),
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

/// A number as a reply: a kind and at most ten bytes. Encoding a number cannot fail; if it did, the reply would be empty,
/// which is not a value.
pub(super) fn encode(value: Option<&Val>) -> impl std::ops::Deref<Target = [u8]> {
    const MAX: usize = 11;
    struct Short([u8; MAX], usize);
    impl std::ops::Deref for Short {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            &self.0[..self.1]
        }
    }
    let mut reply = [TAG_VALUE; MAX];
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
