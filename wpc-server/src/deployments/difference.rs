//! The differences between two revisions: their items, and the declarations of the items' modules.

use super::{Deployments, Refusal, source};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use wpc_deploy::document::{differences, named_content};
use wpc_host::ModuleInformation;

/// An item that differs.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    /// `constant`, `dependency`, `module` or `function`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) change: ChangeKind,
    pub(crate) before: Option<Side>,
    pub(crate) after: Option<Side>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    Added,
    Changed,
    Removed,
}

/// An item in one of the revisions.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    /// Its table or value in the manifest.
    pub(crate) entry: Value,
    /// The declarations of its module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) module: Option<Declared>,
}

/// The declarations of a module that are relevant for an operator.
#[derive(Debug, Serialize)]
pub(crate) struct Declared {
    pub(crate) sha1: String,
    pub(crate) sha256: String,
    pub(crate) size: usize,
    /// The functions with their types; `null` if the module does not declare them.
    pub(crate) signatures: BTreeMap<String, Option<String>>,
    /// Every import, as `module.name: kind`.
    pub(crate) imports: Vec<String>,
    pub(crate) required_capabilities: Vec<wpc_host::Capability>,
    pub(crate) required_wasi_grants: Vec<String>,
    pub(crate) required_functions: Vec<String>,
    pub(crate) required_dependencies: Vec<String>,
    pub(crate) required_constants: Vec<String>,
    pub(crate) required_host_functions: Vec<String>,
}

impl From<ModuleInformation> for Declared {
    fn from(module: ModuleInformation) -> Self {
        let signatures = module.functions.into_iter().map(|function| {
            (function.name, function.signature.map(|signature| signature.to_string()))
        });
        let dependencies = module.required_dependencies.into_iter();
        Self {
            sha1: module.hash_sha1.to_string(),
            sha256: module.hash_sha256.to_string(),
            size: module.size,
            signatures: signatures.collect(),
            imports: module.imports,
            required_capabilities: module.required_capabilities,
            required_wasi_grants: module.required_wasi_grants,
            required_functions: module.required_functions,
            required_dependencies: dependencies.map(|required| required.alias).collect(),
            required_constants: module.required_constants,
            required_host_functions: module.required_host_functions,
        }
    }
}

impl Deployments {
    /// The items that differ between the texts of two manifests.
    pub(crate) fn differences(
        &self,
        before: &str,
        after: &str,
    ) -> Result<Vec<Difference>, Refusal> {
        let source = |text: &str| source(self.modules(), text.to_owned());
        let mut found = Vec::new();
        for difference in differences(&source(before), &source(after)) {
            let change = match (&difference.before, &difference.after) {
                (None, _) => ChangeKind::Added,
                (_, None) => ChangeKind::Removed,
                _ => ChangeKind::Changed,
            };
            found.push(Difference {
                kind: difference.item.kind.as_str(),
                name: difference.item.name,
                change,
                before: self.side(difference.before)?,
                after: self.side(difference.after)?,
            });
        }
        Ok(found)
    }

    fn side(&self, entry: Option<Value>) -> Result<Option<Side>, Refusal> {
        let Some(entry) = entry else { return Ok(None) };
        let file = entry.get("file").and_then(Value::as_str);
        let module = match file.and_then(|file| named_content(Path::new(file))) {
            Some(hash) => self.modules().information(hash)?.map(Declared::from),
            None => None,
        };
        Ok(Some(Side { entry, module }))
    }
}
