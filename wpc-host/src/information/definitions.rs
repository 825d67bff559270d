//! Information about functions, dependencies and constants of a pool.

use crate::capability::Capability;
use crate::id::FunctionHash;
use crate::information::{FunctionSignature, SuspensionCause};
use serde::{Deserialize, Serialize};

/// Information about a defined function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionInformation {
    /// The name that calls use.
    pub name: String,
    /// The types of its parameters, result and errors; `None` if the module does not declare them.
    pub signature: Option<FunctionSignature>,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// The number of workers on which it can be called at the moment.
    pub installed_worker_count: usize,
    /// The dependencies that it requires, directly or through other dependencies, by alias.
    pub required_dependencies: Vec<String>,
    /// The constants that its module and its dependencies declare. A call that reads one that is not defined fails, see
    /// [`Error::ConstantNotDefined`](crate::Error::ConstantNotDefined).
    pub required_constants: Vec<String>,
    /// The host functions that its own module imports and that it was granted.
    pub required_host_functions: Vec<String>,
    /// The functions of the pool that its own module calls and that it was granted, except those that it calls by names that
    /// it computes.
    #[serde(default)]
    pub required_functions: Vec<String>,
    /// The capabilities that its own module requires and that it was granted.
    pub required_capabilities: Vec<Capability>,
    /// The functions of WASI preview 1 that its own module imports and that it was granted.
    pub required_wasi_imports: Vec<String>,
    /// Whether its calls can be suspended, so that their worker runs others meanwhile: it or one of its dependencies imports an
    /// async or blocking host function, waits in WASI, [calls](crate::WasmModule::grant_function) functions of the pool or
    /// [yields items](crate::ItemStream), or it has a [time slice](crate::Limits::time_slice). Its calls run on fibers,
    /// which costs each a few hundred nanoseconds.
    #[serde(default)]
    pub can_suspend: bool,
    /// Why its calls can be suspended; empty if they cannot.
    #[serde(default)]
    pub suspension_causes: Vec<SuspensionCause>,
    /// Its documentation, as its author wrote it; `None` if its module has none. At most 4,096 bytes; may contain Markdown
    /// and any character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

impl FunctionInformation {
    /// A function that no worker can run and that requires nothing. The other fields can be set.
    ///
    /// ```
    /// use wpc_host::{FunctionHash, FunctionInformation};
    ///
    /// let mut function = FunctionInformation::new("resize", FunctionHash::of(b"a module"));
    /// function.installed_worker_count = 2;
    /// let json = serde_json::to_string(&function)?;
    /// assert_eq!(serde_json::from_str::<FunctionInformation>(&json)?, function);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, function_hash_sha1: FunctionHash) -> Self {
        Self {
            name: name.into(),
            signature: None,
            function_hash_sha1,
            installed_worker_count: 0,
            required_dependencies: Vec::new(),
            required_constants: Vec::new(),
            required_host_functions: Vec::new(),
            required_functions: Vec::new(),
            required_capabilities: Vec::new(),
            required_wasi_imports: Vec::new(),
            can_suspend: false,
            suspension_causes: Vec::new(),
            documentation: None,
        }
    }
}

/// Information about a defined dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DependencyInformation {
    /// The name by which modules import it.
    pub alias: String,
    /// The SHA-1 of its module.
    pub module_hash_sha1: FunctionHash,
    /// The functions that it exports.
    pub exports: Vec<String>,
    /// The number of workers on which it can be used at the moment.
    pub installed_worker_count: usize,
    /// The dependencies that it requires, directly or through other dependencies, by alias.
    pub required_dependencies: Vec<String>,
    /// The constants that its own module declares.
    pub required_constants: Vec<String>,
    /// The host functions that its own module imports and that it was granted.
    pub required_host_functions: Vec<String>,
    /// The functions of the pool that its own module calls and that it was granted, except those that it calls by names that
    /// it computes.
    #[serde(default)]
    pub required_functions: Vec<String>,
    /// The capabilities that its own module requires and that it was granted.
    pub required_capabilities: Vec<Capability>,
    /// The functions of WASI preview 1 that its own module imports and that it was granted.
    pub required_wasi_imports: Vec<String>,
}

impl DependencyInformation {
    /// A dependency that no worker can use, exports nothing and requires nothing. The other fields can be set.
    #[must_use]
    pub fn new(alias: impl Into<String>, module_hash_sha1: FunctionHash) -> Self {
        Self {
            alias: alias.into(),
            module_hash_sha1,
            exports: Vec::new(),
            installed_worker_count: 0,
            required_dependencies: Vec::new(),
            required_constants: Vec::new(),
            required_host_functions: Vec::new(),
            required_functions: Vec::new(),
            required_capabilities: Vec::new(),
            required_wasi_imports: Vec::new(),
        }
    }
}

/// Information about a defined constant, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConstantInformation {
    /// The name by which guests read it.
    pub name: String,
    /// The number of workers on which it can be read at the moment.
    pub installed_worker_count: usize,
}

impl ConstantInformation {
    /// A constant that no worker can read. The other field can be set.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), installed_worker_count: 0 }
    }
}
