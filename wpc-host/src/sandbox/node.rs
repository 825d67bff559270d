//! The modules that a definition's sandboxes consist of.

use crate::definition::wasi::grant::Wasi;
use crate::module::Module;
use std::collections::HashMap;
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
}
