//! Runs the commands of the READMEs as a new user would type them.

use crate::process::{run, shell};
use crate::projects::expects_every_compiler;
use crate::support::{err, out, root, wpc_from};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Commands that CI runs separately, or that install something.
const SKIPPED: [&str; 4] = ["cargo ", "rustup ", "pip ", "npm install "];

/// A writable copy of the repository: links to most of it, and copies of the folders that the commands write to.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = std::fs::canonicalize(root("")).unwrap();
        let (examples, languages) = ("examples", "examples/languages");
        link_all_but(&repository, folder.path(), "examples");
        link_all_but(&repository.join(examples), &folder.path().join(examples), "languages");
        copy_all(&repository.join(languages), &folder.path().join(languages));
        Self(folder)
    }

    /// Runs each block of commands of a document, in the folder `from` of the repository.
    fn run_blocks(&self, document: &str, from: &str) {
        let text = std::fs::read_to_string(root(document)).unwrap();
        let blocks: Vec<_> = text.split("```sh\n").skip(1).collect();
        assert!(!blocks.is_empty(), "{document} has commands");
        let command = Path::new(env!("CARGO_BIN_EXE_wpc")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        for block in blocks {
            let block = block.split("```").next().unwrap();
            let is_run = |line: &&str| SKIPPED.iter().all(|start| !line.starts_with(start));
            let script = block.lines().filter(is_run).collect::<Vec<_>>().join("\n");
            let script = script.replace("127.0.0.1:7071", &free_address());
            let mut shell = shell(&script, &[]);
            shell.current_dir(self.0.path().join(from));
            let ran = run(shell.env("PATH", format!("{}:{path}", command.display())));
            assert!(ran.status.success(), "{document}:\n{script}\n{}", err(&ran));
        }
    }
}

/// A free address. No other process gets its port by chance: it is below those from which the system chooses.
pub(crate) fn free_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(16).wrapping_add(count) % 10_000;
        let address = format!("127.0.0.1:{}", 20_000 + offset);
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn link_all_but(from: &Path, to: &Path, but: &str) {
    std::fs::create_dir_all(to).unwrap();
    for path in entries(from) {
        let name = path.file_name().unwrap();
        if name != but {
            std::os::unix::fs::symlink(&path, to.join(name)).unwrap();
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for path in entries(from) {
        let to = to.join(path.file_name().unwrap());
        if !path.is_dir() {
            std::fs::copy(&path, to).unwrap();
        } else if !path.ends_with("node_modules") && !path.ends_with("target") {
            copy_all(&path, &to);
        }
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    Copy::new().run_blocks("README.md", "");
    let ci = std::fs::read_to_string(root(".ci/run")).unwrap();
    for line in ["cargo test --workspace", "examples/quickstart", "examples/plugin_host"] {
        assert!(ci.contains(line), "CI runs `{line}`");
    }
}

#[test]
fn the_commands_of_the_language_examples_work() {
    let copy = Copy::new();
    copy.run_blocks("examples/languages/README.md", "");
    if expects_every_compiler() {
        for language in ["assemblyscript", "c", "c-wasi", "streams", "wat", "zig"] {
            let folder = format!("examples/languages/{language}");
            copy.run_blocks(&format!("{folder}/README.md"), &folder);
        }
    }
}

#[test]
fn the_documented_manifest_is_valid() {
    let text = std::fs::read_to_string(root("docs/manifest.md")).unwrap();
    let manifest = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("wpc.toml"), manifest).unwrap();
    for (name, from) in [
        ("path.wasm", "examples/guests/wasm/path.wasm"),
        ("greeter.wasm", "examples/languages/wasm/wat.wasm"),
        ("tools.wasm", "fixtures/wasm/sdk.wasm"),
    ] {
        std::fs::copy(root(from), folder.join(name)).unwrap();
    }
    let tested = wpc_from(folder, &["test"]);
    assert_eq!(out(&tested), "1 test passed\n", "{}", err(&tested));
}
