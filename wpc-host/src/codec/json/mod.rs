//! JSON to and from the bytes that guests understand, by the types that a module declares. The crate's documentation has
//! the table of types and their JSON.
//!
//! Types come from modules and bytes from guests, so both are assumed to be hostile. Postcard itself is implemented by its
//! crate.

mod bytes;
mod guest_payload;
mod number;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use bytes::{bytes_of, encode_bytes, is_bytes};
pub(crate) use read::{decode, decode_to_text};
pub(crate) use write::{encode, encode_arguments, positional};

use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};

/// Whether the type's values are strings, which are keys of an object.
fn is_text(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::String => true,
        Type::NewtypeStruct(inner) => is_text(inner),
        _ => false,
    }
}

/// Whether a value of the type may be `null` by itself.
fn may_be_null(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::Unit | Type::UnitStruct | Type::Option(_) => true,
        Type::NewtypeStruct(inner) => may_be_null(inner),
        _ => false,
    }
}
