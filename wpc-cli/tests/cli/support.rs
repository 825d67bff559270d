//! Runs the command and captures its output.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(crate) fn sdk() -> String {
    root("fixtures/wasm/sdk.wasm").display().to_string()
}

/// Compiles the text to a module in a file of the folder; returns its path.
pub(crate) fn wat(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path.display().to_string()
}

pub(crate) fn wpc_with(input: &[u8], arguments: &[&str]) -> Output {
    let mut child = start(arguments);
    // Fails if the command exits without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Starts the command, with a compile cache that all tests share.
pub(crate) fn start(arguments: &[&str]) -> Child {
    start_from(Path::new("."), arguments)
}

fn start_from(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wpc"))
        .args(arguments)
        .current_dir(folder)
        .env("WPC_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the command in a folder.
pub(crate) fn wpc_from(folder: &Path, arguments: &[&str]) -> Output {
    start_from(folder, arguments).wait_with_output().unwrap()
}

pub(crate) fn wpc(arguments: &[&str]) -> Output {
    wpc_with(b"", arguments)
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Checks that the command failed with this exit code; returns its standard error.
pub(crate) fn fails_with(code: i32, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
    assert!(output.stdout.is_empty(), "{}", out(output));
    err(output)
}
