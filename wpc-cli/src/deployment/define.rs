//! Defines one item of a manifest in the pool.

use super::Deployment;
use super::desired::{Content, Desired};
use crate::item::{Item, Kind};
use crate::manifest::{self, Entry, Fake, Source};
use crate::problem::{MANIFEST, Problem};
use crate::remedy::{Interface, full_text};
use crate::{constant, grant};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use wpc_host::{Error, GuestError, WasmModule, WorkerProcedureCall};

impl Deployment {
    /// Compiles a module so that the compile cache has it. Its errors are reported when it is defined.
    pub(super) fn compile(&self, content: &Content) {
        if let Content::Module(entry, bytes) = content
            && let Ok(module) = self.module(entry, bytes)
        {
            let _ = module.inspect_with(&self.options);
        }
    }

    pub(super) fn define(&mut self, source: &Source, desired: &Desired) -> Result<(), Problem> {
        let Item { kind, name } = &desired.item;
        let problem = |error: &Error| {
            source.problem(
                desired.at,
                error.code().as_str(),
                &format!("{}: {}", desired.item, full_text(error, Interface::Manifest)),
            )
        };
        let (entry, bytes) = match &desired.content {
            Content::Constant(value, declared) => {
                let (ty, value) = manifest::constant(value);
                return constant::define(&self.wpc, name, ty, declared.as_ref(), &value)
                    .map_err(|error| problem(&error));
            }
            Content::Module(entry, bytes) => (entry, bytes),
        };
        let module = self.module(entry, bytes).map_err(|why| {
            source.problem(desired.at, MANIFEST, &format!("{}: {why}", desired.item))
        })?;
        let functions: BTreeSet<String> = match kind {
            Kind::Constant | Kind::Dependency => {
                let defined = self.wpc.define_worker_dependency(name, module);
                return defined.map_err(|error| problem(&error));
            }
            Kind::Module => {
                let information =
                    module.inspect_with(&self.options).map_err(|error| problem(&error))?;
                information.functions.into_iter().map(|function| function.name).collect()
            }
            Kind::Function => BTreeSet::from([name.clone()]),
        };
        // An item that the manifest no longer lists may lose its functions to this one.
        let other = |function: &String| {
            let owner = self.owners.of(function)?;
            (*owner != desired.item && self.listed.contains(owner)).then_some(owner)
        };
        let duplicate = functions.iter().find_map(|function| Some((function, other(function)?)));
        if let Some((function, owner)) = duplicate {
            let message = format!(
                "{}: function \"{function}\" is already defined by {owner}; rename one of them, in Rust with `#[wpc::function(name = \"…\")]`",
                desired.item
            );
            return Err(source.problem(desired.at, MANIFEST, &message));
        }
        let defined = if *kind == Kind::Module {
            self.wpc.define_worker_module(module)
        } else {
            self.wpc.define_worker_function(name, module).map(|function| vec![function])
        };
        let defined = defined.map_err(|error| problem(&error))?;
        let defined = defined.into_iter().map(|function| function.name).collect();
        for removed in self.owners.replace(&desired.item, defined) {
            self.wpc.undefine_worker_function(&removed);
        }
        Ok(())
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
        if entry.grants.iter().any(|grant| grant == "stdin") {
            return Err("`stdin` cannot be granted: calls are read from standard input".to_owned());
        }
        grant::apply(module, &entry.grants, false)
            .map_err(|failure| failure.message(Interface::Manifest))
    }
}

/// Defines a host function that always returns the same answer.
pub(super) fn define_fake(wpc: &WorkerProcedureCall, name: &str, fake: &Fake) -> Result<(), Error> {
    let answer = match (&fake.error, &fake.value) {
        (Some(error), _) => Err(GuestError::new(error, "returned by the test's host function")),
        (None, value) => Ok(value.as_ref().map_or(Value::Null, manifest::json)),
    };
    wpc.define_host_function_json(name, &fake.signature, move |_, _| answer.clone())
}
