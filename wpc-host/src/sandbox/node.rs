//! The modules that a definition's sandboxes consist of.

use crate::definition::wasi::grant::Wasi;
use crate::module::Module;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A module of a definition after the registry has resolved its dependencies.
#[derive(Debug)]
pub(crate) struct Node {
    /// How errors name it.
    pub(crate) what: Arc<str>,
    pub(crate) module: Arc<Module>,
    /// The index of each alias's module, which is always before this one.
    pub(crate) dependencies: HashMap<String, usize>,
    /// The definition's WASI grant.
    pub(crate) wasi: Option<Arc<Wasi>>,
    /// The functions that the definition may call.
    pub(crate) functions: Arc<BTreeSet<String>>,
}

impl Node {
    /// The functions of the pool that the module may call: those that it declares, or all that it was granted.
    pub(crate) fn called_functions(&self) -> Vec<String> {
        let requirements = &self.module.requirements;
        let by_name = self.functions.iter().filter(|_| requirements.calls_by_name);
        requirements.functions.keys().chain(by_name).cloned().collect()
    }
}
