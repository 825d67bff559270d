//! How a failure is told: on standard error, for people or as JSON, and by the exit code.

use serde_json::json;
use std::io::Write as _;
use std::process::ExitCode;
use wpc_host::{Error, ErrorCode};

pub(crate) enum Failure {
    /// Something of the machine's.
    Machine(String),
    /// The command line does not make sense.
    Usage(String),
    Host(Error),
}

impl Failure {
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self::Machine(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    fn exit_code(&self) -> u8 {
        let error = match self {
            Self::Machine(_) => return 1,
            Self::Usage(_) => return 2,
            Self::Host(error) => error,
        };
        match error.code() {
            ErrorCode::InvalidOptions
            | ErrorCode::InvalidCallOptions
            | ErrorCode::InvalidName
            | ErrorCode::BadArguments
            | ErrorCode::Untyped => 2,
            ErrorCode::StartFailed
            | ErrorCode::CompilerBusy
            | ErrorCode::NotRunning
            | ErrorCode::Saturated
            | ErrorCode::NoReadyWorkers
            | ErrorCode::Stopped
            | ErrorCode::Cancelled => 1,
            ErrorCode::Guest => 4,
            ErrorCode::Timeout => 6,
            ErrorCode::Trap
            | ErrorCode::Exited
            | ErrorCode::OutOfFuel
            | ErrorCode::OutOfMemory
            | ErrorCode::OutOfTableElements
            | ErrorCode::StackOverflow
            | ErrorCode::LogLimit
            | ErrorCode::TooManyOpenFiles
            | ErrorCode::BadReply
            | ErrorCode::ResultTooLarge
            | ErrorCode::ResultDecode
            | ErrorCode::Initialisation
            | ErrorCode::Held
            | ErrorCode::WorkerLost => 5,
            // What is left is told before anything runs.
            _ => 3,
        }
    }

    /// Tells of it and says what to exit with.
    pub(crate) fn tell(&self, as_json: bool) -> ExitCode {
        let (code, message) = match self {
            Self::Machine(message) => ("machine", message.clone()),
            Self::Usage(message) => ("usage", message.clone()),
            Self::Host(error) => (error.code().as_str(), error.to_string()),
        };
        if as_json {
            let mut told = json!({ "code": code, "message": message });
            if let Self::Host(Error::Guest { error, .. }) = self {
                told["guest"] = json!({
                    "name": error.name, "message": error.message, "stack": error.stack
                });
            }
            // Whoever reads this may be gone.
            let _ = writeln!(std::io::stderr(), "{}", json!({ "error": told }));
        } else {
            let red = "\u{1b}[1;31m";
            let mut err = anstream::stderr();
            let _ = writeln!(err, "{red}error\u{1b}[0m: {message} ({code})");
            if let Self::Host(Error::Guest { error, .. }) = self
                && !error.stack.is_empty()
            {
                let _ = writeln!(err, "{}", error.stack);
            }
        }
        ExitCode::from(self.exit_code())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}
