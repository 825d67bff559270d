//! The items that a manifest lists, with the content that each must have in the pool.

use crate::constant::ConstantTypes;
use crate::item::{Item, Kind};
use crate::manifest::{self, Entry, Manifest, Source};
use crate::module_file;
use crate::problem::Problem;
use std::collections::BTreeSet;
use std::sync::Arc;
use wpc_host::{DeclaredType, WasmModule};

/// The content of an item: a definition is active if the pool has the same content.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// Its value, and the type that a module declares for it, unless the manifest states one.
    Constant(toml::Value, Option<DeclaredType>),
    Module(Box<Entry>, Arc<[u8]>),
}

#[derive(Debug, Clone)]
pub(super) struct Desired {
    pub(super) item: Item,
    pub(super) content: Content,
    /// Its byte offset in the manifest.
    pub(super) at: usize,
}

/// All items of the manifest, in the order in which they are defined. `listed` receives every item, including those
/// whose module cannot be read, so that their active definitions are kept.
pub(super) fn desired(
    source: &Source,
    manifest: &Manifest,
    listed: &mut BTreeSet<Item>,
    problems: &mut Vec<Problem>,
) -> Vec<Desired> {
    let mut modules = Vec::new();
    for (kind, entries) in [
        (Kind::Dependency, &manifest.dependencies),
        (Kind::Module, &manifest.modules),
        (Kind::Function, &manifest.functions),
    ] {
        for (name, entry) in entries {
            let item = Item { kind, name: name.clone() };
            listed.insert(item.clone());
            let path = source.folder().join(&entry.get_ref().file);
            let at = entry.span().start;
            match module_file::bytes(&path, entry.get_ref().limits.chosen().module_size) {
                Ok(bytes) => {
                    let content = Content::Module(Box::new(entry.get_ref().clone()), bytes.into());
                    modules.push(Desired { item, content, at });
                }
                Err(error) => {
                    let message = format!("{item}: {}", error.full_text());
                    problems.push(source.problem(at, error.code(), &message));
                }
            }
        }
    }
    let declared = declared(modules.iter().map(|desired| &desired.content));
    let constants = manifest.constants.iter().map(|(name, value)| {
        let item = Item { kind: Kind::Constant, name: name.clone() };
        listed.insert(item.clone());
        let (stated, _) = manifest::constant(value.get_ref());
        let ty = declared.get(name).filter(|_| stated.is_none()).cloned();
        let content = Content::Constant(value.get_ref().clone(), ty);
        Desired { item, content, at: value.span().start }
    });
    constants.collect::<Vec<_>>().into_iter().chain(modules).collect()
}

/// The types that modules declare for constants.
pub(super) fn declared<'a>(contents: impl Iterator<Item = &'a Content>) -> ConstantTypes {
    let mut declared = ConstantTypes::default();
    for content in contents {
        if let Content::Module(_, bytes) = content {
            declared.add(&WasmModule::new(Arc::clone(bytes)));
        }
    }
    declared
}
