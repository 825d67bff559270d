//! Changes to a registry: as requested, and after their modules were compiled, which takes a long time.

use super::dependency::Dependency;
use super::sources::Group;
use super::types::ConstantType;
use super::{Registry, check_name};
use crate::definition::WasmModule;
use crate::error::{Definable, Error};
use crate::host_function::HostFunction;
use crate::id::FunctionHash;
use crate::module::engine::Profile;
use crate::module::{self, Module};
use std::sync::Arc;
use wpc_abi::names;
use wpc_abi::section::Signature;

/// A change to an item, by its name. A module has the names of its functions.
#[derive(Debug)]
pub(crate) enum Change {
    Function {
        name: String,
        source: WasmModule,
    },
    /// Removes the functions `replaced`, and defines those of the module.
    Module {
        source: WasmModule,
        replaced: Vec<String>,
    },
    Dependency {
        alias: String,
        source: WasmModule,
    },
    Constant {
        name: String,
        ty: ConstantType,
        value: Vec<u8>,
    },
    HostFunction {
        name: String,
        signature: Option<Signature>,
        function: HostFunction,
    },
    Remove {
        kind: Definable,
        name: String,
    },
    /// A definition that was refused when it was requested, such as a constant that cannot be encoded.
    Refused {
        kind: Definable,
        name: String,
        error: Error,
    },
}

impl Change {
    pub(crate) fn kind(&self) -> Definable {
        match self {
            Self::Function { .. } | Self::Module { .. } => Definable::Function,
            Self::Dependency { .. } => Definable::Dependency,
            Self::Constant { .. } => Definable::Constant,
            Self::HostFunction { .. } => Definable::HostFunction,
            Self::Remove { kind, .. } | Self::Refused { kind, .. } => *kind,
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Function { name, .. }
            | Self::Dependency { alias: name, .. }
            | Self::Constant { name, .. }
            | Self::HostFunction { name, .. }
            | Self::Remove { name, .. }
            | Self::Refused { name, .. } => name.clone(),
            Self::Module { source, .. } => match &source.name {
                Some(name) => format!("every function of {name}"),
                None => "the module's functions".to_owned(),
            },
        }
    }
}

/// A change whose own modules are compiled and checked. It has not been compared with other items yet.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Groups to define after these functions are removed.
    Groups(Vec<Arc<str>>, Vec<Arc<Group>>),
    Dependency(Arc<str>, Arc<Dependency>),
    Constant(Arc<str>, ConstantType, Arc<[u8]>),
    HostFunction(Arc<str>, Option<Signature>, Arc<HostFunction>),
    Remove(Definable, Arc<str>),
}

impl Registry {
    pub(super) fn prepare(&self, change: Change) -> Result<Prepared, Error> {
        Ok(match change {
            Change::Function { name, source } => {
                Prepared::Groups(Vec::new(), vec![self.function_group(&name, &source)?])
            }
            Change::Module { source, replaced } => {
                let replaced = replaced.into_iter().map(Into::into).collect();
                Prepared::Groups(replaced, self.module_groups(&source)?)
            }
            Change::Dependency { alias, source } => {
                let dependency = self.compile_dependency(&alias, source)?;
                Prepared::Dependency(alias.into(), Arc::new(dependency))
            }
            Change::Constant { name, ty, value } => {
                check_name("constant", &name)?;
                Prepared::Constant(name.into(), ty, value.into())
            }
            Change::HostFunction { name, signature, function } => {
                check_name("host function", &name)?;
                Prepared::HostFunction(name.into(), signature, Arc::new(function))
            }
            Change::Remove { kind, name } => Prepared::Remove(kind, name.into()),
            Change::Refused { error, .. } => return Err(error),
        })
    }

    fn function_group(&self, name: &str, source: &WasmModule) -> Result<Arc<Group>, Error> {
        check_name("function", name)?;
        let what = format!("function \"{name}\"");
        let title = source.title(|| format!("the module of {what}"));
        let profile = self.profile(source);
        let module = self.compiler.compile(&title, source, profile)?;
        let export = module.export_for(&title, name, source.export.as_deref())?.name.clone();
        let export = position(&module, &export);
        Group::new(what, module, source, profile, vec![(name.into(), export)]).map(Arc::new)
    }

    /// Every function that a module offers, under the name of its export. Exports whose names could forge log lines are
    /// skipped; [`WasmModule::export`] can define them under another name.
    fn module_groups(&self, source: &WasmModule) -> Result<Vec<Arc<Group>>, Error> {
        if let Some(export) = &source.export {
            return Err(Error::InvalidOptions {
                problems: vec![format!(
                    "`export` (\"{export}\") has no effect when every function of a module is defined"
                )],
            });
        }
        let profile = self.profile(source);
        let title = source
            .title(|| format!("the module with the SHA-1 {}", FunctionHash::of(&source.bytes)));
        let module = self.compiler.compile(&title, source, profile)?;
        let what = source.title(|| format!("functions {}", module.offered_names().join(", ")));
        if module.offered_exports().is_empty() {
            return Err(Error::MissingExport {
                what: title,
                wanted: "any".to_owned(),
                offered: Vec::new(),
            });
        }
        let (offered, skipped): (Vec<_>, Vec<_>) = module
            .offered_exports()
            .into_iter()
            .partition(|(_, export)| names::is_export_name(&export.name));
        if let ([], [(_, export), ..]) = (offered.as_slice(), skipped.as_slice()) {
            return Err(Error::InvalidName {
                what: "function",
                name: export.name.clone(),
                rule: names::EXPORT_NAME_RULE,
            });
        }
        let functions = offered.iter().map(|(at, export)| (Arc::from(export.name.as_str()), *at));
        if !source.has_separate_sandboxes {
            let functions = functions.collect();
            let group = Group::new(what, module, source, profile, functions)?;
            return Ok(vec![Arc::new(group)]);
        }
        let groups = functions.map(|(name, at)| {
            let what = format!("function \"{name}\"");
            let functions = vec![(name, at)];
            Group::new(what, Arc::clone(&module), source, profile, functions).map(Arc::new)
        });
        groups.collect()
    }

    fn profile(&self, source: &WasmModule) -> Profile {
        let profile = self.engines.profile(&source.limits, source.has_canonical_nans);
        // Known before it is compiled, so that it is compiled once.
        let may_wait = module::may_wait(&source.bytes, source.grants.wasi.as_ref());
        if may_wait { profile.with_fibers() } else { profile }
    }

    fn compile_dependency(&self, alias: &str, source: WasmModule) -> Result<Dependency, Error> {
        check_name("dependency", alias)?;
        if alias == names::HOST_MODULE {
            let (what, name) = ("dependency", alias.to_owned());
            return Err(Error::InvalidName {
                what,
                name,
                rule: "differ from the name of the host's import module",
            });
        }
        let what = format!("dependency \"{alias}\"");
        if source.export.is_some() {
            return Err(Error::InvalidOptions {
                problems: vec![format!(
                    "`export` of {what} has no effect: all its exports can be linked"
                )],
            });
        }
        // The functions that use the dependency decide its final profile.
        let title = source.title(|| format!("the module of {what}"));
        let module = self.compiler.compile(&title, &source, self.engines.plain())?;
        let wasi = source.grants.open_wasi(&what)?;
        Ok(Dependency { module, source, wasi })
    }
}

fn position(module: &Module, export: &str) -> usize {
    module.exports.iter().position(|other| other.name == export).unwrap_or_default()
}
