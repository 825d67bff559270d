//! Runs the command and other programs, and captures their output. A process that hangs is killed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// The maximum duration of a process. Some build projects, so it is far longer than necessary: only a hang reaches it.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The compile cache that all tests share.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// The command `wpc` with the shared compile cache.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wpc"));
    command.args(arguments).env("WPC_CACHE", cache());
    command
}

/// A shell that runs the script. The arguments are `$0`, `$1`, ….
#[cfg(unix)]
pub(crate) fn shell(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).args(arguments).env("WPC_CACHE", cache());
    command
}

/// Starts the command with pipes.
pub(crate) fn start(arguments: &[&str]) -> Child {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs a program without input.
pub(crate) fn run(command: &mut Command) -> Output {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(piped.spawn().unwrap())
}

pub(crate) fn wpc(arguments: &[&str]) -> Output {
    wpc_with(b"", arguments)
}

/// Runs the command in a folder.
pub(crate) fn wpc_from(folder: &Path, arguments: &[&str]) -> Output {
    run(command(arguments).current_dir(folder))
}

/// Runs the command with this standard input.
pub(crate) fn wpc_with(input: &[u8], arguments: &[&str]) -> Output {
    let mut child = start(arguments);
    // Fails if the command exits without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    finish(child)
}

/// Waits for a process and returns its output.
pub(crate) fn finish(child: Child) -> Output {
    bounded(child.id(), || child.wait_with_output().unwrap())
}

/// Waits for the end of a process. A process that hangs is killed, and the test fails.
pub(crate) fn bounded<T>(process: u32, wait: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (end, ended) = sync_channel::<()>(0);
        let watchdog = scope.spawn(move || {
            let hangs = ended.recv_timeout(TIMEOUT) == Err(RecvTimeoutError::Timeout);
            if hangs {
                // Fails if the process has just ended.
                let _ = kill(process).status();
            }
            hangs
        });
        let waited = wait();
        drop(end);
        assert!(!watchdog.join().unwrap(), "the process did not end within {TIMEOUT:?}");
        waited
    })
}

fn kill(process: u32) -> Command {
    let mut command = Command::new(if cfg!(windows) { "taskkill" } else { "kill" });
    command.args(if cfg!(windows) { ["/F", "/PID"] } else { ["-s", "KILL"] });
    command.arg(process.to_string());
    command
}
