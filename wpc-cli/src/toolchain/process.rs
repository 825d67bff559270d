//! Compilers as processes: finds them, runs them, and reads a bounded amount of what they print.

use super::group::Group;
use crate::failure::Failure;
use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use wpc_deploy::file;

/// A compiler that is installed.
pub(super) struct Tool {
    /// Its program, and the arguments that every command begins with.
    command_line: Vec<OsString>,
    /// The first line of its version output.
    version: String,
}

impl Tool {
    /// The first candidate that prints its version for `version_argument` and satisfies `accepts`.
    pub(super) fn first<S: Into<OsString>>(
        candidates: impl IntoIterator<Item = Vec<S>>,
        version_argument: &str,
        accepts: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        candidates.into_iter().find_map(|words| {
            let command_line = words.into_iter().map(Into::into).collect();
            let mut tool = Self { command_line, version: String::new() };
            let printed = tool.output_of(&[version_argument])?;
            tool.version = printed.lines().next().unwrap_or_default().trim().to_owned();
            accepts(&tool).then_some(tool)
        })
    }

    /// What it prints for these arguments; `None` if it is not installed or fails.
    pub(super) fn output_of(&self, arguments: &[&str]) -> Option<String> {
        output_of(self.command().args(arguments))
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.command_line[0]);
        command.args(&self.command_line[1..]);
        command
    }

    /// Its command line and version, for messages.
    pub(super) fn description(&self) -> String {
        let words: Vec<_> = self.command_line.iter().map(|word| word.to_string_lossy()).collect();
        let words = words.join(" ");
        // Most compilers print their name before the version.
        if self.version.starts_with(&words) {
            self.version.clone()
        } else {
            format!("{words} ({})", self.version)
        }
    }
}

/// Runs a compiler to its end, and returns what it printed. Its error messages go to standard error.
pub(super) fn run(
    mut command: Command,
    description: &str,
    stdout: Stdio,
) -> Result<Vec<u8>, Failure> {
    command.stdout(stdout).stderr(Stdio::inherit());
    let (status, printed) = wait_with_output(&mut command)
        .map_err(|error| Failure::environment(format!("{description}: {error}")))?;
    if status.success() {
        return Ok(printed);
    }
    Err(Failure::Project(format!("compilation with {description} failed: {status}")))
}

/// What a command prints; `None` if it is not installed or fails.
pub(super) fn output_of(command: &mut Command) -> Option<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let (status, printed) = wait_with_output(command).ok()?;
    status.success().then(|| String::from_utf8_lossy(&printed).into_owned())
}

/// The maximum number of bytes that are read from a compiler's standard output. Cargo prints a few hundred bytes for
/// each dependency.
const MAX_PRINTED: usize = 64 << 20;

/// Runs a command without input, and returns what it printed to its standard output if that is piped. A command that
/// prints too much is killed with the processes that it started.
fn wait_with_output(command: &mut Command) -> io::Result<(ExitStatus, Vec<u8>)> {
    wait(Group::spawn(command.stdin(Stdio::null()))?)
}

/// Waits for a running command, as [`wait_with_output`] does.
pub(super) fn wait(mut group: Group) -> io::Result<(ExitStatus, Vec<u8>)> {
    let printed = match group.child.stdout.take() {
        Some(printed) => file::read_at_most(printed, 0, MAX_PRINTED)?,
        None => Some(Vec::new()),
    };
    let Some(printed) = printed else {
        group.kill()?;
        return Err(io::Error::other(format!("it printed more than {MAX_PRINTED} bytes")));
    };
    Ok((group.wait()?, printed))
}

/// Redirects a compiler's standard output to standard error, because the command's own standard output is its result.
pub(super) fn to_stderr() -> Stdio {
    io::stderr().into()
}
