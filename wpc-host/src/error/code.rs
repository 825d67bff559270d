//! The table of error codes: each error's stable name, whether its outcome is unknown, whether a retry can help, and
//! who can act on it.

use crate::error::Error;

macro_rules! codes {
    ($($variant:ident $code:literal $unknown:literal $retry:literal $kind:ident),+ $(,)?) => {
        /// An [`Error`]'s stable name, for programs, logs and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("See [`Error::", stringify!($variant), "`].")] $variant,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as text, which never changes between versions.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl Error {
            /// The error's stable code.
            #[must_use]
            pub const fn code(&self) -> ErrorCode {
                match self { $(Self::$variant { .. } => ErrorCode::$variant),+ }
            }

            /// Whether the function may have run, in whole or in part, without its result being known. Do not repeat
            /// such a call if it must not take effect twice.
            #[must_use]
            pub const fn outcome_unknown(&self) -> bool {
                self.ran() && match self { $(Self::$variant { .. } => $unknown),+ }
            }

            /// Whether the same call may succeed when it is repeated later.
            #[must_use]
            pub const fn retry_can_help(&self) -> bool {
                match self { $(Self::$variant { .. } => $retry),+ }
            }

            /// Who can act on the error. A time limit that passed before the function began has the kind
            /// [`Capacity`](ErrorKind::Capacity).
            ///
            /// ```
            /// use wpc_host::{Error, ErrorKind};
            ///
            /// let error = Error::FunctionNotDefined { function: "resize".to_owned() };
            /// assert_eq!(error.kind(), ErrorKind::Caller);
            /// ```
            #[must_use]
            pub const fn kind(&self) -> ErrorKind {
                match self {
                    Self::Timeout { ran: false, .. } => ErrorKind::Capacity,
                    $(Self::$variant { .. } => ErrorKind::$kind),+
                }
            }
        }
    };
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
    /// The function's author: it returned an error, trapped, or reached a limit.
    Function,
    /// Capacity is short at the moment, or the function's circuit breaker is open: a later call may succeed.
    Capacity,
    /// The embedder: the pool is not running, lacks something that the function needs, or lost a worker.
    Host,
    /// The caller cancelled the call, or the workers stopped.
    Cancelled,
}

impl Error {
    /// Whether the function had begun. Errors without this field occur only before it began or only after, as the table
    /// states.
    const fn ran(&self) -> bool {
        match self {
            Self::Timeout { ran, .. }
            | Self::Cancelled { ran, .. }
            | Self::Stopped { ran, .. }
            | Self::WorkerLost { ran, .. } => *ran,
            _ => true,
        }
    }
}

// The variant, its code, whether the outcome is unknown once it ran, whether a retry can help, who can act on it.
codes! {
    InvalidOptions "invalid_options" false false Host,
    InvalidCallOptions "invalid_call_options" false false Caller,
    InvalidName "invalid_name" false false Definition,
    NotRunning "not_running" false true Host,
    AlreadyStarted "already_started" false true Host,
    StartFailed "start_failed" false true Host,
    OsLimit "os_limit" false true Host,
    NotWasm "not_wasm" false false Definition,
    Component "component" false false Definition,
    InvalidModule "invalid_module" false false Definition,
    UnsupportedProposal "unsupported_proposal" false false Definition,
    ModuleTooLarge "module_too_large" false false Definition,
    CompileTimeout "compile_timeout" false true Definition,
    CompilerBusy "compiler_busy" false true Capacity,
    Sha256Mismatch "sha256_mismatch" false false Definition,
    AbiVersion "abi_version" false false Definition,
    MalformedSection "malformed_section" false false Definition,
    MissingExport "missing_export" false false Definition,
    AmbiguousExport "ambiguous_export" false false Definition,
    ExportType "export_type" false false Definition,
    ExportOfCommand "export_of_command" false false Definition,
    UnknownImport "unknown_import" false false Definition,
    NotGranted "not_granted" false false Definition,
    MemoryTooLarge "memory_too_large" false false Definition,
    TableTooLarge "table_too_large" false false Definition,
    DependencyCycle "dependency_cycle" false false Definition,
    DependencyExport "dependency_export" false false Definition,
    TypeMismatch "type_mismatch" false false Definition,
    DependencyChain "dependency_chain" false false Definition,
    TooManyInstances "too_many_instances" false true Definition,
    InstancesInUse "instances_in_use" false true Capacity,
    ConstantEncode "constant_encode" false false Host,
    ChangesRefused "changes_refused" false false Definition,
    FunctionNotDefined "function_not_defined" false true Caller,
    DependencyNotDefined "dependency_not_defined" false true Host,
    ConstantNotDefined "constant_not_defined" false true Host,
    HostFunctionNotDefined "host_function_not_defined" false true Host,
    PinMismatch "pin_mismatch" false false Caller,
    SignatureMismatch "signature_mismatch" false false Caller,
    Untyped "untyped" false false Caller,
    ArgumentsEncode "arguments_encode" false false Caller,
    ArgumentsTooLarge "arguments_too_large" false false Caller,
    BadArguments "bad_arguments" false false Caller,
    ResultDecode "result_decode" false false Caller,
    PayloadDecode "payload_decode" false false Caller,
    NoReadyWorkers "no_ready_workers" false true Host,
    Saturated "saturated" false true Capacity,
    Held "held" false true Capacity,
    Timeout "timeout" true true Function,
    Cancelled "cancelled" true false Cancelled,
    Stopped "stopped" true true Cancelled,
    WorkerLost "worker_lost" true true Host,
    Guest "guest_error" false false Function,
    Trap "trap" true true Function,
    UncaughtException "uncaught_exception" true true Function,
    Exited "exited" true false Function,
    TooManyOpenFiles "too_many_open_files" true false Function,
    OutOfFuel "out_of_fuel" true false Function,
    LogLimit "log_limit" true false Function,
    OutOfMemory "out_of_memory" true true Function,
    OutOfTableElements "out_of_table_elements" true true Function,
    StackOverflow "stack_overflow" true false Function,
    BadReply "bad_reply" true false Function,
    ResultTooLarge "result_too_large" true false Function,
    Initialisation "initialisation" false true Function,
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
