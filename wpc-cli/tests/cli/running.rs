//! A running `wpc run`: sends calls, and receives answers and notices.

use crate::process::{bounded, start};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Replaces a manifest atomically, so that readers never see a partial one.
pub(crate) fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("wpc.toml");
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), &path).unwrap();
    path.display().to_string()
}

/// The maximum wait for anything. It is far longer than necessary, so that only a hang reaches it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(180);

/// Reads lines on a thread.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(1000);
    #[expect(clippy::disallowed_methods, reason = "ends with the process that it reads from")]
    std::thread::spawn(move || {
        // Sending fails when the test is over.
        BufReader::new(from).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    lines
}

/// A process of `wpc run`.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) calls: Option<ChildStdin>,
    pub(crate) answers: Receiver<String>,
    notices: Receiver<String>,
}

impl Running {
    /// Starts with `--watch`.
    pub(crate) fn watch(manifest: &str) -> Self {
        Self::start(&["--json", "run", manifest, "--watch"])
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut running = Self::start_unread(arguments);
        running.answers = lines(running.child.stdout.take().unwrap());
        running
    }

    /// Starts without reading standard output.
    pub(crate) fn start_unread(arguments: &[&str]) -> Self {
        Self::of(start(arguments))
    }

    /// A process that was started with pipes.
    pub(crate) fn of(mut child: Child) -> Self {
        Self {
            calls: child.stdin.take(),
            answers: sync_channel(0).1,
            notices: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Sends a call without waiting for its answer.
    pub(crate) fn send(&mut self, function: &str, arguments: Value) {
        let call = json!({ "function": function, "arguments": arguments });
        writeln!(self.calls.as_mut().unwrap(), "{call}").unwrap();
    }

    /// The next answer.
    pub(crate) fn answer(&self) -> Value {
        serde_json::from_str(&self.answers.recv_timeout(TIMEOUT).unwrap()).unwrap()
    }

    /// The result of a call, or the code of its error.
    pub(crate) fn call(&mut self, function: &str) -> Value {
        self.send(function, json!([]));
        let answer = self.answer();
        if answer["error"].is_null() {
            answer["value"].clone()
        } else {
            answer["error"]["code"].clone()
        }
    }

    /// Waits for a notice of this event that contains `text`. Panics at an unexpected rejection.
    pub(crate) fn wait_for(&mut self, event: &str, text: &str) {
        self.wait_for_line(event, text);
    }

    /// The same, and returns the notice.
    pub(crate) fn wait_for_line(&self, event: &str, text: &str) -> String {
        loop {
            let line = self.notice();
            let notice: Value = serde_json::from_str(&line).unwrap();
            if notice["event"] == event && line.contains(text) {
                return line;
            }
            assert!(event == "refused" || notice["event"] != "refused", "{line}");
        }
    }

    /// The next line of standard error.
    pub(crate) fn notice(&self) -> String {
        self.notices.recv_timeout(TIMEOUT).unwrap()
    }

    /// The remaining lines of standard error of a process that has ended.
    pub(crate) fn all_notices(&self) -> Vec<String> {
        self.notices.iter().collect()
    }

    /// Waits for the process, and returns its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        bounded(self.child.id(), || self.child.wait()).unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the process has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
