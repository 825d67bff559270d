//! The types that a module declares for its constants, for defining them from JSON.

use crate::definition::WasmModule;
use crate::error::Error;
use crate::module::{read_bytes, read_constants};
use postcard_schema::schema::owned::OwnedNamedType;
use std::collections::BTreeMap;
use wpc_abi::text::{NotAType, parse_type, type_text};

/// A type that a module declares, or that was parsed from text.
///
/// ```
/// use wpc_host::DeclaredType;
///
/// let ty: DeclaredType = "Map<String, u32>".parse()?;
/// assert_eq!(ty.to_string(), "Map<String, u32>");
/// # Ok::<(), wpc_abi::text::NotAType>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredType(pub(crate) OwnedNamedType);

impl std::fmt::Display for DeclaredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&type_text(&self.0))
    }
}

impl std::str::FromStr for DeclaredType {
    type Err = NotAType;

    fn from_str(text: &str) -> Result<Self, NotAType> {
        parse_type(text).map(Self)
    }
}

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
