//! Reads a module's file, as binary or text, within the limit of a module's size.

use crate::file::{self, FileError, STANDARD_INPUT};
use crate::problem::ENVIRONMENT;
use crate::remedy::limit;
use std::path::Path;
use wpc_host::{ErrorCode, Limits, WasmModule};

/// Why a module could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The text is not valid WebAssembly text.
    #[error("{0}")]
    Text(String),
}

impl ModuleError {
    /// Whether the file does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File(error) if error.is_not_found())
    }

    /// Whether the file is larger than the module's limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::File(error) if error.is_too_large())
    }

    /// One of the library's error codes, or [`ENVIRONMENT`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(_) if self.is_too_large() => ErrorCode::ModuleTooLarge.as_str(),
            Self::File(_) => ENVIRONMENT,
            Self::Text(_) => ErrorCode::NotWasm.as_str(),
        }
    }

    /// The text, with the manifest's remedy if there is one.
    pub(crate) fn full_text(&self) -> String {
        if self.is_too_large() {
            format!("{self}; raise {}", limit("module_size"))
        } else if self.is_not_found() {
            format!("{self}; has it been built?")
        } else {
            self.to_string()
        }
    }
}

/// Reads the module of a file, or of standard input if the path is `-`. Errors of the library name it by the path.
///
/// # Errors
///
/// See [`ModuleError`].
pub fn read_module(path: &Path, limits: &Limits) -> Result<WasmModule, ModuleError> {
    let bytes = file::read_given(path, limits.module_size)?;
    Ok(WasmModule::new(compiled(path, bytes)?).name(name(path)))
}

/// The name of the file's module in messages.
fn name(path: &Path) -> String {
    let is_input = path.as_os_str() == STANDARD_INPUT;
    if is_input { "standard input".to_owned() } else { path.display().to_string() }
}

/// Reads the module of a file.
pub(crate) fn bytes(path: &Path, limit: usize) -> Result<Vec<u8>, ModuleError> {
    compiled(path, file::read(path, limit)?)
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
