//! Encodes records at run time, for tools that add them to compiled modules.

use super::{CONSTANT, Constant, FUNCTION, IMPORT, Import, Items, SECTION, Signature};
use crate::schema::Sink;
use alloc::vec::Vec;
use postcard_schema::schema::owned::OwnedNamedType;

impl Signature {
    /// Encodes the signature as a record, for tools that add one to a compiled module.
    ///
    /// ```
    /// use wpc_abi::section::Section;
    /// use wpc_abi::text::parse_signature;
    ///
    /// let signature = parse_signature("greet", "(name: String) -> String").unwrap();
    /// let mut section = Section::default();
    /// section.read(&signature.record()).unwrap();
    /// assert_eq!(section.functions, [signature]);
    /// ```
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.put(&mut body);
        record(FUNCTION, &body)
    }

    fn put(&self, body: &mut Vec<u8>) {
        put_str(body, &self.name);
        put_varint(body, self.arguments.len());
        for argument in &self.arguments {
            put_str(body, &argument.name);
            put_optional_type(body, argument.ty.as_ref());
        }
        put_optional_type(body, self.result.as_ref());
        if self.error.is_some() || self.items != Items::None {
            put_optional_type(body, self.error.as_ref());
        }
        if self.items != Items::None {
            put_optional_type(body, self.items.ty());
        }
    }
}

impl Constant {
    /// Encodes the constant as a record, see [`Signature::record`].
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_str(&mut body, &self.name);
        put_optional_type(&mut body, self.ty.as_ref());
        record(CONSTANT, &body)
    }
}

impl Import {
    /// Encodes the import as a record, see [`Signature::record`].
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_str(&mut body, &self.module);
        self.signature.put(&mut body);
        record(IMPORT, &body)
    }
}

/// A custom section with these records, to be appended to a compiled module.
#[must_use]
pub fn custom_section(records: &[u8]) -> Vec<u8> {
    named_section(SECTION, records)
}

/// A custom section of this name.
pub(crate) fn named_section(name: &str, records: &[u8]) -> Vec<u8> {
    /// WebAssembly's id of custom sections. Its lengths are varints like postcard's.
    const CUSTOM: u8 = 0;
    let mut body = Vec::new();
    put_str(&mut body, name);
    body.extend_from_slice(records);
    let mut section = Vec::from([CUSTOM]);
    put_varint(&mut section, body.len());
    section.append(&mut body);
    section
}

pub(crate) fn record(kind: usize, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    put_varint(&mut record, kind);
    put_varint(&mut record, body.len());
    record.extend_from_slice(body);
    record
}

fn put_varint(out: &mut Vec<u8>, number: usize) {
    let mut buffer = [0; 10];
    let mut sink = Sink::new(&mut buffer);
    sink.varint(number);
    let len = sink.len();
    out.extend_from_slice(&buffer[..len]);
}

pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_optional_type(out: &mut Vec<u8>, ty: Option<&OwnedNamedType>) {
    // Encoding a type cannot fail. If it did, the type would be left undeclared.
    match ty.and_then(|ty| postcard::to_allocvec(ty).ok()) {
        Some(mut bytes) => {
            out.push(1);
            out.append(&mut bytes);
        }
        None => out.push(0),
    }
}
