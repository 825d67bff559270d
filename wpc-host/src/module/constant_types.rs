//! The types that a module declares for its constants, for defining them from JSON.

use crate::definition::WasmModule;
use crate::error::Error;
use crate::information::DeclaredType;
use crate::module::{read_bytes, read_constants};
use std::collections::BTreeMap;

impl WasmModule {
    /// The types that the module declares for its constants, by name. The module is not compiled. Constants without a
    /// declared type are not listed. If a constant has several declared types, the first one is listed.
    ///
    /// [`define_worker_constant_as`](crate::WorkerProcedureCall::define_worker_constant_as) accepts them.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedSection`].
    pub fn constant_types(&self) -> Result<BTreeMap<String, DeclaredType>, Error> {
        let sections = read_bytes("the module", &self.bytes)?;
        let (_, types) = read_constants(sections.declared.constants);
        let first = types.into_iter().filter_map(|(name, types)| {
            let first = types.into_iter().next()?;
            Some((name, DeclaredType(first)))
        });
        Ok(first.collect())
    }
}
