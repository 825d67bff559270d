//! Nodes as processes of the command `wpc`, which are killed, stopped, drained and started again.

use super::guest_log::GuestLog;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of workers of a node.
pub(crate) const WORKERS: usize = 2;

/// How many calls a node accepts.
pub(crate) const CALLS: usize = 3 * WORKERS;

/// How long a process may take to start, and to end after SIGTERM. Only a hang reaches it.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);

/// How many lines of a node are shown if a check fails.
const KEPT_LINES: usize = 12;

/// The nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    program: PathBuf,
    folder: PathBuf,
    urls: String,
    log: Arc<GuestLog>,
}

/// A node. It is killed when this is dropped.
#[derive(Debug)]
struct Node {
    child: Child,
    ready: Receiver<()>,
    output: Arc<Mutex<Output>>,
}

/// What a node wrote to standard error.
#[derive(Debug, Default)]
struct Output {
    last: Vec<String>,
    panics: Vec<String>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails if the process has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name of a node.
pub(crate) fn name(number: usize) -> String {
    format!("n{number}")
}

impl Nodes {
    /// Starts `count` nodes, which store their data in `folder`.
    pub(crate) fn start(
        count: usize,
        folder: &Path,
        urls: &str,
        log: &Arc<GuestLog>,
    ) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("wpc");
        ensure!(
            program.is_file(),
            "{} is missing; `cargo xtask soak` builds it",
            program.display()
        );
        let pool = format!("[pool]\nworkers = {WORKERS}\nstop_timeout = \"10s\"\n");
        std::fs::write(folder.join("node.toml"), pool)?;
        let mut nodes = Self {
            nodes: Vec::new(),
            program,
            folder: folder.to_owned(),
            urls: urls.to_owned(),
            log: Arc::clone(log),
        };
        for number in 0..count {
            let node = nodes.spawn(number)?;
            nodes.nodes.push(node);
        }
        (0..count).try_for_each(|number| nodes.wait_ready(number))?;
        Ok(nodes)
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    fn spawn(&self, number: usize) -> Result<Node> {
        let name = name(number);
        let mut child = Command::new(&self.program)
            .args(["--json", "serve"])
            .arg(self.folder.join("node.toml"))
            .args(["--cluster", &self.urls, "--name", &name, "--listen", "127.0.0.1:0", "--data"])
            .arg(self.folder.join(&name))
            .env("WPC_CACHE", self.folder.join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start a node")?;
        let (sender, ready) = sync_channel(1);
        let output = Arc::new(Mutex::new(Output::default()));
        let lines = child.stderr.take().context("a node has no output")?;
        let (kept, log) = (Arc::clone(&output), Arc::clone(&self.log));
        #[expect(clippy::disallowed_methods, reason = "one for each node; it ends with the node")]
        std::thread::Builder::new()
            .name("soak-node".to_owned())
            .spawn(move || read(lines, &log, &kept, &sender))?;
        Ok(Node { child, ready, output })
    }

    fn wait_ready(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        let is_ready = node.ready.recv_timeout(PROCESS_TIMEOUT).is_ok();
        ensure!(is_ready, "node {} did not start:\n{}", name(number), self.output(number));
        Ok(())
    }

    /// The last lines of a node.
    pub(crate) fn output(&self, number: usize) -> String {
        let output = &self.nodes[number].output;
        output.lock().unwrap_or_else(PoisonError::into_inner).last.join("\n")
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        let node = &mut self.nodes[number];
        ensure!(
            node.child.try_wait()?.is_none(),
            "node {} has ended by itself:\n{}",
            name(number),
            self.output(number)
        );
        node.child.kill()?;
        node.child.wait()?;
        Ok(())
    }

    /// Sends a signal to a node.
    pub(crate) fn signal(&self, number: usize, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.nodes[number].child.id())?;
        kill_process(Pid::from_raw(id).context("not a process")?, signal)?;
        Ok(())
    }

    /// Waits for a node that was asked to end.
    pub(crate) fn wait_ended(&mut self, number: usize) -> Result<()> {
        let deadline = Instant::now() + PROCESS_TIMEOUT;
        let status = loop {
            if let Some(status) = self.nodes[number].child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("node {} did not end after SIGTERM:\n{}", name(number), self.output(number));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        ensure!(
            status.success(),
            "node {} ended with {status} after SIGTERM:\n{}",
            name(number),
            self.output(number)
        );
        self.check_panics(number)
    }

    /// Starts a node that has ended, and waits until it serves.
    pub(crate) fn restart(&mut self, number: usize) -> Result<()> {
        self.check_panics(number)?;
        let node = self.spawn(number)?;
        self.nodes[number] = node;
        self.wait_ready(number)
    }

    /// Ends all nodes by SIGTERM.
    pub(crate) fn end(&mut self) -> Result<()> {
        (0..self.count()).try_for_each(|number| self.signal(number, Signal::TERM))?;
        (0..self.count()).try_for_each(|number| self.wait_ended(number))
    }

    fn check_panics(&self, number: usize) -> Result<()> {
        let output = self.nodes[number].output.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(
            output.panics.is_empty(),
            "node {} panicked:\n{}",
            name(number),
            output.panics.join("\n")
        );
        Ok(())
    }
}

/// Reads what a node writes until it ends.
fn read(from: impl std::io::Read, log: &GuestLog, output: &Mutex<Output>, ready: &SyncSender<()>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if log.read(&line) {
            continue;
        }
        if line.contains("\"event\":\"ready\"") {
            // The receiver is dropped with the node.
            let _ = ready.try_send(());
        }
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        if line.contains("panicked at") {
            output.panics.push(line.clone());
        }
        if output.last.len() == KEPT_LINES {
            output.last.remove(0);
        }
        output.last.push(line);
    }
}
