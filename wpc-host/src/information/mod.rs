//! Information about pools, definitions and modules, as plain data.
//!
//! Every type serializes and deserializes. Each has a constructor, so that programs can construct values in their tests. It
//! takes what identifies the item, and leaves the other fields empty; they are public.

mod cluster;
mod declared_type;
mod definitions;
mod health;
mod histogram;
mod metrics;
mod module;
mod signature;
mod suspension;
mod usage;

pub use cluster::{ClusterInformation, NodeInformation, NodeState};
pub use declared_type::DeclaredType;
pub(crate) use declared_type::inner_types;
pub use definitions::{ConstantInformation, DependencyInformation, FunctionInformation};
pub use health::{FunctionHealth, FunctionState, PoolHealth};
pub(crate) use histogram::BOUNDS;
pub use histogram::Histogram;
pub use metrics::{
    BreakerCounts, CallCounts, CompilationCounts, FunctionMetrics, Latencies, PoolMetrics,
};
pub use module::{ExportInformation, ModuleInformation, RequiredDependency, TypeInformation};
pub use signature::{FunctionItems, FunctionParameter, FunctionSignature};
pub use suspension::SuspensionCause;
pub use usage::{SandboxUsage, WorkerHealth};
