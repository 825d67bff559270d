//! Published functions and their definitions, as calls find them.

use super::circuit_breaker::CircuitBreaker;
use crate::call::reply::Callee;
use crate::codec::type_check::TypeCheck;
use crate::definition::limits::Limits;
use crate::id::Generation;
use crate::metrics::FunctionMeter;
use crate::module::{Export, Module};
use crate::sandbox::Blueprint;
use crate::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One generation of a definition: what its sandboxes are created from, and its failures.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) generation: Generation,
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) limits: Arc<Limits>,
    /// Whether its calls run on fibers, so that they can be suspended.
    pub(crate) can_suspend: bool,
    /// Every constant that the module or one of its dependencies declares.
    pub(crate) constants: Vec<String>,
    /// Every host function that the module or one of its dependencies imports.
    pub(crate) host_functions: BTreeSet<String>,
    /// Every function of the pool that the module or one of its dependencies may call.
    pub(crate) called_functions: BTreeSet<String>,
    pub(crate) circuit_breaker: CircuitBreaker,
    /// The number of published functions that use it.
    pub(super) users: AtomicUsize,
}

impl Definition {
    /// Whether another generation has replaced it, so its sandboxes can be dropped.
    #[inline]
    pub(crate) fn is_retired(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0
    }
}

/// A published function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) module: Arc<Module>,
    /// The index of its export in the module.
    pub(crate) export: usize,
    /// `Err` contains the alias of a missing dependency.
    pub(crate) definition: Result<Arc<Definition>, Arc<str>>,
    /// The counters of its calls, which its next definition continues.
    pub(crate) meter: Arc<FunctionMeter>,
    /// The Rust types that calls by name have used and that were checked.
    pub(crate) types: TypeCheck,
}

impl Function {
    pub(crate) fn export(&self) -> &Export {
        &self.module.exports[self.export]
    }

    /// The function as errors report it.
    #[inline]
    pub(crate) fn callee(&self) -> Callee<'_> {
        Callee { name: &self.name, payload_type: self.export().payload_type.as_ref() }
    }
}

/// Removes one user of a function's definition. A definition without users is retired.
pub(super) fn release(function: &Function) {
    if let Ok(definition) = &function.definition {
        definition.users.fetch_sub(1, Ordering::AcqRel);
    }
}
