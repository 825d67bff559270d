//! Information about pools, definitions and modules, as plain data.

use crate::capability::Capability;
use crate::error::remedy::Remedy;
use crate::event::HealthState;
use crate::id::{FunctionHash, Sha256Hash, WorkerId};
use serde::Serialize;
use std::collections::BTreeMap;

/// Information about a defined function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FunctionInformation {
    /// The name that calls use.
    pub name: String,
    /// Its arguments and result, such as `(path: String) -> String`; `None` where the module does
    /// not tell them.
    pub parameter_signature: Option<String>,
    /// The type of the errors that it returns, such as `Why`; `None` if the module does not declare one.
    pub error_type: Option<String>,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// The number of workers on which it can be called at the moment.
    pub installed_worker_count: usize,
    /// The dependencies that it requires, directly or through other dependencies, by alias.
    pub required_dependencies: Vec<String>,
    /// The constants that its module declares, itself and through its dependencies. A call that reads one that is not
    /// defined fails, see [`Error::ConstantNotDefined`](crate::Error::ConstantNotDefined).
    pub required_constants: Vec<String>,
    /// The host functions that its own module imports and that it was granted.
    pub required_host_functions: Vec<String>,
    /// The capabilities that its own module requires and that it was granted.
    pub required_capabilities: Vec<Capability>,
    /// The functions of WASI preview 1 that its own module imports and that it was granted.
    pub required_wasi_imports: Vec<String>,
    /// Its documentation, as its author wrote it; `None` if its module has none. At most 4,096 bytes; may contain Markdown
    /// and any character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

/// Information about a defined dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// The capabilities that its own module requires and that it was granted.
    pub required_capabilities: Vec<Capability>,
    /// The functions of WASI preview 1 that its own module imports and that it was granted.
    pub required_wasi_imports: Vec<String>,
}

/// Information about a defined constant, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConstantInformation {
    /// The name by which guests read it.
    pub name: String,
    /// The number of workers on which it can be read at the moment.
    pub installed_worker_count: usize,
}

/// A worker's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerHealth {
    /// The worker.
    pub worker_id: WorkerId,
    /// Its state.
    pub health_state: HealthState,
    /// The number of unanswered calls that were dispatched to it.
    pub pending_call_count: usize,
    /// The number of the replacement in a row; 0 for a worker of `start_workers`.
    pub restart_attempt: u32,
}

/// The resources that the sandboxes of all workers of a pool hold at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SandboxUsage {
    /// The number of module instances, bounded by
    /// [`Options::max_live_instances`](crate::Options::max_live_instances).
    pub live_instances: u64,
    /// The number of their linear memories.
    pub live_memories: u64,
    /// The number of bytes of memory that the allocator keeps for new sandboxes.
    pub idle_bytes: u64,
}

/// Information about a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModuleInformation {
    /// Its identifier for callers and logs; `sha1sum` prints the same.
    pub hash_sha1: FunctionHash,
    /// The hash that a definition can require.
    pub hash_sha256: Sha256Hash,
    /// In bytes.
    pub size: usize,
    /// The version of the guest contract that it implements; `None` for a module that only exports functions of numbers.
    pub abi_version: Option<u32>,
    /// Why a definition with its limits would be refused with any grants; `None` if it would not be refused. The other
    /// fields of a refused module are not verified.
    pub refused: Option<String>,
    /// What to do about that, if there is a known remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// The functions whose types it declares; if it declares none, every export that can be called.
    pub functions: Vec<ExportInformation>,
    /// The other exports, each as `name: kind`: memories, tables, globals, and functions that cannot be called or belong to
    /// a toolchain. Only the first thousand are listed; if there are more, the last item states how many.
    pub other_exports: Vec<String>,
    /// All imports, each as `module.name: kind`. The fields below list them by subject. Only the first thousand are listed;
    /// if there are more, the last item states how many.
    pub imports: Vec<String>,
    /// The constants that it requires.
    pub required_constants: Vec<String>,
    /// The types that it declares for constants, by name, such as `u32`.
    pub constant_types: BTreeMap<String, String>,
    /// The dependencies that it imports from, each with its imports.
    pub required_dependencies: Vec<RequiredDependency>,
    /// The host functions that it imports.
    pub required_host_functions: Vec<String>,
    /// The signatures that it declares for host functions, by name, such as `(key: String) -> Option<String>`.
    pub host_function_signatures: BTreeMap<String, String>,
    /// The capabilities that it must be granted.
    pub required_capabilities: Vec<Capability>,
    /// The functions of WASI preview 1 that it imports.
    pub required_wasi_imports: Vec<String>,
    /// The grants that those require besides capabilities: the names of methods of [`Wasi`](crate::Wasi), such as
    /// `arguments` or `read_directory`.
    pub required_wasi_grants: Vec<String>,
    /// The structures and enums in the signatures, sorted by name.
    pub types: Vec<TypeInformation>,
    /// The initial size of its memory, in bytes.
    pub initial_memory: u64,
    /// The declared maximum of its memory, in bytes; `None` if it declares none.
    pub maximum_memory: Option<u64>,
    /// The declared maximum of its largest table, in elements; `None` if it declares none.
    pub maximum_table_elements: Option<u64>,
}

/// A structure or an enum of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeInformation {
    /// Its name.
    pub name: String,
    /// Its definition, such as `Point { x: f64, y: f64 }` or `Colour = Red | Other(String)`.
    pub definition: String,
    /// Its documentation, as its author wrote it; `None` if the module has none, or has another type of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// The documentation of its fields and variants by name; a field of a variant is `Variant.field`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub item_documentation: BTreeMap<String, String>,
}

/// An export that can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportInformation {
    /// Its name.
    pub name: String,
    /// Its types, such as `(path: String) -> String`; `None` if the module does not declare them.
    pub signature: Option<String>,
    /// The type of the errors that it returns, such as `Why`; `None` if the module does not declare one. See
    /// [`ModuleInformation::types`] for its definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// How to call an export whose name is not allowed for a definition; `None` if the name is allowed.
    /// [`define_worker_module`](crate::WorkerProcedureCall::define_worker_module) defines such exports under their own names,
    /// and [`WasmModule::export`](crate::WasmModule::export) selects one for a definition under another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how_to_call: Option<String>,
    /// Its documentation, as its author wrote it; `None` if the module has none. At most 4,096 bytes; may contain Markdown
    /// and any character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

/// The imports of a module from one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequiredDependency {
    /// The alias.
    pub alias: String,
    /// The names of the imports.
    pub imports: Vec<String>,
    /// The signatures that the module declares for functions among them, by name.
    pub signatures: BTreeMap<String, String>,
}
