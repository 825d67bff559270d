//! The custom sections in which a module declares its types and constants, and documents its functions.

use crate::definition::limits::MAX_TABLE_ELEMENTS;
use crate::error::Error;
use postcard_schema::schema::owned::OwnedNamedType;
use std::collections::{BTreeMap, BTreeSet};
use wpc_abi::documentation::{self, Documentation};
use wpc_abi::section::{Constant, SECTION, Section};

/// The maximum size of a module's custom section, in bytes. Decoded, it takes tens of times as much memory. A function of
/// the SDK takes about 100 bytes.
pub(crate) const MAX_SECTION: usize = 1 << 20;

/// The content of a module's custom sections.
#[derive(Default)]
pub(crate) struct Sections {
    pub(crate) declared: Section,
    pub(crate) documentation: Documentation,
}

/// Reads the module's custom sections. Tables that exceed every limit are refused here, because the engine's error would
/// not mention limits.
pub(crate) fn read_bytes(what: &str, bytes: &[u8]) -> Result<Sections, Error> {
    let mut sections = Sections::default();
    let mut total = 0;
    let malformed = |reason: String| Error::MalformedSection { what: what.to_owned(), reason };
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(wasmparser::Payload::CustomSection(custom)) if custom.name() == SECTION => {
                total += custom.data().len();
                if total > MAX_SECTION {
                    return Err(malformed(format!("it has more than {MAX_SECTION} bytes")));
                }
                let read = sections.declared.read(custom.data());
                read.map_err(|error| malformed(error.to_string()))?;
            }
            Ok(wasmparser::Payload::CustomSection(custom))
                if custom.name() == documentation::SECTION =>
            {
                sections.documentation.read(custom.data());
            }
            Ok(wasmparser::Payload::TableSection(tables)) => {
                for table in tables.into_iter().flatten() {
                    if table.ty.initial > MAX_TABLE_ELEMENTS as u64 {
                        let (what, limit) = (what.to_owned(), MAX_TABLE_ELEMENTS);
                        let found = table.ty.initial;
                        return Err(Error::TableTooLarge { what, limit, found });
                    }
                }
            }
            Ok(_) => {}
            // The compiler reports malformed modules with a better error.
            Err(_) => break,
        }
    }
    Ok(sections)
}

/// The names of the declared constants, and the types that are declared for them.
pub(crate) fn read_constants(
    constants: Vec<Constant>,
) -> (Vec<String>, BTreeMap<String, Vec<OwnedNamedType>>) {
    let mut names = BTreeSet::new();
    let mut types = BTreeMap::<String, Vec<_>>::new();
    for Constant { name, ty, .. } in constants {
        if let Some(ty) = ty {
            types.entry(name.clone()).or_default().push(ty);
        }
        names.insert(name);
    }
    (names.into_iter().collect(), types)
}
