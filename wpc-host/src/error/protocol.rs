//! The codes of other protocols for errors: one table of classes with their codes, and the class of each error code.

use crate::error::ErrorCode;

macro_rules! classes {
    ($($class:ident $http:literal $rpc:literal $meaning:literal),+ $(,)?) => {
        /// What an error means to a remote caller.
        #[derive(Clone, Copy)]
        enum Class { $($class),+ }

        impl ErrorCode {
            /// The status of an HTTP response that reports the error.
            ///
            /// | status | when |
            /// |---|---|
            $(#[doc = concat!("| ", $http, " | ", $meaning, " |")])+
            ///
            /// Status 499 is not registered, but proxies use it for a client that ended its request. Add `Retry-After` to a
            /// response with the status 503.
            ///
            /// ```
            /// use wpc_host::ErrorCode;
            ///
            /// assert_eq!(ErrorCode::FunctionNotDefined.http_status(), 404);
            /// assert_eq!(ErrorCode::Saturated.http_status(), 503);
            /// ```
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self.class() { $(Class::$class => $http),+ }
            }

            /// The code of a JSON-RPC 2.0 error that reports the error: one that the specification defines, or one of the range
            /// from -32099 to -32000, which it reserves for servers.
            ///
            /// | code | when |
            /// |---|---|
            $(#[doc = concat!("| ", $rpc, " | ", $meaning, " |")])+
            ///
            /// ```
            /// use wpc_host::ErrorCode;
            ///
            /// assert_eq!(ErrorCode::BadArguments.json_rpc_code(), -32602);
            /// assert_eq!(ErrorCode::Guest.json_rpc_code(), -32000);
            /// ```
            #[must_use]
            pub const fn json_rpc_code(self) -> i32 {
                match self.class() { $(Class::$class => $rpc),+ }
            }
        }
    };
}

// The class, its HTTP status, its JSON-RPC code, and when it applies.
classes! {
    InvalidRequest 400 -32600 "a name or an option of the call is invalid",
    Forbidden 403 -32007 "the caller is not permitted to make the call",
    UnknownFunction 404 -32601 "the function is not defined",
    PinMismatch 412 -32001 "the function is not defined by the pinned module",
    TooLarge 413 -32602 "the arguments are larger than the function's limit",
    InvalidArguments 422 -32602 "the arguments, or the expected result, do not have the function's types",
    GuestError 422 -32000 "the function returned an error",
    Rejected 422 -32002 "a module or definition was rejected",
    Cancelled 499 -32003 "the caller cancelled the call",
    Internal 500 -32603 "the host is at fault, or a worker failed",
    FunctionFailed 502 -32004 "the function trapped, reached a limit other than time, or violated the guest contract",
    Unavailable 503 -32005 "capacity is short, workers do not run, or the circuit breaker is open; a later call may succeed",
    Timeout 504 -32006 "the time limit stopped the call",
    NoAnswer 504 -32006 "the connection to the process that ran the call was lost",
}

impl ErrorCode {
    const fn class(self) -> Class {
        match self {
            Self::InvalidCallOptions | Self::InvalidName => Class::InvalidRequest,
            Self::Denied => Class::Forbidden,
            Self::ConnectionLost => Class::NoAnswer,
            Self::FunctionNotDefined => Class::UnknownFunction,
            Self::PinMismatch => Class::PinMismatch,
            Self::ArgumentsTooLarge => Class::TooLarge,
            Self::SignatureMismatch
            | Self::Untyped
            | Self::YieldsItems
            | Self::ArgumentsEncode
            | Self::BadArguments => Class::InvalidArguments,
            Self::Guest => Class::GuestError,
            Self::NotWasm
            | Self::Component
            | Self::InvalidModule
            | Self::UnsupportedProposal
            | Self::ModuleTooLarge
            | Self::CompileTimeout
            | Self::Sha256Mismatch
            | Self::AbiVersion
            | Self::MalformedSection
            | Self::MissingExport
            | Self::AmbiguousExport
            | Self::ExportType
            | Self::ExportOfCommand
            | Self::UnknownImport
            | Self::NotGranted
            | Self::MemoryTooLarge
            | Self::TableTooLarge
            | Self::DependencyCycle
            | Self::DependencyExport
            | Self::TypeMismatch
            | Self::DependencyChain
            | Self::TooManyInstances
            | Self::ChangesRefused => Class::Rejected,
            Self::Cancelled => Class::Cancelled,
            // The host defines what a function requires, and chooses the types with which it decodes results.
            Self::InvalidOptions
            | Self::AlreadyStarted
            | Self::ConstantEncode
            | Self::DependencyNotDefined
            | Self::ConstantNotDefined
            | Self::HostFunctionNotDefined
            | Self::ResultDecode
            | Self::PayloadDecode
            | Self::WorkerLost => Class::Internal,
            Self::Trap
            | Self::UncaughtException
            | Self::Exited
            | Self::TooManyOpenFiles
            | Self::OutOfFuel
            | Self::LogLimit
            | Self::OutOfMemory
            | Self::OutOfTableElements
            | Self::StackOverflow
            | Self::BadReply
            | Self::ResultTooLarge
            | Self::RecursiveCall
            | Self::CallDepth
            | Self::Initialisation => Class::FunctionFailed,
            Self::NotRunning
            | Self::StartFailed
            | Self::OsLimit
            | Self::CompilerBusy
            | Self::InstancesInUse
            | Self::Unreachable
            | Self::NoReadyWorkers
            | Self::Saturated
            | Self::CircuitOpen
            | Self::Stopped => Class::Unavailable,
            Self::Timeout => Class::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that the JSON-RPC 2.0 specification defines for requests.
    const SPECIFIED: [i32; 4] = [-32600, -32601, -32602, -32603];

    #[test]
    fn every_code_is_an_error_in_both_protocols() {
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.http_status()), "{code}");
            let rpc = code.json_rpc_code();
            assert!(
                SPECIFIED.contains(&rpc) || (-32_099..=-32_000).contains(&rpc),
                "{code}: {rpc}"
            );
        }
    }

    #[test]
    fn errors_that_capacity_causes_have_the_status_503() {
        for code in [ErrorCode::Saturated, ErrorCode::CircuitOpen, ErrorCode::CompilerBusy] {
            assert_eq!((code.http_status(), code.json_rpc_code()), (503, -32_005));
        }
    }

    #[test]
    fn a_fault_of_the_function_differs_from_one_of_the_host() {
        assert_eq!(
            (ErrorCode::Trap.http_status(), ErrorCode::WorkerLost.http_status()),
            (502, 500)
        );
        assert_eq!(ErrorCode::Trap.json_rpc_code(), -32_004);
        assert_eq!(ErrorCode::WorkerLost.json_rpc_code(), -32_603);
    }
}
