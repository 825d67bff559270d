//! What a pool tells of what is defined and of its workers, as plain data.

use crate::capability::Capability;
use crate::event::HealthState;
use crate::id::{FunctionHash, WorkerId};
use serde::Serialize;
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
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// On how many workers it can be called at this moment.
    pub installed_worker_count: usize,
    /// The aliases it needs, itself and through others.
    pub required_dependencies: Vec<String>,
    /// The constants it needs, itself and through its dependencies.
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
}
