//! The types that signatures and constants of a module use.

use crate::information::{TypeInformation, inner_types};
use postcard_schema::schema::owned::OwnedNamedType;
use std::collections::{BTreeMap, BTreeSet};
use wpc_abi::documentation::TypeDocumentation;
use wpc_abi::section::Signature;
use wpc_abi::text;

/// The declared types of a signature.
pub(super) fn parts(signature: &Signature) -> impl Iterator<Item = &OwnedNamedType> {
    let arguments = signature.arguments.iter().filter_map(|argument| argument.ty.as_ref());
    arguments.chain(&signature.result).chain(&signature.error).chain(signature.items.ty())
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
        open.extend(inner_types(named));
    }
}

/// The collected types by name, with their documentation. Documentation is keyed by name, so different types that share a name
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
