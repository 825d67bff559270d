//! The types of exports, as their module declares them or as their WebAssembly type implies; and their comparison with
//! what an importer declares.

use crate::codec::arguments::Parameters;
use crate::error::Error;
use crate::module::{Convention, Export, Scalar};
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use std::borrow::Cow;
use wpc_abi::Schema;
use wpc_abi::compare::{Difference, compare_signatures};
use wpc_abi::section::{Argument, Items, Signature};

/// The declared or implied types of an export, if there are any.
pub(crate) fn known(export: &Export) -> Option<Cow<'_, Signature>> {
    match (&export.signature, &export.convention) {
        (Some(declared), _) => Some(Cow::Borrowed(declared)),
        (None, Convention::Scalars { parameters, result }) => {
            Some(Cow::Owned(of_scalars(&export.name, parameters, *result)))
        }
        (None, Convention::Command) => Some(Cow::Owned(of_scalars(&export.name, &[], None))),
        (None, Convention::Wpc) => None,
    }
}

/// The signature of a function with these Rust types.
pub(crate) fn of_types<P: Parameters, R: Schema>(name: &str) -> Signature {
    let arguments = P::schemas().into_iter().enumerate().map(|(at, schema)| Argument {
        name: format!("argument{}", at + 1),
        ty: Some(schema.into()),
    });
    Signature {
        name: name.to_owned(),
        arguments: arguments.collect(),
        result: Some(R::SCHEMA.into()),
        error: None,
        items: Items::None,
    }
}

/// Compares each declaration of a function by its importer, `what`, with the function's own types.
pub(crate) fn check(
    what: &str,
    function: impl FnOnce() -> String,
    expected: &[Signature],
    found: &Signature,
) -> Result<(), Error> {
    expected
        .iter()
        .try_for_each(|expected| compare_signatures(expected, found))
        .map_err(|difference| mismatch(what, function(), difference))
}

/// The error of a difference from what the module `what` declares.
pub(crate) fn mismatch(what: &str, item: String, difference: Difference) -> Error {
    let Difference { part, expected, found, .. } = difference;
    Error::TypeMismatch { module: what.to_owned(), item, part, expected, found }
}

fn of_scalars(name: &str, parameters: &[Scalar], result: Option<Scalar>) -> Signature {
    let arguments = parameters.iter().enumerate().map(|(at, scalar)| Argument {
        name: format!("argument{}", at + 1),
        ty: Some(type_of(Some(*scalar))),
    });
    Signature {
        name: name.to_owned(),
        arguments: arguments.collect(),
        result: Some(type_of(result)),
        error: None,
        items: Items::None,
    }
}

fn type_of(scalar: Option<Scalar>) -> OwnedNamedType {
    let (name, ty) = match scalar {
        Some(Scalar::I32) => ("i32", Type::I32),
        Some(Scalar::I64) => ("i64", Type::I64),
        Some(Scalar::F32) => ("f32", Type::F32),
        Some(Scalar::F64) => ("f64", Type::F64),
        None => ("()", Type::Unit),
    };
    OwnedNamedType { name: name.to_owned(), ty }
}
