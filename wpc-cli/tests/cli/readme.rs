//! The README's commands, run as a new user would type them.

use crate::support::root;
use std::path::Path;
use std::process::Command;

/// Those that CI runs itself, or that install what the tests need before there is a test.
const NOT_HERE: [&str; 5] = [
    "cargo run --release --example quickstart",
    "cargo run --release --example plugin_host",
    "cargo test --workspace",
    "cargo install --locked --path wpc-cli",
    "rustup target add wasm32-unknown-unknown",
];

fn link_everything(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        std::os::unix::fs::symlink(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let repository = std::fs::canonicalize(root("")).unwrap();
    let readme = std::fs::read_to_string(repository.join("README.md")).unwrap();
    let blocks: Vec<_> = readme.split("```sh\n").skip(1).collect();
    assert!(blocks.len() >= 5, "they are found");
    let command = Path::new(env!("CARGO_BIN_EXE_wpc")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    for block in blocks {
        let block = block.split("```").next().unwrap();
        let lines = block.lines().filter(|line| !NOT_HERE.contains(line));
        let script = lines.collect::<Vec<_>>().join("\n");
        // What a block writes is its own.
        let folder = tempfile::tempdir().unwrap();
        link_everything(&repository, folder.path());
        let ran = Command::new("sh")
            .args(["-eu", "-c", &script])
            .current_dir(folder.path())
            .env("PATH", format!("{}:{path}", command.display()))
            .env("WPC_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{script}\n{said}");
    }
    let ci = std::fs::read_to_string(repository.join(".ci/run")).unwrap();
    for line in ["cargo test --workspace", "examples/quickstart", "examples/plugin_host"] {
        assert!(ci.contains(line), "CI runs `{line}`");
    }
}
