//! The custom section in which a module tells about itself, readable without running it.
//!
//! The section is a row of records. A record is its kind (a varint), the length of its body (a
//! varint) and its body; a kind that a reader does not know is passed over, so that later hosts
//! and guests can tell more. Several sections of the name count as one.

use crate::schema::{MAX_DEPTH, Malformed, Sink, Source};
use alloc::string::String;
use alloc::vec::Vec;
use postcard_schema::schema::NamedType;
use postcard_schema::schema::owned::OwnedNamedType;

/// The custom section's name.
pub const SECTION: &str = "wpc";

const FUNCTION: usize = 1;
const CONSTANT: usize = 2;
const IMPORT: usize = 3;

/// What a module tells of one of its functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The export's name.
    pub name: String,
    /// The arguments' names and types, in order.
    pub arguments: Vec<Argument>,
    /// The result's type; `None` where it has no schema.
    pub result: Option<OwnedNamedType>,
    /// The type of the errors that it returns; `None` where it has no schema, or there are none.
    pub error: Option<OwnedNamedType>,
}

/// One argument of a [`Signature`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The argument's name in the guest's source.
    pub name: String,
    /// Its type; `None` where it has no schema.
    pub ty: Option<OwnedNamedType>,
}

/// A constant that a module needs in order to run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// The type that the module reads it as; `None` if it declares none.
    pub ty: Option<OwnedNamedType>,
}

/// The types that a module declares for a function that it imports with bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Import {
    /// The import module: that of a typed dependency, or of the host's functions.
    pub module: String,
    /// The function's name and types.
    pub signature: Signature,
}

/// Everything the section tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The functions whose types are told.
    pub functions: Vec<Signature>,
    /// The constants the module needs in order to run.
    pub constants: Vec<Constant>,
    /// The functions that it imports and declares types for. It need not import each of them.
    pub imports: Vec<Import>,
}

impl Section {
    /// Reads one section's bytes into what is known so far.
    ///
    /// # Errors
    ///
    /// [`Malformed`] where the bytes are no row of records; what was read until then is kept.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut section = Source::new(bytes);
        while !section.is_empty() {
            let kind = section.varint()?;
            let mut body = Source::new(section.bytes()?);
            match kind {
                FUNCTION => self.functions.push(read_function(&mut body)?),
                CONSTANT => self.constants.push(read_constant(&mut body)?),
                IMPORT => self
                    .imports
                    .push(Import { module: body.str()?, signature: read_function(&mut body)? }),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Signature {
    /// The signature as a record of the section, for whoever adds one to a module that is compiled.
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
        if self.error.is_some() {
            put_optional_type(body, self.error.as_ref());
        }
    }
}

impl Constant {
    /// A constant of this type.
    #[must_use]
    pub fn new(name: &str, ty: Option<OwnedNamedType>) -> Self {
        Self { name: name.into(), ty }
    }

    /// The constant as a record of the section, see [`Signature::record`].
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_str(&mut body, &self.name);
        put_optional_type(&mut body, self.ty.as_ref());
        record(CONSTANT, &body)
    }
}

impl Import {
    /// A function of an import module, with the types that its importer declares.
    #[must_use]
    pub fn new(module: &str, signature: Signature) -> Self {
        Self { module: module.into(), signature }
    }

    /// The import as a record of the section, see [`Signature::record`].
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_str(&mut body, &self.module);
        self.signature.put(&mut body);
        record(IMPORT, &body)
    }
}

fn record(kind: usize, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    put_varint(&mut record, kind);
    put_varint(&mut record, body.len());
    record.extend_from_slice(body);
    record
}

/// The custom section that holds these records, to be appended to a module that is compiled.
#[must_use]
pub fn custom_section(records: &[u8]) -> Vec<u8> {
    /// What WebAssembly calls custom sections by. Its lengths are varints like postcard's.
    const CUSTOM: u8 = 0;
    let mut body = Vec::new();
    put_str(&mut body, SECTION);
    body.extend_from_slice(records);
    let mut section = Vec::from([CUSTOM]);
    put_varint(&mut section, body.len());
    section.append(&mut body);
    section
}

fn put_varint(out: &mut Vec<u8>, number: usize) {
    let mut room = [0; 10];
    let mut sink = Sink::new(&mut room);
    sink.varint(number);
    let len = sink.len();
    out.extend_from_slice(&room[..len]);
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_optional_type(out: &mut Vec<u8>, ty: Option<&OwnedNamedType>) {
    // A type always encodes; were it not so, it is not told.
    match ty.and_then(|ty| postcard::to_allocvec(ty).ok()) {
        Some(mut bytes) => {
            out.push(1);
            out.append(&mut bytes);
        }
        None => out.push(0),
    }
}

fn read_function(body: &mut Source<'_>) -> Result<Signature, Malformed> {
    Ok(Signature {
        name: body.str()?,
        arguments: body
            .list(|body| Ok(Argument { name: body.name()?, ty: read_optional_type(body)? }))?,
        result: read_optional_type(body)?,
        // It came later, and most functions have none.
        error: if body.is_empty() { None } else { read_optional_type(body)? },
    })
}

fn read_constant(body: &mut Source<'_>) -> Result<Constant, Malformed> {
    let name = body.str()?;
    // Without a type, the record ends here.
    let ty = if body.is_empty() { None } else { read_optional_type(body)? };
    Ok(Constant { name, ty })
}

fn read_optional_type(body: &mut Source<'_>) -> Result<Option<OwnedNamedType>, Malformed> {
    match body.byte()? {
        0 => Ok(None),
        1 => body.named_type(MAX_DEPTH).map(Some),
        _ => Err(Malformed::OutOfRange),
    }
}

/// A record to be written while a guest is compiled.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// A function's signature.
    Function {
        /// The export's name.
        name: &'a str,
        /// The arguments' names and types.
        arguments: &'a [(&'a str, Option<&'a NamedType>)],
        /// The result's type.
        result: Option<&'a NamedType>,
        /// The type of the errors that it returns.
        error: Option<&'a NamedType>,
    },
    /// A constant the module needs.
    Constant {
        /// The constant's name.
        name: &'a str,
        /// The type that it is read as.
        ty: Option<&'a NamedType>,
    },
    /// An imported function's types.
    Import {
        /// The import module.
        module: &'a str,
        /// The import's name.
        name: &'a str,
        /// The arguments' names and types.
        arguments: &'a [(&'a str, Option<&'a NamedType>)],
        /// The result's type.
        result: Option<&'a NamedType>,
    },
}

impl Record<'_> {
    /// How many bytes [`Record::encode`] needs.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let mut sink = Sink::new(&mut []);
        self.write(&mut sink);
        sink.len()
    }

    /// The record's bytes; `N` is [`Record::encoded_len`].
    ///
    /// # Panics
    ///
    /// When `N` is another number: while the guest is compiled, since that is where this runs.
    #[must_use]
    pub const fn encode<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut sink = Sink::new(&mut bytes);
        self.write(&mut sink);
        assert!(sink.len() == N, "the record has another length");
        bytes
    }

    const fn write(&self, sink: &mut Sink<'_>) {
        sink.varint(match self {
            Self::Function { .. } => FUNCTION,
            Self::Constant { .. } => CONSTANT,
            Self::Import { .. } => IMPORT,
        });
        let mut measure = Sink::new(&mut []);
        self.write_body(&mut measure);
        sink.varint(measure.len());
        self.write_body(sink);
    }

    const fn write_body(&self, sink: &mut Sink<'_>) {
        match self {
            Self::Function { name, arguments, result, error } => {
                write_signature(sink, name, arguments, *result);
                if error.is_some() {
                    write_optional_type(sink, *error);
                }
            }
            Self::Constant { name, ty } => {
                sink.str(name);
                write_optional_type(sink, *ty);
            }
            Self::Import { module, name, arguments, result } => {
                sink.str(module);
                write_signature(sink, name, arguments, *result);
            }
        }
    }
}

const fn write_signature(
    sink: &mut Sink<'_>,
    name: &str,
    arguments: &[(&str, Option<&NamedType>)],
    result: Option<&NamedType>,
) {
    sink.str(name);
    sink.varint(arguments.len());
    let mut at = 0;
    while at < arguments.len() {
        sink.str(arguments[at].0);
        write_optional_type(sink, arguments[at].1);
        at += 1;
    }
    write_optional_type(sink, result);
}

const fn write_optional_type(sink: &mut Sink<'_>, ty: Option<&NamedType>) {
    match ty {
        None => sink.byte(0),
        Some(ty) => {
            sink.byte(1);
            sink.named_type(ty);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schema;
    use alloc::vec;
    use proptest::prelude::*;

    const RECORD: Record<'static> = Record::Function {
        name: "area",
        arguments: &[("width", Some(u32::SCHEMA)), ("opaque", None)],
        result: Some(<Option<u64>>::SCHEMA),
        error: None,
    };
    const BYTES: [u8; RECORD.encoded_len()] = RECORD.encode();

    const IMPORTED: Record<'static> = Record::Import {
        module: "wpc:shapes",
        name: "area",
        arguments: &[("width", Some(u32::SCHEMA)), ("opaque", None)],
        result: Some(<Option<u64>>::SCHEMA),
    };
    const IMPORTED_BYTES: [u8; IMPORTED.encoded_len()] = IMPORTED.encode();
    const LIMIT: Record<'static> = Record::Constant { name: "LIMIT", ty: Some(u32::SCHEMA) };
    const LIMIT_BYTES: [u8; LIMIT.encoded_len()] = LIMIT.encode();

    #[test]
    fn a_section_written_by_the_compiler_reads_back() {
        let mut bytes = BYTES.to_vec();
        bytes.extend(LIMIT_BYTES);
        bytes.extend(IMPORTED_BYTES);
        bytes.extend([99, 2, 1, 2]);

        let mut section = Section::default();
        section.read(&bytes).unwrap();
        assert_eq!(section.constants, [Constant::new("LIMIT", Some(u32::SCHEMA.into()))]);
        let signature = Signature {
            name: "area".into(),
            arguments: vec![
                Argument { name: "width".into(), ty: Some(u32::SCHEMA.into()) },
                Argument { name: "opaque".into(), ty: None },
            ],
            result: Some(<Option<u64>>::SCHEMA.into()),
            error: None,
        };
        assert_eq!(section.functions, core::slice::from_ref(&signature));
        assert_eq!(section.imports, [Import::new("wpc:shapes", signature)]);

        let mut written = section.functions[0].record();
        written.extend(section.constants[0].record());
        written.extend(section.imports[0].record());
        assert_eq!(written, bytes[..bytes.len() - 4], "both writers write the same");
    }

    #[test]
    fn a_constant_without_type_reads_as_older_guests_write_it() {
        let mut section = Section::default();
        section.read(b"\x02\x07\x06PREFIX\x02\x08\x06PREFIX\x00").unwrap();
        assert_eq!(section.constants, [(); 2].map(|()| Constant::new("PREFIX", None)));
    }

    #[test]
    fn the_type_of_errors_may_follow_the_result() {
        #[derive(Schema)]
        #[expect(dead_code, reason = "only the schema is of interest")]
        enum Why {
            Empty,
            TooLong { limit: u32 },
        }
        const FAILS: Record<'static> = Record::Function {
            name: "fails",
            arguments: &[],
            result: Some(u32::SCHEMA),
            error: Some(Why::SCHEMA),
        };
        let bytes: [u8; FAILS.encoded_len()] = FAILS.encode();
        let mut section = Section::default();
        section.read(&bytes).unwrap();
        assert_eq!(section.functions[0].error, Some(Why::SCHEMA.into()));
        assert_eq!(section.functions[0].record(), bytes);
        for end in 1..bytes.len() {
            assert!(Section::default().read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn every_cut_of_a_record_is_refused() {
        for record in [&BYTES[..], &LIMIT_BYTES, &IMPORTED_BYTES] {
            for end in 1..record.len() {
                assert!(Section::default().read(&record[..end]).is_err(), "cut at {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Section::default().read(&bytes);
        }
    }
}
