//! `docs/embedder.md`, which documents this application, executed from an empty folder.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../../../wpc-cli/tests/cli/transcript.rs"]
mod transcript;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use transcript::Reader;

fn root() -> PathBuf {
    std::fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

fn guide() -> String {
    std::fs::read_to_string(root().join("docs/embedder.md")).unwrap()
}

/// The code blocks of a language, each with its final newline.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    text.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_guide_shows_the_whole_program() {
    let program = std::fs::read_to_string(root().join("examples/axum/src/main.rs")).unwrap();
    let shown = blocks(&guide(), "rust").join("\n");
    assert_eq!(shown, program);
}

#[test]
fn the_guide_shows_the_dependencies() {
    let manifest = std::fs::read_to_string(root().join("examples/axum/Cargo.toml")).unwrap();
    let shown = blocks(&guide(), "toml").join("");
    let dependencies = |text: &str| -> Vec<String> {
        let lines = text.split("[dependencies]\n").nth(1).unwrap().lines();
        let lines = lines.take_while(|line| !line.is_empty());
        lines.filter(|line| !line.starts_with("wpc-host")).map(str::to_owned).collect()
    };
    assert_eq!(dependencies(&shown), dependencies(&manifest));
    assert!(dependencies(&shown).len() > 3);
}

#[test]
fn an_embedder_follows_the_guide() {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // The port was free a moment ago, and is very likely still free when the server starts.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    Reader {
        folder: here.join("embedder"),
        path: Path::new("/"),
        environment: Vec::new(),
        skipped: &[],
        replaced: vec![
            ("../wpc/", format!("{}/", root().display())),
            ("cargo run --release --", format!("exec {}", env!("CARGO_BIN_EXE_application"))),
            ("127.0.0.1:3000", address),
        ],
        lock: &root().join("Cargo.lock"),
    }
    .follow(&root().join("docs/embedder.md"));
}
