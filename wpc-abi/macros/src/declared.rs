//! `#[schema(as = T)]`: declares that a type is encoded like another.

use crate::mistakes::Mistakes;
use syn::{Attribute, Token, Type};

/// The type whose schema is used, if the attribute is present.
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
