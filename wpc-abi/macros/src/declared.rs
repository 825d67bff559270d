//! `#[schema(as = T)]`: a type whose bytes are those of another.

use crate::mistakes::Mistakes;
use syn::{Attribute, Token, Type};

/// The type that stands for this one in the schema.
pub(crate) fn declared(attributes: &[Attribute], mistakes: &mut Mistakes) -> Option<Type> {
    let mut declared = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("schema")) {
        let read = attribute.parse_args_with(|input: syn::parse::ParseStream<'_>| {
            input.parse::<Token![as]>()?;
            input.parse::<Token![=]>()?;
            input.parse::<Type>()
        });
        match read {
            Ok(ty) => declared = Some(ty),
            Err(_) => mistakes.add(attribute, "expected `#[schema(as = Type)]`"),
        }
    }
    declared
}
