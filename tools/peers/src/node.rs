//! Node's pools: a process that lives as long as the run and reads commands, one line of JSON each.

use crate::contestant::{Contestant, Load, Work};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

pub(crate) const LIBRARIES: [&str; 3] = ["piscina", "tinypool", "workerpool"];

/// The folder of the scripts and their libraries.
pub(crate) fn folder() -> PathBuf {
    crate::guests::here().join("node")
}

/// The version of Node, if it and the libraries are installed.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("node").arg("--version").output().ok()?;
    let installed =
        LIBRARIES.iter().all(|library| folder().join("node_modules").join(library).is_dir());
    let version = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && installed)
        .then(|| version.trim().trim_start_matches('v').to_owned())
}

/// The process.
pub(crate) struct Node {
    process: Child,
    answers: BufReader<ChildStdout>,
}

/// The memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    pub(crate) peak: f64,
}

impl Node {
    pub(crate) fn start() -> Result<Self> {
        let mut process = Command::new("node")
            .arg(folder().join("peers.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(process.stdout.take().context("stdout should be piped")?);
        Ok(Self { process, answers })
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &Value) -> Result<T> {
        let commands = self.process.stdin.as_mut().context("Node is ending")?;
        writeln!(commands, "{command}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("Node did not answer")?;
        if let Some(error) = answer.get("error") {
            bail!("Node: {error}");
        }
        Ok(serde_json::from_value(answer)?)
    }

    pub(crate) fn memory(&mut self) -> Result<Memory> {
        self.ask(&json!({ "command": "memory" }))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Node exits at the end of its input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// One library's pool in the process.
pub(crate) struct Pool {
    node: Rc<RefCell<Node>>,
    library: &'static str,
    number: u64,
}

impl Pool {
    pub(crate) fn start(
        node: &Rc<RefCell<Node>>,
        library: &'static str,
        threads: usize,
    ) -> Result<Self> {
        Self::sharing(node, library, threads, 1)
    }

    /// A pool each of whose threads runs this number of tasks at a time.
    pub(crate) fn sharing(
        node: &Rc<RefCell<Node>>,
        library: &'static str,
        threads: usize,
        tasks: usize,
    ) -> Result<Self> {
        #[derive(Deserialize)]
        struct Opened {
            pool: u64,
        }
        let open =
            json!({ "command": "open", "library": library, "threads": threads, "tasks": tasks });
        let opened: Opened = node.borrow_mut().ask(&open)?;
        Ok(Self { node: Rc::clone(node), library, number: opened.pool })
    }

    /// The time until this number of tasks have ended that each wait this long.
    pub(crate) fn wait(&mut self, calls: u32, wait: Duration) -> Result<Duration> {
        self.load(json!({ "wait": wait.as_millis(), "outstanding": calls, "calls": calls }))
    }

    /// Node measures the time, so that it does not include the JSON.
    fn load(&mut self, load: Value) -> Result<Duration> {
        #[derive(Deserialize)]
        struct Ran {
            nanoseconds: u64,
        }
        let run = json!({ "command": "run", "pool": self.number, "load": load });
        let ran: Ran = self.node.borrow_mut().ask(&run)?;
        Ok(Duration::from_nanos(ran.nanoseconds))
    }
}

impl Contestant for Pool {
    fn series(&self) -> &'static str {
        self.library
    }

    fn run(&mut self, load: Load) -> Result<Duration> {
        let echo = match load.work {
            Work::Add => None,
            Work::Echo(len) => Some(len),
            Work::Fresh | Work::AfterTrap => bail!("Node's pools have no sandboxes"),
        };
        let (outstanding, calls) = (load.outstanding, load.calls);
        self.load(json!({ "echo": echo, "outstanding": outstanding, "calls": calls }))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let close = json!({ "command": "close", "pool": self.number });
        let closed: Result<Value> = self.node.borrow_mut().ask(&close);
        if let Err(error) = closed {
            eprintln!("failed to close {}: {error:#}", self.library);
        }
    }
}
