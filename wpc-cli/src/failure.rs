//! How a failure is told: on standard error, for people or as JSON, and by the exit code.

use crate::problem::{MACHINE, MANIFEST, Problem, TEST};
use crate::words::{in_our_words, printable};
use serde_json::{Value, json};
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use wpc_host::{Error, ErrorCode};

pub(crate) enum Failure {
    /// Something of the machine's.
    Machine(String),
    /// The command line does not make sense.
    Usage(String),
    /// A project did not build.
    Project(String),
    /// Things that are wrong in files, all of them.
    Problems(Vec<Problem>),
    Host(Error),
}

impl Failure {
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self::Machine(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// What went wrong, without its code.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Machine(message) | Self::Usage(message) | Self::Project(message) => {
                message.clone()
            }
            Self::Problems(problems) => {
                problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
            }
            Self::Host(error) => in_our_words(&error.to_string()),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Machine(_) => MACHINE,
            Self::Usage(_) => "usage",
            Self::Project(_) => "project",
            Self::Problems(_) => "problems",
            Self::Host(error) => error.code().as_str(),
        }
    }

    fn exit_code(&self) -> u8 {
        let error = match self {
            Self::Machine(_) => return 1,
            Self::Usage(_) => return 2,
            Self::Project(_) => return 7,
            Self::Problems(problems) => {
                let has = |code| problems.iter().any(|problem| problem.code == code);
                return if has(TEST) {
                    7
                } else if has(MANIFEST) {
                    2
                } else if problems.iter().all(|problem| problem.code == MACHINE) {
                    1
                } else {
                    3
                };
            }
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
        // Whoever reads this may be gone.
        if as_json {
            let _ = writeln!(std::io::stderr(), "{}", json!({ "error": self.json() }));
        } else {
            let red = "\u{1b}[1;31m";
            let mut err = anstream::stderr();
            let said = match self {
                Self::Problems(problems) => problems.iter().map(Problem::to_string).collect(),
                failure => vec![failure.to_string()],
            };
            for said in said {
                let _ = writeln!(err, "{red}error\u{1b}[0m: {}", printable(&said));
            }
            if let Self::Host(Error::Guest { error, .. }) = self
                && !error.stack.is_empty()
            {
                let _ = writeln!(err, "{}", printable(&error.stack));
            }
        }
        ExitCode::from(self.exit_code())
    }

    fn json(&self) -> Value {
        match self {
            Self::Host(error) => error_json(error),
            Self::Problems(problems) => json!({
                "code": self.code(),
                "message": self.message(),
                "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
            }),
            failure => json!({ "code": failure.code(), "message": failure.message() }),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Each tells its own code.
            Self::Problems(_) => f.write_str(&self.message()),
            failure => write!(f, "{} ({})", failure.message(), failure.code()),
        }
    }
}

/// An error of the host as JSON.
pub(crate) fn error_json(error: &Error) -> Value {
    let mut told =
        json!({ "code": error.code().as_str(), "message": in_our_words(&error.to_string()) });
    if let Error::Guest { error, .. } = error {
        told["guest"] =
            json!({ "name": error.name, "message": error.message, "stack": error.stack });
    }
    told
}

pub(crate) fn problem_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "code": problem.code,
        "message": problem.message,
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}
