//! Detects traits of types at compile time.

use core::marker::PhantomData;
use serde::{Deserialize, Serialize};
use wpc_abi::describe::{NamedType, Schema};
use wpc_abi::documentation::Comments;

/// Detects whether a type has a schema without requiring one: an inherent constant takes precedence over a trait's, but
/// only if its bounds hold.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T: Schema> Probe<T> {
    /// The type's schema.
    pub const SCHEMA: Option<&'static NamedType> = Some(T::SCHEMA);
    /// The type's doc comments.
    pub const COMMENTS: &'static Comments = T::COMMENTS;
}

impl<T, E> Probe<Result<T, E>> {
    /// Whether the type is a `Result`.
    pub const IS_RESULT: bool = true;
}

/// The schema of an error whose type is a struct or an enum. Others, such as a string, contain no more than the message.
#[must_use]
pub const fn error_schema(schema: Option<&'static NamedType>) -> Option<&'static NamedType> {
    match schema {
        Some(schema) if is_own(schema) => Some(schema),
        _ => None,
    }
}

/// Whether the type is a struct or an enum.
pub(crate) const fn is_own(schema: &NamedType) -> bool {
    use wpc_abi::describe::DataModelType as Type;
    matches!(
        schema.ty,
        Type::UnitStruct
            | Type::NewtypeStruct(_)
            | Type::TupleStruct(_)
            | Type::Struct(_)
            | Type::Enum(_)
    )
}

/// The result of [`Probe`] for types without a schema.
pub trait NoSchema {
    /// No schema.
    const SCHEMA: Option<&'static NamedType> = None;
    /// No comments.
    const COMMENTS: &'static Comments = Comments::NONE;
}

impl<T> NoSchema for Probe<T> {}

/// The result of [`Probe`] for types other than `Result`.
pub trait NotAResult {
    /// Whether the type is a `Result`.
    const IS_RESULT: bool = false;
}

impl<T> NotAResult for Probe<T> {}

/// Compiles only for types that can be arguments.
pub fn is_argument<T: Deserialize<'static>>() {}

/// Compiles only for types that can be items.
pub fn is_item<T: Serialize + Schema>() {}

/// Compiles only for types that can be results.
pub fn is_result<T: Serialize>() {}
