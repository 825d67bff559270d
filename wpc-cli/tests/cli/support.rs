//! Files that tests pass to the command, and checks of its output.

pub(crate) use crate::process::{wpc, wpc_from, wpc_with};
use std::path::{Path, PathBuf};
use std::process::Output;

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
