//! Reads a module's file, as binary or text, within the limit of a module's size.

use crate::failure::Failure;
use crate::file::{self, FileError, STANDARD_INPUT};
use crate::problem::{MACHINE, Problem};
use crate::remedy::{Interface, limit};
use std::path::Path;
use wpc_host::{ErrorCode, Limits, WasmModule};

/// Why a module could not be read.
#[derive(Debug)]
pub(crate) enum ModuleError {
    /// The file could not be read.
    File(FileError),
    /// The text is not valid WebAssembly text.
    Text(String),
}

impl ModuleError {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::File(error) if error.is_not_found())
    }

    /// The error's code, and its message in the terms of the interface.
    pub(crate) fn problem(&self, interface: Interface) -> (&'static str, String) {
        match self {
            Self::File(error) if error.is_too_large() => {
                let option = limit("module_size", interface);
                (ErrorCode::ModuleTooLarge.as_str(), format!("{error}; raise {option}"))
            }
            Self::File(error) => (MACHINE, error.to_string()),
            Self::Text(why) => (ErrorCode::NotWasm.as_str(), why.clone()),
        }
    }
}

/// Reads the module that a command line names; `-` is standard input.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<WasmModule, Failure> {
    let read = file::read_given(path, limits.module_size).map_err(ModuleError::File);
    match read.and_then(|bytes| compiled(path, bytes)) {
        Ok(bytes) => Ok(WasmModule::new(bytes).name(name(path))),
        Err(error) => {
            let (code, message) = error.problem(Interface::Options);
            Err(Problem { code, ..Problem::machine(message) }.into())
        }
    }
}

/// The name of the file's module in messages.
fn name(path: &Path) -> String {
    let is_input = path.as_os_str() == STANDARD_INPUT;
    if is_input { "standard input".to_owned() } else { path.display().to_string() }
}

/// Reads the module of a file.
pub(crate) fn bytes(path: &Path, limit: usize) -> Result<Vec<u8>, ModuleError> {
    compiled(path, file::read(path, limit).map_err(ModuleError::File)?)
}

/// Compiles WebAssembly text to its binary form; returns anything else unchanged, for the host to validate. A `.wat`
/// file contains text, and standard input does if it begins like a text module.
fn compiled(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, ModuleError> {
    let text = file::without_byte_order_mark(&bytes);
    let is_input = path.as_os_str() == STANDARD_INPUT;
    let begins_as_text = || {
        let start = text.trim_ascii_start();
        start.starts_with(b"(module")
            || start.starts_with(b"(component")
            || start.starts_with(b";;")
    };
    let is_binary = bytes.starts_with(b"\0asm");
    let is_text =
        path.extension().is_some_and(|found| found == "wat") || (is_input && begins_as_text());
    if is_binary || !is_text {
        return Ok(bytes);
    }
    let named = name(path);
    wat::Parser::new()
        .parse_bytes(Some(Path::new(&named)), text)
        .map(|bytes| bytes.into_owned())
        .map_err(|error| {
            // The parser shows the position on several lines.
            let lines: Vec<_> =
                error.to_string().lines().map(|line| line.trim().to_owned()).collect();
            ModuleError::Text(format!(
                "\"{named}\" is not valid WebAssembly text: {}",
                lines.join(" ")
            ))
        })
}
