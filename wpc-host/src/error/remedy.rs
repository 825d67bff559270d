//! Remedies for errors, as data, so that the library, the command and the manifest can each name their own options.

use crate::capability::Capability;
use crate::error::OsResource;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// What to do about an [`Error`](crate::Error). Its text names this library's methods and options; other interfaces match
/// on the variants and name their own.
///
/// ```
/// use wpc_host::{Definable, Error, Remedy};
///
/// # fn main() -> Result<(), Error> {
/// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
/// # wpc.start_workers(1)?;
/// let error = wpc.call::<u32>("resize", ()).unwrap_err();
/// assert_eq!(error.to_string(), "function \"resize\" is not defined");
/// assert_eq!(error.remedy(), Some(Remedy::Define(Definable::Function)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// Start the workers.
    StartWorkers,
    /// Wait until the workers have stopped.
    AwaitStop,
    /// Wait until unresponsive workers are replaced again, or stop and start the workers.
    RestartWorkers,
    /// Let calls wait for capacity, or raise the workers' limit of unanswered calls.
    AwaitCapacity,
    /// Redefine the function, close its circuit breaker, or wait for the trial call after the cool-down.
    Revive,
    /// Try again later.
    Retry,
    /// Define the missing item.
    Define(Definable),
    /// Compare the types with those that the function declares.
    CompareSignature,
    /// Write the call in another way: an instruction with an example.
    WriteCall(String),
    /// Call the function so that its items are read.
    ReadItems,
    /// Choose one of the module's exports.
    ChooseExport,
    /// Grant the import.
    Grant(Grant),
    /// Enable a Cargo feature of `wpc-host`, which this build lacks.
    EnableFeature(Cow<'static, str>),
    /// Raise one of these settings.
    Raise(Vec<Setting>),
    /// Raise a limit of the operating system, or use less of the resource.
    RaiseOsLimit(OsResource),
    /// An instruction for something outside wpc, as an imperative sentence fragment.
    Advice(Cow<'static, str>),
}

/// A kind of item that a pool can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Definable {
    /// A function.
    Function,
    /// A dependency.
    Dependency,
    /// A constant.
    Constant,
    /// A host function.
    HostFunction,
}

/// A permission that a definition can be granted. Its text is the method call on [`WasmModule`](crate::WasmModule) that grants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Grant {
    /// A capability.
    Capability(Capability),
    /// A host function, by name.
    HostFunction(String),
    /// Calls to a function of the pool, by its name; `…` stands for any name.
    Function(String),
    /// A part of WASI, by the method of [`Wasi`](crate::Wasi) that grants it.
    Wasi(Cow<'static, str>),
}

/// A setting of the embedder: the type that has it, and the name of its field or method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Setting {
    /// A field of [`Limits`](crate::Limits).
    Limits(Cow<'static, str>),
    /// A field of [`Options`](crate::Options).
    Options(Cow<'static, str>),
    /// A method of [`CallOptions`](crate::CallOptions).
    CallOptions(Cow<'static, str>),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartWorkers => f.write_str("call `start_workers` first"),
            Self::AwaitStop => f.write_str("call `stop_workers` and wait until it returns"),
            Self::RestartWorkers => f.write_str(
                "stop and start the workers, or wait for `Options::circuit_breaker_cool_down`",
            ),
            Self::AwaitCapacity => f.write_str(
                "call with `CallOptions::wait_for_capacity`, or raise `Options::max_pending_calls_per_worker`",
            ),
            Self::Revive => f.write_str(
                "redefine the function, call `revive_worker_function`, or wait for `Options::circuit_breaker_cool_down`",
            ),
            Self::Retry => f.write_str("try again later"),
            Self::Define(what) => write!(f, "define it with `{}`", what.method()),
            Self::WriteCall(how) => f.write_str(how),
            Self::CompareSignature => {
                f.write_str("compare the caller's types with the signature listed by `get_remote_functions`")
            }
            Self::ReadItems => f.write_str("call it with `stream`"),
            Self::ChooseExport => f.write_str("choose one with `WasmModule::export`"),
            Self::Grant(grant) => write!(f, "grant it with `{grant}`"),
            Self::EnableFeature(feature) => write!(
                f,
                "this build of `wpc-host` lacks the feature `{feature}`: enable it in the dependency on `wpc-host`"
            ),
            Self::Raise(settings) => {
                let settings = settings.iter().map(ToString::to_string).collect::<Vec<_>>();
                write!(f, "raise {}", settings.join(" or "))
            }
            Self::RaiseOsLimit(resource) => f.write_str(resource.remedy()),
            Self::Advice(advice) => f.write_str(advice),
        }
    }
}

/// The kind as text, such as `host function`.
impl fmt::Display for Definable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Dependency => "dependency",
            Self::Constant => "constant",
            Self::HostFunction => "host function",
        })
    }
}

impl Definable {
    /// The method that defines it.
    const fn method(self) -> &'static str {
        match self {
            Self::Function => "define_worker_function",
            Self::Dependency => "define_worker_dependency",
            Self::Constant => "define_worker_constant",
            Self::HostFunction => "define_host_function",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(capability) => write!(f, ".grant(Capability::{})", capability.name()),
            Self::HostFunction(name) => write!(f, ".grant_host_function({name:?})"),
            Self::Function(name) => write!(f, ".grant_function({name:?})"),
            Self::Wasi(method) => {
                let call = match &**method {
                    "new" | "minimal" => return write!(f, ".grant_wasi(Wasi::{method}())"),
                    "arguments" | "environment" => "[…]",
                    "stdout" => "Output::events()",
                    "read_directory" => "…, …",
                    _ => "…",
                };
                write!(f, ".grant_wasi(Wasi::new().{method}({call}))")
            }
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, name) = match self {
            Self::Limits(name) => ("Limits", name),
            Self::Options(name) => ("Options", name),
            Self::CallOptions(name) => ("CallOptions", name),
        };
        write!(f, "`{of}::{name}`")
    }
}
