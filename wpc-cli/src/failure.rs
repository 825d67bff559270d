//! Failures of the command: their output on standard error as text or JSON, and which exit codes they have.

use crate::client::RemoteProblem;
use crate::exit_code::ExitCode;
use crate::remedy::{self, Interface, advice, full_text};
use crate::text::{count, escape};
use serde_json::{Value, json};
use std::io::Write as _;
use wpc_deploy::file::FileError;
use wpc_deploy::{ENVIRONMENT, MANIFEST, Problem};
use wpc_host::{Error, StreamError};

/// The code of a failed test.
pub(crate) const TEST: &str = "test";

#[derive(Debug)]
pub(crate) enum Failure {
    /// A system error: a file, a thread, standard input or output.
    Environment(String),
    /// The reader of standard output is gone, as after `| head`. Nothing is written then.
    OutputClosed,
    /// The command line is invalid.
    Usage(String),
    /// A project failed to build.
    Project(String),
    /// A signal ended the compilers of a build.
    Interrupted,
    /// All problems that were found in files.
    Problems(Vec<Problem>),
    /// Nodes of a cluster refused a revision: a line for each group of nodes, with the codes of their errors.
    Refused(String),
    /// No revision of a cluster was active before.
    NothingToRollBack(String),
    Host(Error),
    /// A stream failed after some items.
    Stream(StreamError),
    /// A server reported a problem.
    Remote(Box<RemoteProblem>),
    /// The function does not exist, but another one has a similar name.
    Misspelt {
        error: Box<Error>,
        nearest: String,
    },
}

impl Failure {
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::Environment(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn remote(problem: RemoteProblem) -> Self {
        Self::Remote(Box::new(problem))
    }

    /// The message without its code, in the terms of the interface.
    pub(crate) fn message(&self, interface: Interface) -> String {
        match self {
            Self::Environment(message)
            | Self::Usage(message)
            | Self::Project(message)
            | Self::Refused(message)
            | Self::NothingToRollBack(message) => message.clone(),
            Self::OutputClosed => "the reader of standard output is gone".to_owned(),
            Self::Interrupted => "a signal interrupted the build".to_owned(),
            Self::Problems(problems) => {
                problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
            }
            Self::Host(error) => full_text(error, interface),
            Self::Stream(StreamError { error, delivered, .. }) => {
                format!("{} (after {})", full_text(error, interface), count(*delivered, "item"))
            }
            Self::Remote(problem) => problem.message(),
            Self::Misspelt { error, nearest } => {
                format!("{}; did you mean \"{nearest}\"?", full_text(error, interface))
            }
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Environment(_) | Self::OutputClosed => ENVIRONMENT,
            Self::Usage(_) => "usage",
            Self::Project(_) => "project",
            Self::Interrupted => "interrupted",
            Self::Problems(_) => "problems",
            Self::Refused(_) => "refused",
            Self::NothingToRollBack(_) => "nothing_to_roll_back",
            Self::Host(error) => error.code().as_str(),
            Self::Remote(problem) => problem.code(),
            Self::Stream(StreamError { error, .. }) | Self::Misspelt { error, .. } => {
                error.code().as_str()
            }
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Environment(_) | Self::OutputClosed => ExitCode::System,
            Self::Usage(_) | Self::NothingToRollBack(_) => ExitCode::Usage,
            Self::Project(_) => ExitCode::Project,
            Self::Interrupted => ExitCode::Interrupted,
            Self::Refused(_) => ExitCode::Rejected,
            Self::Problems(problems) => {
                let has = |code| problems.iter().any(|problem| problem.code == code);
                if has(TEST) {
                    ExitCode::Project
                } else if has(MANIFEST) {
                    ExitCode::Usage
                } else if problems.iter().all(|problem| problem.code == ENVIRONMENT) {
                    ExitCode::System
                } else {
                    ExitCode::Rejected
                }
            }
            Self::Host(error) => ExitCode::of(error.code()),
            Self::Remote(problem) => problem.exit_code(),
            Self::Stream(StreamError { error, .. }) | Self::Misspelt { error, .. } => {
                ExitCode::of(error.code())
            }
        }
    }

    /// Writes the failure in the terms of the interface, and returns its exit code.
    pub(crate) fn report(&self, as_json: bool, interface: Interface) -> ExitCode {
        self.write(as_json, interface);
        self.exit_code()
    }

    /// Writes the failure to standard error. Write errors are ignored, because the reader may be gone.
    pub(crate) fn write(&self, as_json: bool, interface: Interface) {
        if matches!(self, Self::OutputClosed) {
            return;
        }
        if as_json {
            let _ = writeln!(std::io::stderr(), "{}", json!({ "error": self.json(interface) }));
            return;
        }
        let red = "\u{1b}[1;31m";
        let mut err = anstream::stderr();
        let lines = match self {
            Self::Problems(problems) => problems.iter().map(Problem::to_string).collect(),
            Self::Refused(text) => text.lines().map(str::to_owned).collect(),
            failure => vec![format!("{} ({})", failure.message(interface), failure.code())],
        };
        for line in lines {
            let _ = writeln!(err, "{red}error\u{1b}[0m: {}", escape(&line));
        }
        if let Self::Host(Error::Guest { error, .. }) = self {
            // Indented, so that no line of the guest's stack looks like a line of this command.
            for line in error.stack.lines() {
                let _ = writeln!(err, "    {}", escape(line));
            }
        }
    }

    fn json(&self, interface: Interface) -> Value {
        match self {
            Self::Host(error) => error_json(error, interface),
            Self::Remote(problem) => problem.json(),
            Self::Stream(StreamError { error, delivered, .. }) => {
                let mut json = error_json(error, interface);
                json["items"] = (*delivered).into();
                json
            }
            Self::Misspelt { error, nearest } => {
                let mut json = error_json(error, interface);
                json["nearest"] = nearest.as_str().into();
                json
            }
            Self::Problems(problems) => json!({
                "code": self.code(),
                "message": self.message(interface),
                "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
            }),
            failure => json!({ "code": failure.code(), "message": failure.message(interface) }),
        }
    }
}

/// An error of the host as JSON, in the terms of the interface.
pub(crate) fn error_json(error: &Error, interface: Interface) -> Value {
    let mut json = json!({
        "code": error.code().as_str(),
        "kind": error.kind(),
        "message": remedy::text(error, interface),
        "outcome": error.outcome(),
        "retry_can_help": error.retry_can_help(),
    });
    if let Some(advice) = advice(error, interface) {
        json["remedy"] = advice.into();
    }
    // A payload that does not match its declared type is omitted; the rest of the error is shown.
    let payload = error.guest_payload_json().ok().flatten();
    if let Error::Guest { error, .. } = error {
        json["guest"] =
            json!({ "name": error.name, "message": error.message, "stack": error.stack });
        if !error.variant.is_empty() {
            json["guest"]["variant"] = error.variant.as_str().into();
        }
        if let Some(payload) = payload {
            json["guest"]["payload"] = payload;
        }
    }
    json
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

impl From<StreamError> for Failure {
    fn from(failed: StreamError) -> Self {
        Self::Stream(failed)
    }
}

impl From<wpc_deploy::Error> for Failure {
    fn from(error: wpc_deploy::Error) -> Self {
        match error {
            wpc_deploy::Error::Problems(problems) => Self::Problems(problems),
            wpc_deploy::Error::Pool(error) => Self::Host(error),
            error => Self::environment(error.to_string()),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::environment(error.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}
