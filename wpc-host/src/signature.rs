//! Signatures as text, and those of plain exports.

use crate::module::{Convention, Export, Scalar};
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use std::borrow::Cow;
use wpc_abi::section::{Argument, Signature};

/// What is known of an export's types: what its module tells, or what its wasm type says.
pub(crate) fn known(export: &Export) -> Option<Cow<'_, Signature>> {
    match (&export.signature, &export.convention) {
        (Some(told), _) => Some(Cow::Borrowed(told)),
        (None, Convention::Scalars { parameters, result }) => {
            Some(Cow::Owned(of_scalars(&export.name, parameters, *result)))
        }
        (None, Convention::Command) => Some(Cow::Owned(of_scalars(&export.name, &[], None))),
        (None, Convention::Wpc) => None,
    }
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

/// `(path: String, depth: ?) -> Vec<String>`, where `?` is a type the module does not tell.
pub(crate) fn text(signature: &Signature) -> String {
    let optional =
        |ty: &Option<OwnedNamedType>| ty.as_ref().map_or_else(|| "?".to_owned(), type_text);
    let arguments = signature
        .arguments
        .iter()
        .map(|argument| format!("{}: {}", argument.name, optional(&argument.ty)));
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    format!("({arguments}) -> {}", optional(&signature.result))
}

/// A type as a Rust author would write it: structures by their names.
pub(crate) fn type_text(named: &OwnedNamedType) -> String {
    let list =
        |items: &[OwnedNamedType]| items.iter().map(type_text).collect::<Vec<_>>().join(", ");
    match &named.ty {
        Type::Option(inner) => format!("Option<{}>", type_text(inner)),
        Type::Seq(inner) => format!("Vec<{}>", type_text(inner)),
        Type::Map { key, val } => format!("Map<{}, {}>", type_text(key), type_text(val)),
        Type::Tuple(items) => match items.as_slice() {
            [only] => format!("({},)", type_text(only)),
            items => format!("({})", list(items)),
        },
        Type::String => "String".to_owned(),
        _ => named.name.clone(),
    }
}
