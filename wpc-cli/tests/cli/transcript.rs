//! Runs a document as its reader would: its commands in order, in one shell, comparing what it shows of their output.
//!
//! * A block after a line that ends with `` `PATH`: `` is a file.
//! * In a block of `console`, a line after `$ ` is a command, which is to succeed. The lines after it are its output,
//!   standard error included; without any, the output is not compared. In them `…` stands for any text, and a line of
//!   `…` for any lines.
//!
//! With `INSTA_UPDATE=always` what differs is written into the document, as for snapshots.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// How long a command may take. Far beyond what it takes: some compile.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a document is run.
pub(crate) struct Reader<'a> {
    /// The folder that the reader begins in; it is emptied.
    pub(crate) folder: PathBuf,
    /// Where the command `wpc` lies.
    pub(crate) path: &'a Path,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
    /// Beginnings of commands that are not run: they install something.
    pub(crate) skipped: &'a [&'a str],
    /// What stands in commands, and what is run in its place.
    pub(crate) replaced: Vec<(&'static str, String)>,
    /// A file that new packages of cargo's get, so that they are built with what is here already.
    pub(crate) lock: &'a Path,
}

impl Reader<'_> {
    pub(crate) fn follow(&self, document: &Path) {
        let _ = std::fs::remove_dir_all(&self.folder);
        std::fs::create_dir_all(&self.folder).unwrap();
        let text = std::fs::read_to_string(document).unwrap();
        let mut shell = Shell::start(self);
        let (mut updated, mut differences, mut commands) = (String::new(), Vec::new(), 0);
        let (mut before, mut lines) = ("", text.lines().peekable());
        while let Some(line) = lines.next() {
            push(&mut updated, line);
            let Some(language) = line.strip_prefix("```") else {
                before = if line.is_empty() { before } else { line };
                continue;
            };
            let mut block = Vec::new();
            for line in lines.by_ref().take_while(|line| *line != "```") {
                block.push(line);
            }
            if language == "console" {
                for (command, shown) in commands_of(&block) {
                    commands += 1;
                    push(&mut updated, &format!("$ {command}"));
                    let found = self.run(&mut shell, command);
                    let fits = shown.is_empty() || fit(&shown, &found.lines().collect::<Vec<_>>());
                    if fits {
                        shown.iter().for_each(|line| push(&mut updated, line));
                    } else {
                        found.lines().for_each(|line| push(&mut updated, line));
                        differences.push(format!("$ {command}\n{found}"));
                    }
                }
            } else {
                if let Some(file) = file_of(before) {
                    shell.write(file, &block.join("\n"));
                }
                block.iter().for_each(|line| push(&mut updated, line));
            }
            push(&mut updated, "```");
            before = "";
        }
        assert!(commands > 5, "{} has commands", document.display());
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            std::fs::write(document, updated).unwrap();
        } else {
            let differences = differences.join("\n");
            assert!(
                differences.is_empty(),
                "{} shows another output:\n{differences}",
                document.display()
            );
        }
    }

    fn run(&self, shell: &mut Shell, command: &str) -> String {
        if self.skipped.iter().any(|skipped| command.starts_with(skipped)) {
            return String::new();
        }
        let replace = |command: String, (from, to): &(&str, String)| command.replace(from, to);
        let typed = self.replaced.iter().fold(command.to_owned(), replace);
        let output = shell.run(&typed);
        let back = |output: String, (from, to): &(&str, String)| output.replace(to, from);
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let folder = entry.unwrap().path();
            if folder.join("Cargo.toml").is_file() && !folder.join("Cargo.lock").exists() {
                std::fs::copy(self.lock, folder.join("Cargo.lock")).unwrap();
            }
        }
        self.replaced.iter().fold(output, back)
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The file that a line announces.
fn file_of(line: &str) -> Option<&str> {
    line.strip_suffix("`:")?.rsplit('`').next()
}

/// Each command of a block with the output that is shown.
fn commands_of<'a>(block: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => {
                panic!("a block of `console` begins with a command, and not with {line:?}")
            }
        }
    }
    commands
}

fn fit(shown: &[&str], found: &[&str]) -> bool {
    match (shown, found) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=found.len()).any(|skipped| fit(rest, &found[skipped..])),
        ([line, shown @ ..], [other, found @ ..]) => fits(line, other) && fit(shown, found),
        _ => false,
    }
}

fn fits(shown: &str, found: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else { return shown == found };
    let Some(found) = found.strip_prefix(start) else { return false };
    let mut starts = found.char_indices().map(|(at, _)| at).chain([found.len()]);
    starts.any(|at| fits(rest, &found[at..]))
}

/// A shell that runs one command after another; its folder and its open files stay.
struct Shell {
    process: Child,
    input: Option<ChildStdin>,
    statuses: Receiver<String>,
    /// Where it puts what commands print.
    outputs: PathBuf,
    count: usize,
}

impl Shell {
    fn start(reader: &Reader<'_>) -> Self {
        let outputs = reader.folder.with_extension("outputs");
        std::fs::create_dir_all(&outputs).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut process = Command::new("sh")
            .current_dir(&reader.folder)
            .env("PATH", format!("{}:{path}", reader.path.display()))
            .envs(reader.environment.iter().map(|(name, value)| (name, value)))
            .env("RUST_BACKTRACE", "0")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, statuses) = sync_channel(1);
        let output = process.stdout.take().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the shell")]
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            // The test may be over.
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let input = process.stdin.take();
        Self { process, input, statuses, outputs, count: 0 }
    }

    fn send(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The output of a command, which is to succeed.
    fn run(&mut self, command: &str) -> String {
        self.count += 1;
        let output = self.outputs.join(self.count.to_string());
        let to = output.display();
        self.send(&format!("{{ {command}\n}} </dev/null >'{to}' 2>&1; echo $?\n"));
        let status = self.statuses.recv_timeout(PATIENCE);
        let output = std::fs::read_to_string(&output).unwrap();
        assert_eq!(status.as_deref(), Ok("0"), "$ {command}\n{output}");
        output
    }

    /// Writes a file from where the shell is.
    fn write(&mut self, path: &str, text: &str) {
        self.run(&format!("cat > {path} <<'END OF FILE'\n{text}\nEND OF FILE"));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.input = None;
        if !std::thread::panicking() {
            let _ = self.process.wait();
        }
        // What it started, and after a failure the shell itself.
        let group = format!("-{}", self.process.id());
        let _ =
            Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}
