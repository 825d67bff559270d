//! The exit codes of the command: one table of codes with their meanings, and one of the library's errors by exit code.

use wpc_host::ErrorCode;

macro_rules! exit_codes {
    ($($name:ident $number:literal $meaning:literal),+ $(,)?) => {
        /// How the command ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum ExitCode { $($name = $number),+ }

        /// Every code with its meaning.
        #[cfg(test)]
        const MEANINGS: &[(ExitCode, &str)] = &[$((ExitCode::$name, $meaning)),+];

        /// The codes for the help of the command.
        pub(crate) const HELP: &str = concat!("Exit codes:", $("\n  ", $number, "  ", $meaning),+);
    };
}

exit_codes! {
    Success 0 "success",
    System 1 "a system failure: a file, a stream, threads, memory or capacity cannot be used",
    Usage 2 "the command line, the manifest or an argument is invalid",
    Rejected 3 "a module, a definition or a request was rejected, or an item is missing",
    Guest 4 "the function returned an error",
    Failed 5 "the function trapped, reached a limit other than time, or its circuit breaker is open",
    Timeout 6 "the time limit stopped the call",
    Project 7 "a project did not build, or a test failed",
    // As shells report it for a process that SIGINT ended.
    Interrupted 130 "a signal interrupted a build, or a second signal ended `wpc run` or `wpc serve` at once",
}

/// Every error code of the library, by exit code.
const ERRORS: &[(ExitCode, &[ErrorCode])] = &[
    (
        ExitCode::System,
        &[
            ErrorCode::NotRunning,
            ErrorCode::AlreadyStarted,
            ErrorCode::StartFailed,
            ErrorCode::OsLimit,
            ErrorCode::CompilerBusy,
            ErrorCode::InstancesInUse,
            ErrorCode::NoReadyWorkers,
            ErrorCode::Saturated,
            ErrorCode::Cancelled,
            ErrorCode::Stopped,
            ErrorCode::Denied,
            ErrorCode::Unreachable,
        ],
    ),
    (
        ExitCode::Usage,
        &[
            ErrorCode::InvalidOptions,
            ErrorCode::InvalidCallOptions,
            ErrorCode::InvalidName,
            ErrorCode::Untyped,
            ErrorCode::YieldsItems,
            ErrorCode::ArgumentsEncode,
            ErrorCode::ArgumentsTooLarge,
            ErrorCode::BadArguments,
        ],
    ),
    (
        ExitCode::Rejected,
        &[
            ErrorCode::NotWasm,
            ErrorCode::Component,
            ErrorCode::InvalidModule,
            ErrorCode::UnsupportedProposal,
            ErrorCode::ModuleTooLarge,
            ErrorCode::CompileTimeout,
            ErrorCode::Sha256Mismatch,
            ErrorCode::AbiVersion,
            ErrorCode::MalformedSection,
            ErrorCode::MissingExport,
            ErrorCode::AmbiguousExport,
            ErrorCode::ExportType,
            ErrorCode::ExportOfCommand,
            ErrorCode::UnknownImport,
            ErrorCode::NotGranted,
            ErrorCode::MemoryTooLarge,
            ErrorCode::TableTooLarge,
            ErrorCode::DependencyCycle,
            ErrorCode::DependencyExport,
            ErrorCode::TypeMismatch,
            ErrorCode::DependencyChain,
            ErrorCode::TooManyInstances,
            ErrorCode::ChangesRefused,
            ErrorCode::ConstantEncode,
            ErrorCode::FunctionNotDefined,
            ErrorCode::DependencyNotDefined,
            ErrorCode::ConstantNotDefined,
            ErrorCode::HostFunctionNotDefined,
            ErrorCode::PinMismatch,
            ErrorCode::SignatureMismatch,
        ],
    ),
    (ExitCode::Guest, &[ErrorCode::Guest]),
    (
        ExitCode::Failed,
        &[
            ErrorCode::CircuitOpen,
            ErrorCode::RecursiveCall,
            ErrorCode::CallDepth,
            ErrorCode::WorkerLost,
            ErrorCode::ConnectionLost,
            ErrorCode::Trap,
            ErrorCode::UncaughtException,
            ErrorCode::Exited,
            ErrorCode::TooManyOpenFiles,
            ErrorCode::OutOfFuel,
            ErrorCode::LogLimit,
            ErrorCode::OutOfMemory,
            ErrorCode::OutOfTableElements,
            ErrorCode::StackOverflow,
            ErrorCode::BadReply,
            ErrorCode::ResultTooLarge,
            ErrorCode::ResultDecode,
            ErrorCode::PayloadDecode,
            ErrorCode::Initialisation,
        ],
    ),
    (ExitCode::Timeout, &[ErrorCode::Timeout]),
];

impl ExitCode {
    /// The exit code for an error of the library.
    pub(crate) fn of(error: ErrorCode) -> Self {
        let found = ERRORS.iter().find(|(_, errors)| errors.contains(&error));
        // A test compares the table with all codes of the library.
        found.map_or(Self::System, |(code, _)| *code)
    }

    /// Ends the process at once.
    pub(crate) fn exit(self) -> ! {
        std::process::exit(self as i32)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        (code as u8).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_exit_code() {
        for error in ErrorCode::ALL {
            let codes: Vec<_> =
                ERRORS.iter().filter(|(_, errors)| errors.contains(error)).collect();
            assert_eq!(codes.len(), 1, "{error}: {codes:?}");
        }
    }

    #[test]
    fn the_manual_lists_every_exit_code_with_its_errors() {
        let rows = MEANINGS.iter().map(|(code, meaning)| {
            let errors = ERRORS.iter().filter(|(of, _)| of == code).flat_map(|(_, errors)| *errors);
            let errors: Vec<_> = errors.map(|error| format!("`{error}`")).collect();
            format!("| {} | {meaning} | {} |\n", *code as u8, errors.join(", "))
        });
        let table = format!(
            "| code | meaning | error codes |\n|---|---|---|\n{}",
            rows.collect::<String>()
        );
        let manual = include_str!("../../docs/manifest.md");
        assert!(manual.contains(&table), "docs/manifest.md needs this table:\n{table}");
    }

    #[test]
    fn the_operators_guide_lists_every_exit_code() {
        let rows =
            MEANINGS.iter().map(|(code, meaning)| format!("| {} | {meaning} |\n", *code as u8));
        let table = format!("| code | meaning |\n|---|---|\n{}", rows.collect::<String>());
        let guide = include_str!("../../docs/operator.md");
        assert!(guide.contains(&table), "docs/operator.md needs this table:\n{table}");
    }
}
