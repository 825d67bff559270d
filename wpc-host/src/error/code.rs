//! The table of error codes: each error's stable name, which operation failed, who can act on it, whether its outcome is
//! unknown, and whether a retry can help.

use crate::error::Error;

macro_rules! codes {
    (
        $($variant:ident $code:literal $group:ident $kind:ident $unknown:literal $retry:literal),+ ;
        $($other:ident $other_code:literal $other_group:ident $other_kind:ident $other_unknown:literal $other_retry:literal $doc:literal),+ $(,)?
    ) => {
        /// An [`Error`]'s stable name, for programs, logs and metrics.
        ///
        /// | code | group | kind | outcome unknown once it ran | a retry can help |
        /// |---|---|---|---|---|
        $(#[doc = concat!(
            "| [`", $code, "`](Error::", stringify!($variant), ") | ", stringify!($group), " | ", stringify!($kind),
            " | ", $unknown, " | ", $retry, " |"
        )])+
        $(#[doc = concat!(
            "| [`", $other_code, "`](Error::Reported) | ", stringify!($other_group), " | ", stringify!($other_kind),
            " | ", $other_unknown, " | ", $other_retry, " |"
        )])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("See [`Error::", stringify!($variant), "`].")] $variant,)+
            $(#[doc = $doc] $other,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+, $(Self::$other),+];

            /// The code as text, which never changes between versions.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ $(Self::$other => $other_code),+ }
            }

            /// Which operation failed.
            #[must_use]
            pub const fn group(self) -> ErrorGroup {
                match self {
                    $(Self::$variant => ErrorGroup::$group,)+
                    $(Self::$other => ErrorGroup::$other_group),+
                }
            }

            /// Who can act on an error with this code, unless [`Error::kind`] states an exception.
            #[must_use]
            pub const fn kind(self) -> ErrorKind {
                match self {
                    $(Self::$variant => ErrorKind::$kind,)+
                    $(Self::$other => ErrorKind::$other_kind),+
                }
            }

            /// Whether the same call may succeed when it is repeated later.
            #[must_use]
            pub const fn retry_can_help(self) -> bool {
                match self { $(Self::$variant => $retry,)+ $(Self::$other => $other_retry),+ }
            }
        }

        impl Error {
            /// The error's stable code.
            #[must_use]
            pub const fn code(&self) -> ErrorCode {
                match self {
                    Self::Reported(report) => report.code,
                    $(Self::$variant { .. } => ErrorCode::$variant),+
                }
            }

            /// Whether the function may have run, in whole or in part, without its result being known. Do not repeat
            /// such a call if it must not take effect twice.
            #[must_use]
            pub const fn outcome_unknown(&self) -> bool {
                self.ran() && match self {
                    Self::Reported(report) => matches!(report.outcome, CallOutcome::Unknown),
                    $(Self::$variant { .. } => $unknown),+
                }
            }

            /// Whether the same call may succeed when it is repeated later.
            #[must_use]
            pub const fn retry_can_help(&self) -> bool {
                match self {
                    Self::Reported(report) => report.retry_can_help,
                    $(Self::$variant { .. } => $retry),+
                }
            }

            /// Who can act on the error. A time limit that passed before the function began has the kind
            /// [`Capacity`](ErrorKind::Capacity).
            ///
            /// ```
            /// use wpc_host::{Error, ErrorKind};
            ///
            /// # fn main() -> Result<(), Error> {
            /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
            /// # wpc.start_workers(1)?;
            /// let error = wpc.call::<u32>("resize", ()).unwrap_err();
            /// assert_eq!(error.kind(), ErrorKind::Caller);
            /// # Ok(()) }
            /// ```
            #[must_use]
            pub const fn kind(&self) -> ErrorKind {
                match self {
                    Self::Reported(report) => report.kind,
                    Self::Timeout { ran: false, .. } => ErrorKind::Capacity,
                    $(Self::$variant { .. } => ErrorKind::$kind),+
                }
            }
        }
    };
}

/// Which operation failed with an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorGroup {
    /// The pool could not be created, started or stopped.
    Pool,
    /// An item could not be defined. Earlier definitions stay.
    Definition,
    /// A call was rejected, or ended without an answer from its function.
    Call,
    /// The function ran, and its guest failed.
    Guest,
}

/// Who can act on an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: it chose the function's name, its arguments, their types, or the options of the call.
    Caller,
    /// The author or the operator: a module or definition was refused.
    Definition,
    /// The function's author: the function returned an error, trapped, or reached a limit.
    Function,
    /// Capacity is short at the moment, or the function's circuit breaker is open: a later call may succeed.
    Capacity,
    /// The embedder: the pool is not running, lacks something that the function needs, or had a worker that failed.
    Host,
    /// The caller cancelled the call, or the workers stopped.
    Cancelled,
}

/// What is known about the execution of a call that ended with an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallOutcome {
    /// The function did not begin. The call can be repeated.
    NotStarted,
    /// The function may have run, in whole or in part.
    Unknown,
    /// The function ran to its end.
    Finished,
}

impl Error {
    /// What is known about the execution of the call. An error of an operation that is not a call has the outcome
    /// [`NotStarted`](CallOutcome::NotStarted).
    ///
    /// ```
    /// use wpc_host::{CallOutcome, Error};
    ///
    /// assert_eq!(Error::function_not_defined("resize").outcome(), CallOutcome::NotStarted);
    /// ```
    #[must_use]
    pub const fn outcome(&self) -> CallOutcome {
        match self {
            Self::Reported(report) => report.outcome,
            _ if self.outcome_unknown() => CallOutcome::Unknown,
            Self::Guest { .. } | Self::ResultDecode { .. } | Self::PayloadDecode { .. } => {
                CallOutcome::Finished
            }
            _ => CallOutcome::NotStarted,
        }
    }

    /// Whether the function had begun. Errors without this field occur only before it began or only after, as the table
    /// states.
    const fn ran(&self) -> bool {
        match self {
            Self::Timeout { ran, .. }
            | Self::Cancelled { ran, .. }
            | Self::Stopped { ran, .. }
            | Self::WorkerLost { ran, .. }
            | Self::YieldsItems { ran, .. } => *ran,
            _ => true,
        }
    }
}

// The variant, its code, which operation failed, who can act on it, whether the outcome is unknown once it ran, whether a
// retry can help; then the codes that no variant has of its own.
codes! {
    InvalidOptions "invalid_options" Pool Host false false,
    InvalidCallOptions "invalid_call_options" Call Caller false false,
    InvalidName "invalid_name" Definition Definition false false,
    NotRunning "not_running" Pool Host false true,
    AlreadyStarted "already_started" Pool Host false true,
    StartFailed "start_failed" Pool Host false true,
    OsLimit "os_limit" Pool Host false true,
    NotWasm "not_wasm" Definition Definition false false,
    Component "component" Definition Definition false false,
    InvalidModule "invalid_module" Definition Definition false false,
    UnsupportedProposal "unsupported_proposal" Definition Definition false false,
    ModuleTooLarge "module_too_large" Definition Definition false false,
    CompileTimeout "compile_timeout" Definition Definition false true,
    CompilerBusy "compiler_busy" Definition Capacity false true,
    Sha256Mismatch "sha256_mismatch" Definition Definition false false,
    AbiVersion "abi_version" Definition Definition false false,
    MalformedSection "malformed_section" Definition Definition false false,
    MissingExport "missing_export" Definition Definition false false,
    AmbiguousExport "ambiguous_export" Definition Definition false false,
    ExportType "export_type" Definition Definition false false,
    ExportOfCommand "export_of_command" Definition Definition false false,
    UnknownImport "unknown_import" Definition Definition false false,
    NotGranted "not_granted" Definition Definition false false,
    MemoryTooLarge "memory_too_large" Definition Definition false false,
    TableTooLarge "table_too_large" Definition Definition false false,
    DependencyCycle "dependency_cycle" Definition Definition false false,
    DependencyExport "dependency_export" Definition Definition false false,
    TypeMismatch "type_mismatch" Definition Definition false false,
    DependencyChain "dependency_chain" Definition Definition false false,
    TooManyInstances "too_many_instances" Definition Definition false true,
    InstancesInUse "instances_in_use" Call Capacity false true,
    ConstantEncode "constant_encode" Definition Host false false,
    ChangesRefused "changes_refused" Definition Definition false false,
    // It may be defined later, but a caller that repeats a misspelt name would do so for ever.
    FunctionNotDefined "function_not_defined" Call Caller false false,
    DependencyNotDefined "dependency_not_defined" Call Host false true,
    ConstantNotDefined "constant_not_defined" Call Host false true,
    HostFunctionNotDefined "host_function_not_defined" Call Host false true,
    RecursiveCall "recursive_call" Call Function false false,
    CallDepth "call_depth" Call Function false false,
    PinMismatch "pin_mismatch" Call Caller false false,
    SignatureMismatch "signature_mismatch" Call Caller false false,
    YieldsItems "yields_items" Call Caller true false,
    Untyped "untyped" Call Caller false false,
    ArgumentsEncode "arguments_encode" Call Caller false false,
    ArgumentsTooLarge "arguments_too_large" Call Caller false false,
    BadArguments "bad_arguments" Call Caller false false,
    ResultDecode "result_decode" Call Caller false false,
    PayloadDecode "payload_decode" Call Caller false false,
    NoReadyWorkers "no_ready_workers" Call Host false true,
    Saturated "saturated" Call Capacity false true,
    CircuitOpen "circuit_open" Call Capacity false true,
    Timeout "timeout" Call Function true true,
    Cancelled "cancelled" Call Cancelled true false,
    Stopped "stopped" Call Cancelled true true,
    WorkerLost "worker_lost" Call Host true true,
    Guest "guest_error" Guest Function false false,
    Trap "trap" Guest Function true true,
    UncaughtException "uncaught_exception" Guest Function true true,
    Exited "exited" Guest Function true false,
    TooManyOpenFiles "too_many_open_files" Guest Function true false,
    OutOfFuel "out_of_fuel" Guest Function true false,
    LogLimit "log_limit" Guest Function true false,
    OutOfMemory "out_of_memory" Guest Function true true,
    OutOfTableElements "out_of_table_elements" Guest Function true true,
    StackOverflow "stack_overflow" Guest Function true false,
    BadReply "bad_reply" Guest Function true false,
    ResultTooLarge "result_too_large" Guest Function true false,
    Initialisation "initialisation" Guest Function false true;

    // Only errors of calls that run in another process have these codes.
    Denied "denied" Call Caller false false
        "The caller may not call the function, see [`Error::denied`].",
    Unreachable "unreachable" Call Capacity false true
        "No process that can run the function can be reached, see [`Error::unreachable`].",
    ConnectionLost "connection_lost" Call Host true true
        "The process that ran the call did not answer, see [`Error::connection_lost`].",
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    fn from_str(text: &str) -> Result<Self, UnknownErrorCode> {
        let known = Self::ALL.iter().find(|code| code.as_str() == text);
        known.copied().ok_or_else(|| UnknownErrorCode(text.to_owned()))
    }
}

/// The error of parsing a text that is not an [`ErrorCode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a wpc error code")]
pub struct UnknownErrorCode(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_its_text() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert!("nonsense".parse::<ErrorCode>().is_err());
    }
}
