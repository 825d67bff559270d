//! The items that a manifest lists, with the content that each must have in the pool.

use crate::constant::ConstantTypes;
use crate::document::named_content;
use crate::item::{Item, Kind};
use crate::manifest::{self, Entry, Manifest, Source};
use crate::module_file::{self, ModuleError};
use crate::policy::Policy;
use crate::problem::{ENVIRONMENT, MANIFEST, NOT_ALLOWED, Problem};
use crate::secret::{Reference, Secret};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use wpc_host::{DeclaredType, ErrorCode, Sha256Hash, WasmModule};

/// The content of an item: a definition is active if the pool has the same content.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// Its value, and the type that a module declares for it, unless the manifest states one.
    Constant(toml::Value, Option<DeclaredType>),
    /// The location of its value, and the value.
    Secret(Reference, Secret),
    Module(Box<Entry>, Arc<[u8]>),
}

/// Modules by their paths.
pub(super) type Modules = HashMap<PathBuf, Arc<[u8]>>;

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
    mut read: ModuleReader<'_>,
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
            match read.module(path, entry.get_ref().limits.chosen().module_size) {
                Ok(bytes) => {
                    let content = Content::Module(Box::new(entry.get_ref().clone()), bytes);
                    modules.push(Desired { item, content, at });
                }
                Err((code, why)) => {
                    problems.push(source.problem(at, code, &format!("{item}: {why}")));
                }
            }
        }
    }
    let declared = declared(modules.iter().map(|desired| &desired.content));
    let constants = manifest.constants.iter().filter_map(|(name, value)| {
        let item = Item { kind: Kind::Constant, name: name.clone() };
        listed.insert(item.clone());
        let at = value.span().start;
        if let Some(reference) = manifest::secret(value.get_ref()) {
            return match secret(source, reference, read.policy) {
                Ok(content) => Some(Desired { item, content, at }),
                Err((code, why)) => {
                    problems.push(source.problem(at, code, &format!("{item}: {why}")));
                    None
                }
            };
        }
        let (stated, _) = manifest::constant(value.get_ref());
        let ty = declared.get(name).filter(|_| stated.is_none()).cloned();
        let content = Content::Constant(value.get_ref().clone(), ty);
        Some(Desired { item, content, at })
    });
    constants.collect::<Vec<_>>().into_iter().chain(modules).collect()
}

/// The current value of the secret that a constant refers to.
fn secret(
    source: &Source,
    reference: &str,
    policy: &Policy,
) -> Result<Content, (&'static str, String)> {
    let reference = reference.parse::<Reference>().map_err(|why| (MANIFEST, why))?;
    let reference = reference.within(source.folder());
    policy.check_secret(&reference).map_err(|why| (NOT_ALLOWED, why))?;
    let value = reference.read().map_err(|why| (ENVIRONMENT, why))?;
    Ok(Content::Secret(reference, value))
}

/// Reads each module once.
pub(super) struct ModuleReader<'a> {
    pub(super) policy: &'a Policy,
    /// The modules that were read.
    pub(super) modules: Modules,
    /// Whether the name of each file is the hash of its content. If so, the content is verified.
    pub(super) by_content: bool,
}

impl ModuleReader<'_> {
    fn module(&mut self, path: PathBuf, limit: usize) -> Result<Arc<[u8]>, (&'static str, String)> {
        let known = self.modules.get(&path).filter(|bytes| bytes.len() <= limit);
        if let Some(bytes) = known {
            return Ok(Arc::clone(bytes));
        }
        let name = path.file_name().unwrap_or_default();
        let failed = |error: ModuleError| {
            let text = if self.by_content && error.is_not_found() {
                format!("the module \"{}\" is missing; upload it again", name.display())
            } else {
                error.full_text()
            };
            (error.code(), text)
        };
        let bytes: Arc<[u8]> = module_file::bytes(&path, limit).map_err(failed)?.into();
        if self.by_content && named_content(name.as_ref()) != Some(Sha256Hash::of(&bytes)) {
            let message = format!(
                "the module \"{}\" is damaged: its SHA-256 is {}; upload it again",
                name.display(),
                Sha256Hash::of(&bytes)
            );
            return Err((ErrorCode::Sha256Mismatch.as_str(), message));
        }
        self.modules.insert(path, Arc::clone(&bytes));
        Ok(bytes)
    }
}

/// The types that modules declare for constants.
pub(super) fn declared<'a>(contents: impl Iterator<Item = &'a Content>) -> ConstantTypes {
    let mut declared = ConstantTypes::default();
    let mut seen = HashSet::new();
    for content in contents {
        // Entries with the same file share its bytes.
        if let Content::Module(_, bytes) = content
            && seen.insert(Arc::as_ptr(bytes))
        {
            declared.add(&WasmModule::new(Arc::clone(bytes)));
        }
    }
    declared
}
