//! What an embedder passes to define functions: the bytes of a module, its limits and its grants.

pub(crate) mod grants;
pub(crate) mod limits;
pub(crate) mod wasi;

use crate::capability::Capability;
use crate::definition::grants::Grants;
use crate::definition::limits::Limits;
use crate::id::Sha256Hash;
use std::sync::Arc;

/// A WebAssembly module with the limits and grants of its definition. Cheap to clone: clones share the bytes.
///
/// ```no_run
/// use wpc_host::{Capability, Limits, WasmModule};
///
/// let module = WasmModule::new(std::fs::read("resize.wasm")?)
///     .export("resize")
///     .limits(Limits::default().memory(64 << 20))
///     .grant(Capability::Clock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WasmModule {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) export: Option<String>,
    pub(crate) sha256: Option<Sha256Hash>,
    /// Shared by clones and by the definitions of clones.
    pub(crate) limits: Arc<Limits>,
    pub(crate) grants: Grants,
    pub(crate) has_canonical_nans: bool,
    pub(crate) has_separate_sandboxes: bool,
    pub(crate) isolates_calls: bool,
}

impl WasmModule {
    /// Creates a module from its bytes, with default limits and without grants.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            bytes: bytes.into(),
            name: None,
            export: None,
            sha256: None,
            limits: Arc::default(),
            grants: Grants::default(),
            has_canonical_nans: false,
            has_separate_sandboxes: false,
            isolates_calls: false,
        }
    }

    /// Sets the name of the module in errors, for example the name of its file. Without a name, errors name the module by
    /// what is defined from it.
    ///
    /// ```
    /// # fn main() -> Result<(), wpc_host::Error> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// let module = wpc_host::WasmModule::new(b"no module".as_slice()).name("resize.wasm");
    /// let error = wpc.define_worker_module(module).unwrap_err();
    /// assert!(error.to_string().starts_with("module \"resize.wasm\" is not WebAssembly"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How errors name the module.
    pub(crate) fn title(&self, otherwise: impl FnOnce() -> String) -> String {
        match &self.name {
            Some(name) => format!("module {name:?}"),
            None => otherwise(),
        }
    }

    /// Selects the export, if its name differs from that of the function.
    #[must_use]
    pub fn export(mut self, export: impl Into<String>) -> Self {
        self.export = Some(export.into());
        self
    }

    /// Sets the SHA-256 that the bytes must have.
    #[must_use]
    pub fn sha256(mut self, hash: Sha256Hash) -> Self {
        self.sha256 = Some(hash);
        self
    }

    /// Sets the limits of the definition.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// Grants a host function, see
    /// [`define_host_function`](crate::WorkerProcedureCall::define_host_function).
    #[must_use]
    pub fn grant_host_function(mut self, name: impl Into<String>) -> Self {
        self.grants.add_host_function(name.into());
        self
    }

    /// Allows the module to call the pool's function of this name. The called function runs in its own sandbox with its own
    /// limits, grants and circuit breaker, and need not be defined yet.
    ///
    /// A call waits without occupying a worker, so calls of this definition [can
    /// suspend](crate::FunctionInformation::can_suspend). It ends at the latest when its caller must end. At most
    /// [`MAX_CALL_DEPTH`](crate::MAX_CALL_DEPTH) calls may be nested, and no function may call itself, directly or through
    /// others.
    #[must_use]
    pub fn grant_function(mut self, name: impl Into<String>) -> Self {
        self.grants.add_function(name.into());
        self
    }

    /// Canonicalizes NaNs: every NaN has the same bits on every processor architecture. A function without clocks and
    /// randomness then returns the same bytes everywhere; on one architecture it does so without this setting.
    /// Floating-point arithmetic takes up to twice as long.
    #[must_use]
    pub fn canonical_nans(mut self) -> Self {
        self.has_canonical_nans = true;
        self
    }

    /// Gives every function of [`define_worker_module`](crate::WorkerProcedureCall::define_worker_module) its own
    /// sandboxes.
    ///
    /// By default, the functions of a module share one sandbox on each worker, and therefore its state, its restarts and
    /// its circuit breaker: if one function traps, calls to the others wait until the sandbox restarts. With this setting each
    /// function has its own, which takes one sandbox per function. Functions that are defined individually never share
    /// sandboxes.
    #[must_use]
    pub fn separate_sandboxes(mut self) -> Self {
        self.has_separate_sandboxes = true;
        self
    }

    /// Gives every call its own sandbox with fresh state, as [`Limits::recycle_after_calls`] does with 1. It takes
    /// precedence over that limit.
    #[must_use]
    pub fn isolate_calls(mut self) -> Self {
        self.isolates_calls = true;
        self
    }

    /// Grants a capability.
    #[must_use]
    pub fn grant(mut self, capability: Capability) -> Self {
        self.grants.add(capability);
        self
    }
}

impl From<&[u8]> for WasmModule {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for WasmModule {
    fn from(bytes: &[u8; N]) -> Self {
        Self::new(bytes.as_slice())
    }
}

impl From<Vec<u8>> for WasmModule {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<&Vec<u8>> for WasmModule {
    fn from(bytes: &Vec<u8>) -> Self {
        Self::new(bytes.as_slice())
    }
}
