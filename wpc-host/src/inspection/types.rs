//! The types that signatures and constants of a module use.

use crate::information::TypeInformation;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType,
};
use std::collections::{BTreeMap, BTreeSet};
use wpc_abi::documentation::TypeDocumentation;
use wpc_abi::section::Signature;
use wpc_abi::text;

/// Joins the types declared for one item. Parts of one module may declare different ones.
pub(super) fn distinct(declared: BTreeSet<String>) -> String {
    declared.into_iter().collect::<Vec<_>>().join(" and ")
}

/// The declared types of a signature.
pub(super) fn parts(signature: &Signature) -> impl Iterator<Item = &OwnedNamedType> {
    let arguments = signature.arguments.iter().filter_map(|argument| argument.ty.as_ref());
    arguments.chain(&signature.result).chain(&signature.error)
}

/// Collects the structures and enums in these types. The key is the definition, because two modules of one guest may each
/// have a `Point`.
pub(super) fn collect_types<'a>(
    of: impl Iterator<Item = &'a OwnedNamedType>,
    types: &mut BTreeMap<String, String>,
) {
    // The depth of types was bounded when they were read.
    let mut open: Vec<&OwnedNamedType> = of.collect();
    while let Some(named) = open.pop() {
        if let Some(definition) = text::definition(named) {
            types.insert(definition, named.name.clone());
        }
        match &named.ty {
            Type::Option(inner) | Type::NewtypeStruct(inner) | Type::Seq(inner) => open.push(inner),
            Type::Tuple(items) | Type::TupleStruct(items) => open.extend(items),
            Type::Map { key, val } => open.extend([&**key, &**val]),
            Type::Struct(fields) => open.extend(fields.iter().map(|field| &field.ty)),
            Type::Enum(variants) => {
                for variant in variants {
                    match &variant.ty {
                        Variant::UnitVariant => {}
                        Variant::NewtypeVariant(inner) => open.push(inner),
                        Variant::TupleVariant(items) => open.extend(items),
                        Variant::StructVariant(fields) => {
                            open.extend(fields.iter().map(|field| &field.ty));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// The collected types by name, with their documentation. Documentation is by name, so that different types of one name
/// have none.
pub(super) fn documented(
    types: BTreeMap<String, String>,
    mut documentation: BTreeMap<String, TypeDocumentation>,
) -> Vec<TypeInformation> {
    let (mut names, mut ambiguous) = (BTreeSet::new(), BTreeSet::new());
    for name in types.values() {
        if !names.insert(name) {
            ambiguous.insert(name);
        }
    }
    documentation.retain(|name, _| !ambiguous.contains(name));
    let mut documented = Vec::with_capacity(types.len());
    for (definition, name) in types {
        let of = documentation.remove(&name).unwrap_or_default();
        let (documentation, item_documentation) = (of.text, of.items);
        documented.push(TypeInformation { name, definition, documentation, item_documentation });
    }
    documented
}
