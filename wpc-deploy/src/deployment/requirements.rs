//! The dependencies and constants that the pool's functions require.

use super::Deployment;
use crate::item::{Item, Kind};
use crate::manifest::{Manifest, Source};
use crate::problem::Problem;
use std::collections::{HashMap, HashSet};
use wpc_host::WorkerProcedureCall;

/// The names of required dependencies and constants, each with one function that requires it.
pub(super) struct Requirements {
    dependencies: HashMap<String, String>,
    constants: HashMap<String, String>,
}

impl Requirements {
    pub(super) fn of(wpc: &WorkerProcedureCall) -> Self {
        let (mut dependencies, mut constants) = (HashMap::new(), HashMap::new());
        for function in wpc.get_remote_functions() {
            for (required, users) in [
                (function.required_dependencies, &mut dependencies),
                (function.required_constants, &mut constants),
            ] {
                for name in required {
                    users.entry(name).or_insert_with(|| function.name.clone());
                }
            }
        }
        Self { dependencies, constants }
    }

    /// A function that requires the item.
    pub(super) fn user_of(&self, item: &Item) -> Option<&str> {
        let users = match item.kind {
            Kind::Constant => &self.constants,
            Kind::Dependency => &self.dependencies,
            Kind::Module | Kind::Function => return None,
        };
        users.get(&item.name).map(String::as_str)
    }
}

impl Deployment {
    /// Reports dependencies and constants that functions require and the manifest does not define.
    pub(super) fn report_missing_requirements(
        &self,
        source: &Source,
        manifest: &Manifest,
        problems: &mut Vec<Problem>,
    ) {
        let dependencies = self.wpc.get_worker_dependencies().into_iter();
        let aliases: HashSet<_> = dependencies.map(|dependency| dependency.alias).collect();
        let constants = self.wpc.get_worker_constants().into_iter();
        let constants: HashSet<_> = constants.map(|constant| constant.name).collect();
        for function in self.wpc.get_remote_functions() {
            let Some(owner) = self.owners.of(&function.name) else { continue };
            let table =
                if owner.kind == Kind::Module { &manifest.modules } else { &manifest.functions };
            let at = table.get(&owner.name).map_or(0, |entry| entry.span().start);
            let mut report = |kind: &str, code, required: &[String], defined: &HashSet<String>| {
                for name in required.iter().filter(|name| !defined.contains(*name)) {
                    let message =
                        format!("{owner} needs {kind} \"{name}\", which is not defined; define it");
                    let problem = source.problem(at, code, &message);
                    // All functions of a module have the same requirements.
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            };
            report(
                "dependency",
                "dependency_not_defined",
                &function.required_dependencies,
                &aliases,
            );
            report("constant", "constant_not_defined", &function.required_constants, &constants);
        }
    }
}
