//! A module's file: read within the limit of a module's size.

use crate::failure::Failure;
use crate::file;
use crate::problem::{MACHINE, Problem};
use crate::remedy::{Interface, limit};
use std::path::Path;
use wpc_host::{ErrorCode, Limits, WasmModule};

/// Reads the module that a command line names; `-` is standard input.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<WasmModule, Failure> {
    match file::read_given(path, limits.module_size) {
        Ok(bytes) => Ok(WasmModule::new(bytes)),
        Err(error) => {
            let (code, message) = problem(&error, Interface::Options);
            Err(Problem { code, ..Problem::machine(message) }.into())
        }
    }
}

/// The code of a module's file that was not read, and why it was not.
pub(crate) fn problem(error: &file::FileError, interface: Interface) -> (&'static str, String) {
    if error.is_too_large() {
        let option = limit("module_size", interface);
        (ErrorCode::ModuleTooLarge.as_str(), format!("{error}; raise {option}"))
    } else {
        (MACHINE, error.to_string())
    }
}
