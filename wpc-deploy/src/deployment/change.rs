//! The change that brings an item of the pool to its desired content.

use super::Deployment;
use super::desired::{Content, Desired};
use crate::item::{Item, Kind};
use crate::manifest::{self, Entry, Fake, Source};
use crate::problem::{MANIFEST, NOT_ALLOWED, Problem};
use crate::remedy::full_text;
use crate::{constant, grant};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wpc_host::{Changes, DeclaredType, Error, GuestError, WasmModule, WorkerProcedureCall};

/// An item to define.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) desired: Desired,
    what: What,
    /// The functions that it defines; `None` if its module cannot be read, so the item will be
    /// refused.
    pub(super) functions: Option<BTreeSet<String>>,
}

#[derive(Debug)]
enum What {
    Constant(DeclaredType, Value),
    Module(WasmModule),
}

impl Definition {
    /// Adds the item's change. If it is accepted, the functions in `previous`, which a module had
    /// before, are removed.
    pub(super) fn add_to(&self, changes: Changes, previous: Vec<String>) -> Changes {
        let name = self.desired.item.name.as_str();
        match (&self.what, self.desired.item.kind) {
            (What::Constant(ty, value), _) => changes.define_constant_as(name, ty, value),
            (What::Module(module), Kind::Module) => {
                changes.replace_module(previous, module.clone())
            }
            (What::Module(module), Kind::Function) => changes.define_function(name, module.clone()),
            (What::Module(module), Kind::Dependency | Kind::Constant) => {
                changes.define_dependency(name, module.clone())
            }
        }
    }
}

impl Deployment {
    /// Reads what an item defines.
    pub(super) fn definition(
        &self,
        source: &Source,
        desired: Desired,
    ) -> Result<Definition, Problem> {
        let refused = |error: &Error| refusal(source, &desired, error);
        let (what, functions) = match &desired.content {
            Content::Constant(value, declared) => {
                let (ty, value) = manifest::constant(value);
                let name = &desired.item.name;
                let ty = constant::type_of(name, ty, declared.as_ref(), &value);
                let ty = ty.map_err(|error| refused(&error))?;
                (What::Constant(ty, value), Some(BTreeSet::new()))
            }
            Content::Secret(_, value) => {
                let ty = DeclaredType::of::<String>();
                (What::Constant(ty, value.text().into()), Some(BTreeSet::new()))
            }
            Content::Module(entry, bytes) => {
                for grant in &entry.grants {
                    self.policy.check_grant(grant).map_err(|why| {
                        let message = format!("{}: {why}", desired.item);
                        source.problem(desired.at, NOT_ALLOWED, &message)
                    })?;
                }
                let module = self.module(entry, bytes).map_err(|why| {
                    source.problem(desired.at, MANIFEST, &format!("{}: {why}", desired.item))
                })?;
                let functions = match desired.item.kind {
                    Kind::Module => module.function_names().map(BTreeSet::from_iter),
                    Kind::Function => Some(BTreeSet::from([desired.item.name.clone()])),
                    Kind::Constant | Kind::Dependency => Some(BTreeSet::new()),
                };
                (What::Module(module), functions)
            }
        };
        Ok(Definition { desired, what, functions })
    }

    /// Removes the definitions of functions that another item of the manifest defines, and reports them.
    pub(super) fn remove_duplicates(
        &self,
        source: &Source,
        definitions: &mut Vec<Definition>,
        problems: &mut Vec<Problem>,
    ) {
        let items: BTreeSet<_> =
            definitions.iter().map(|definition| definition.desired.item.clone()).collect();
        let mut claimed: BTreeMap<String, Item> = BTreeMap::new();
        definitions.retain(|definition| {
            let item = &definition.desired.item;
            // An item that changes too may pass its functions to this one.
            let other = |function: &String| {
                let owner = self.owners.of(function).filter(|owner| !items.contains(*owner));
                claimed.get(function).or(owner).filter(|owner| *owner != item)
            };
            let functions = definition.functions.iter().flatten();
            let duplicate =
                functions.clone().find_map(|function| Some((function, other(function)?)));
            if let Some((function, owner)) = duplicate {
                let message = format!(
                    "{item}: function \"{function}\" is already defined by {owner}; rename one of them, in Rust with `#[wpc::function(name = \"…\")]`",
                );
                problems.push(source.problem(definition.desired.at, MANIFEST, &message));
                return false;
            }
            claimed.extend(functions.map(|function| (function.clone(), item.clone())));
            true
        });
    }

    fn module(&self, entry: &Entry, bytes: &Arc<[u8]>) -> Result<WasmModule, String> {
        let mut module = WasmModule::new(Arc::clone(bytes))
            .name(entry.file.display().to_string())
            .limits(entry.limits.chosen());
        for name in &self.host_functions {
            module = module.grant_host_function(name);
        }
        if let Some(export) = &entry.export {
            module = module.export(export);
        }
        if let Some(sha256) = &entry.sha256 {
            module = module.sha256(sha256.parse().map_err(|error| format!("`sha256`: {error}"))?);
        }
        if entry.isolated {
            module = module.isolate_calls();
        }
        if entry.canonical_nans {
            module = module.canonical_nans();
        }
        if entry.separate_sandboxes {
            module = module.separate_sandboxes();
        }
        grant::grant(module, &entry.grants, &grant::Streams::Events)
            .map_err(|error| error.to_string())
    }
}

/// The problem of a refused item.
pub(super) fn refusal(source: &Source, desired: &Desired, error: &Error) -> Problem {
    let text = match error {
        // The item names the constant.
        Error::ConstantEncode { reason, .. } => reason.clone(),
        error => full_text(error),
    };
    let message = format!("{}: {text}", desired.item);
    source.problem(desired.at, error.code().as_str(), &message)
}

/// Defines a host function that always returns the same answer.
pub(super) fn define_fake(wpc: &WorkerProcedureCall, name: &str, fake: &Fake) -> Result<(), Error> {
    let answer = match (&fake.error, &fake.value) {
        (Some(error), _) => Err(GuestError::new(error, "returned by the test's host function")),
        (None, value) => Ok(value.as_ref().map_or(Value::Null, manifest::json)),
    };
    wpc.define_host_function_json(name, &fake.signature, move |_, _| answer.clone())
}
