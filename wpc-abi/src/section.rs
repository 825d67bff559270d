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

/// What a module tells of one of its functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The export's name.
    pub name: String,
    /// The arguments' names and types, in order.
    pub arguments: Vec<Argument>,
    /// The result's type; `None` where it has no schema.
    pub result: Option<OwnedNamedType>,
}

/// One argument of a [`Signature`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The argument's name in the guest's source.
    pub name: String,
    /// Its type; `None` where it has no schema.
    pub ty: Option<OwnedNamedType>,
}

/// Everything the section tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The functions whose types are told.
    pub functions: Vec<Signature>,
    /// The constants the module needs in order to run.
    pub constants: Vec<String>,
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
                CONSTANT => self.constants.push(body.str()?),
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
        put_str(&mut body, &self.name);
        put_varint(&mut body, self.arguments.len());
        for argument in &self.arguments {
            put_str(&mut body, &argument.name);
            put_optional_type(&mut body, argument.ty.as_ref());
        }
        put_optional_type(&mut body, self.result.as_ref());
        let mut record = Vec::new();
        put_varint(&mut record, FUNCTION);
        put_varint(&mut record, body.len());
        record.append(&mut body);
        record
    }
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
    })
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
    },
    /// A constant the module needs.
    Constant {
        /// The constant's name.
        name: &'a str,
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
        });
        let mut measure = Sink::new(&mut []);
        self.write_body(&mut measure);
        sink.varint(measure.len());
        self.write_body(sink);
    }

    const fn write_body(&self, sink: &mut Sink<'_>) {
        match self {
            Self::Function { name, arguments, result } => {
                sink.str(name);
                sink.varint(arguments.len());
                let mut at = 0;
                while at < arguments.len() {
                    sink.str(arguments[at].0);
                    write_optional_type(sink, arguments[at].1);
                    at += 1;
                }
                write_optional_type(sink, *result);
            }
            Self::Constant { name } => sink.str(name),
        }
    }
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
    use alloc::vec;
    use postcard_schema::Schema;
    use proptest::prelude::*;

    const RECORD: Record<'static> = Record::Function {
        name: "area",
        arguments: &[("width", Some(u32::SCHEMA)), ("opaque", None)],
        result: Some(<Option<u64>>::SCHEMA),
    };
    const BYTES: [u8; RECORD.encoded_len()] = RECORD.encode();

    #[test]
    fn a_section_written_by_the_compiler_reads_back() {
        let constant = Record::Constant { name: "PREFIX" };
        let mut bytes = BYTES.to_vec();
        bytes.extend(constant.encode::<9>());
        bytes.extend([99, 2, 1, 2]);

        let mut section = Section::default();
        section.read(&bytes).unwrap();
        assert_eq!(section.constants, ["PREFIX"]);
        assert_eq!(
            section.functions,
            [Signature {
                name: "area".into(),
                arguments: vec![
                    Argument { name: "width".into(), ty: Some(u32::SCHEMA.into()) },
                    Argument { name: "opaque".into(), ty: None },
                ],
                result: Some(<Option<u64>>::SCHEMA.into()),
            }]
        );
    }

    #[test]
    fn every_cut_of_a_record_is_refused() {
        for end in 1..BYTES.len() {
            assert!(Section::default().read(&BYTES[..end]).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Section::default().read(&bytes);
        }
    }
}
