//! What is told of a pool, of what is defined in it, and of modules, as plain data.

use crate::capability::Capability;
use crate::error::remedy::Remedy;
use crate::event::HealthState;
use crate::id::{FunctionHash, Sha256Hash, WorkerId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is told of a defined function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FunctionInformation {
    /// The name calls use.
    pub name: String,
    /// Its arguments and result, such as `(path: String) -> String`; `None` where the module does
    /// not tell them.
    pub parameter_signature: Option<String>,
    /// The type of the errors that it returns, such as `Why`; `None` where the module does not declare one.
    pub error_type: Option<String>,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// On how many workers it can be called at this moment.
    pub installed_worker_count: usize,
    /// The aliases it needs, itself and through others.
    pub required_dependencies: Vec<String>,
    /// The constants that its module declares, itself and through its dependencies. A call that reads one that is not
    /// defined fails, see [`Error::ConstantNotDefined`](crate::Error::ConstantNotDefined).
    pub required_constants: Vec<String>,
    /// The host functions its own module needs, which it was granted.
    pub required_host_functions: Vec<String>,
    /// The capabilities its own module needs, which it was granted.
    pub required_capabilities: Vec<Capability>,
    /// What its own module imports of WASI preview 1, which it was granted.
    pub required_wasi_imports: Vec<String>,
}

/// What is told of a defined dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DependencyInformation {
    /// The name modules import it by.
    pub alias: String,
    /// The SHA-1 of its module.
    pub module_hash_sha1: FunctionHash,
    /// The functions it offers.
    pub exports: Vec<String>,
    /// On how many workers it can be used at this moment.
    pub installed_worker_count: usize,
    /// The aliases it needs, itself and through others.
    pub required_dependencies: Vec<String>,
    /// The constants its own module needs.
    pub required_constants: Vec<String>,
    /// The host functions its own module needs, which it was granted.
    pub required_host_functions: Vec<String>,
    /// The capabilities its own module needs, which it was granted.
    pub required_capabilities: Vec<Capability>,
    /// What its own module imports of WASI preview 1, which it was granted.
    pub required_wasi_imports: Vec<String>,
}

/// What is told of a defined constant; its value is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConstantInformation {
    /// The name guests read it by.
    pub name: String,
    /// On how many workers it can be read at this moment.
    pub installed_worker_count: usize,
}

/// How a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerHealth {
    /// The worker.
    pub worker_id: WorkerId,
    /// What it can do.
    pub health_state: HealthState,
    /// How many calls it was given that are not answered.
    pub pending_call_count: usize,
    /// Which replacement in a row it is; 0 for a worker of `start_workers`.
    pub restart_attempt: u32,
}

/// What the sandboxes of a pool hold at one moment, all workers together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SandboxUsage {
    /// How many module instances are alive; [`Options::max_live_instances`](crate::Options) bounds
    /// them.
    pub live_instances: u64,
    /// How many linear memories they have.
    pub live_memories: u64,
    /// How many bytes of memory are kept for the next sandboxes by nobody in particular.
    pub idle_bytes: u64,
}

/// How the compile cache fared since the pool was made, see
/// [`Options::compile_cache`](crate::Options::compile_cache).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompileCacheUsage {
    /// Where the compiled code lies.
    pub folder: PathBuf,
    /// How many modules were not compiled, because their code lay there.
    pub hits: usize,
    /// How many were compiled, and their code put there.
    pub misses: usize,
    /// How many of the misses had an entry that did not verify: it was not loaded, but replaced. Each is reported by
    /// [`EventDetails::CompileCacheEntryRejected`](crate::EventDetails::CompileCacheEntryRejected).
    pub rejected: usize,
    /// How many of the misses could not be put there. Each is reported by
    /// [`EventDetails::CompileCacheWriteFailed`](crate::EventDetails::CompileCacheWriteFailed).
    pub not_kept: usize,
}

/// What a module tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModuleInformation {
    /// Its name for callers and logs; `sha1sum` prints the same.
    pub hash_sha1: FunctionHash,
    /// What a definition can be sealed with.
    pub hash_sha256: Sha256Hash,
    /// In bytes.
    pub size: usize,
    /// The version of the contract it keeps; `None` where it keeps none, and offers numbers only.
    pub abi_version: Option<u32>,
    /// Why a definition with its limits would be refused whatever it is granted; `None` where it would not
    /// be. What else is told here is then what the bytes say, and nobody has checked it.
    pub refused: Option<String>,
    /// What helps against that, where something surely does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// What it offers: the functions whose types it tells, or where it tells none, every export that can
    /// be called.
    pub functions: Vec<ExportInformation>,
    /// What it exports beside those, each as `name: what it is`: memories, tables, globals, functions that
    /// cannot be called or are nobody's but a toolchain's. The first thousand; where there are more, the
    /// last item says how many.
    pub other_exports: Vec<String>,
    /// All that it imports, each as `module.name: what it is`; what of it is needed by name, the fields
    /// below tell. The first thousand; where there are more, the last item says how many.
    pub imports: Vec<String>,
    /// The constants it cannot do without.
    pub required_constants: Vec<String>,
    /// The types that it declares for constants, by name, such as `u32`.
    pub constant_types: BTreeMap<String, String>,
    /// The aliases it imports from, each with what.
    pub required_dependencies: Vec<RequiredDependency>,
    /// The host functions it imports.
    pub required_host_functions: Vec<String>,
    /// The signatures that it declares for host functions, by name, such as `(key: String) -> Option<String>`.
    pub host_function_signatures: BTreeMap<String, String>,
    /// The capabilities it must be granted.
    pub required_capabilities: Vec<Capability>,
    /// What it imports of WASI preview 1.
    pub required_wasi_imports: Vec<String>,
    /// What must be granted for those, beside capabilities: the names of the methods of
    /// [`Wasi`](crate::Wasi) that grant it, such as `arguments` or `read_directory`.
    pub required_wasi_grants: Vec<String>,
    /// The structures and enums that the signatures name, by name.
    pub types: Vec<TypeInformation>,
    /// How many bytes of memory it starts with.
    pub initial_memory: u64,
    /// How many bytes of memory it says it will never go past; `None` where it does not say.
    pub maximum_memory: Option<u64>,
    /// How many elements it says that no table of its will go past; `None` where it does not say.
    pub maximum_table_elements: Option<u64>,
}

/// A structure or an enum of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeInformation {
    /// Its name.
    pub name: String,
    /// What it is made of, such as `Point { x: f64, y: f64 }` or `Colour = Red | Other(String)`.
    pub definition: String,
}

/// An export that can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportInformation {
    /// Its name.
    pub name: String,
    /// Its types, such as `(path: String) -> String`; `None` where the module does not tell them.
    pub signature: Option<String>,
    /// The type of the errors that it returns, such as `Why`; `None` where the module does not declare one. The types
    /// of [`ModuleInformation::types`] have what it is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// How to call it although its name cannot be a definition's own; `None` if it can be. Such exports are
    /// defined under their own names by
    /// [`define_worker_module`](crate::WorkerProcedureCall::define_worker_module), and under a name of the
    /// embedder's choice with [`WasmModule::export`](crate::WasmModule::export).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how_to_call: Option<String>,
}

/// What a module imports from one alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequiredDependency {
    /// The alias.
    pub alias: String,
    /// The imports' names.
    pub imports: Vec<String>,
    /// The signatures that the module declares for functions among them, by name.
    pub signatures: BTreeMap<String, String>,
}
