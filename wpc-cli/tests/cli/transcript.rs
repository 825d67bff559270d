//! Runs the commands of a document in order, in one shell, and compares their output with the document.
//!
//! * A block after a line that ends with `` `PATH`: `` is written to that file.
//! * In a `console` block, a line that begins with `$ ` is a command, which must succeed. The lines after it are its
//!   expected output, including standard error; if there are none, the output is not compared. `…` matches any text, and
//!   a line with only `…` matches any lines.
//!
//! With `INSTA_UPDATE=always`, the actual output is written to the document, as for snapshots.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// The maximum time of a command. Some commands compile projects.
const TIMEOUT: Duration = Duration::from_secs(900);

/// The settings for running a document.
pub(crate) struct Reader<'a> {
    /// The initial working folder; it is emptied first.
    pub(crate) folder: PathBuf,
    /// The folder of the command `wpc`.
    pub(crate) path: &'a Path,
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
    /// Prefixes of commands that are not run, because they install something.
    pub(crate) skipped: &'a [&'a str],
    /// Replacements in commands and files, which are reversed in the output of commands.
    pub(crate) replaced: Vec<(&'static str, String)>,
    /// A lock file that is copied to new packages, so that they use dependencies that are already downloaded.
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
                    shell.write(file, &self.typed(&block.join("\n")));
                }
                block.iter().for_each(|line| push(&mut updated, line));
            }
            push(&mut updated, "```");
            before = "";
        }
        assert!(commands > 5, "expected more commands in {}", document.display());
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            std::fs::write(document, updated).unwrap();
        } else {
            let differences = differences.join("\n");
            assert!(
                differences.is_empty(),
                "the output differs from {}:\n{differences}",
                document.display()
            );
        }
    }

    /// A command or a file of the document, with the replacements.
    fn typed(&self, text: &str) -> String {
        let replace = |text: String, (from, to): &(&str, String)| text.replace(from, to);
        self.replaced.iter().fold(text.to_owned(), replace)
    }

    fn run(&self, shell: &mut Shell, command: &str) -> String {
        if self.skipped.iter().any(|skipped| command.starts_with(skipped)) {
            return String::new();
        }
        let output = shell.run(&self.typed(command));
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

/// The path in a line that introduces a file.
fn file_of(line: &str) -> Option<&str> {
    line.strip_suffix("`:")?.rsplit('`').next()
}

/// Each command of a block, with its expected output.
fn commands_of<'a>(block: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => {
                panic!("a `console` block must begin with a command, found {line:?}")
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

/// A shell that runs commands one after another, and keeps its working folder and open files.
struct Shell {
    process: Child,
    input: Option<ChildStdin>,
    statuses: Receiver<String>,
    /// The folder for the commands' output.
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
            // Sending fails when the test is over.
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let input = process.stdin.take();
        Self { process, input, statuses, outputs, count: 0 }
    }

    fn send(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Runs a command, which must succeed, and returns its output.
    fn run(&mut self, command: &str) -> String {
        self.count += 1;
        let output = self.outputs.join(self.count.to_string());
        let to = output.display();
        self.send(&format!("{{ {command}\n}} </dev/null >'{to}' 2>&1; echo $?\n"));
        let status = self.statuses.recv_timeout(TIMEOUT);
        let output = std::fs::read_to_string(&output).unwrap();
        assert_eq!(status.as_deref(), Ok("0"), "$ {command}\n{output}");
        output
    }

    /// Writes a file, relative to the shell's working folder.
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
        // Kills the processes that the shell started and, after a failure, the shell itself.
        let group = format!("-{}", self.process.id());
        let _ =
            Command::new("kill").args(["-s", "KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}
