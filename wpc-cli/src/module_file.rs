//! Reads a module that a command line names.

use crate::failure::Failure;
use crate::remedy::limit;
use std::path::Path;
use wpc_deploy::{Problem, read_module};
use wpc_host::{Limits, WasmModule};

/// Reads the module's file, as binary or text; `-` is standard input.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<WasmModule, Failure> {
    read_module(path, limits).map_err(|error| {
        let remedy = error.is_too_large().then(|| limit("module_size"));
        let remedy = remedy.map(|option| format!("; raise {option}")).unwrap_or_default();
        let mut problem = Problem::environment(format!("{error}{remedy}"));
        problem.code = error.code();
        problem.into()
    })
}
