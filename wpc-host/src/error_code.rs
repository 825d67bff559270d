//! The table of error codes: each error's stable name, whether its outcome is unknown, whether a retry
//! can help.

use crate::error::Error;

macro_rules! codes {
    ($($variant:ident $code:literal $unknown:literal $retry:literal),+ $(,)?) => {
        /// An [`Error`]'s stable name, for programs, logs and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("See [`Error::", stringify!($variant), "`].")] $variant,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as text; it never changes.
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

            /// Whether the function may have run, in whole or in part, without its result being
            /// known: a call that must not happen twice must not be repeated then.
            #[must_use]
            pub const fn outcome_unknown(&self) -> bool {
                self.ran() && match self { $(Self::$variant { .. } => $unknown),+ }
            }

            /// Whether the very same call may succeed when it is repeated later.
            #[must_use]
            pub const fn retry_can_help(&self) -> bool {
                match self { $(Self::$variant { .. } => $retry),+ }
            }
        }
    };
}

impl Error {
    /// Whether the function had begun; errors that do not tell arise only after or before, as the
    /// table says.
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

// The variant, its code, whether the outcome is unknown once it ran, whether a retry can help.
codes! {
    InvalidOptions "invalid_options" false false,
    InvalidCallOptions "invalid_call_options" false false,
    InvalidName "invalid_name" false false,
    NotRunning "not_running" false true,
    AlreadyStarted "already_started" false true,
    StartFailed "start_failed" false true,
    OsLimit "os_limit" false true,
    NotWasm "not_wasm" false false,
    Component "component" false false,
    InvalidModule "invalid_module" false false,
    UnsupportedProposal "unsupported_proposal" false false,
    ModuleTooLarge "module_too_large" false false,
    CompileTimeout "compile_timeout" false true,
    CompilerBusy "compiler_busy" false true,
    Sha256Mismatch "sha256_mismatch" false false,
    AbiVersion "abi_version" false false,
    MalformedSection "malformed_section" false false,
    MissingExport "missing_export" false false,
    AmbiguousExport "ambiguous_export" false false,
    ExportType "export_type" false false,
    ExportOfCommand "export_of_command" false false,
    UnknownImport "unknown_import" false false,
    NotGranted "not_granted" false false,
    MemoryTooLarge "memory_too_large" false false,
    TableTooLarge "table_too_large" false false,
    DependencyCircle "dependency_circle" false false,
    DependencyExport "dependency_export" false false,
    DependencyChain "dependency_chain" false false,
    TooManyInstances "too_many_instances" false true,
    InstancesInUse "instances_in_use" false true,
    ConstantEncode "constant_encode" false false,
    FunctionNotDefined "function_not_defined" false true,
    DependencyNotDefined "dependency_not_defined" false true,
    ConstantNotDefined "constant_not_defined" false true,
    HostFunctionNotDefined "host_function_not_defined" false true,
    PinMismatch "pin_mismatch" false false,
    SignatureMismatch "signature_mismatch" false false,
    Untyped "untyped" false false,
    ArgumentsEncode "arguments_encode" false false,
    ArgumentsTooLarge "arguments_too_large" false false,
    BadArguments "bad_arguments" false false,
    ResultDecode "result_decode" false false,
    NoReadyWorkers "no_ready_workers" false true,
    Saturated "saturated" false true,
    Held "held" false true,
    Timeout "timeout" true true,
    Cancelled "cancelled" true false,
    Stopped "stopped" true true,
    WorkerLost "worker_lost" true true,
    Guest "guest_error" false false,
    Trap "trap" true true,
    Exited "exited" true false,
    TooManyOpenFiles "too_many_open_files" true false,
    OutOfFuel "out_of_fuel" true false,
    LogLimit "log_limit" true false,
    OutOfMemory "out_of_memory" true true,
    OutOfTableElements "out_of_table_elements" true true,
    StackOverflow "stack_overflow" true false,
    BadReply "bad_reply" true false,
    ResultTooLarge "result_too_large" true false,
    Initialisation "initialisation" false true,
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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

/// Text that is no [`ErrorCode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no error code of wpc")]
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
