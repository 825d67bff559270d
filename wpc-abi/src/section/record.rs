//! Records that the SDK's macros encode while a guest is compiled.

use super::{CONSTANT, FUNCTION, IMPORT};
use crate::schema::Sink;
use postcard_schema::schema::NamedType;

/// A record that is encoded in a constant.
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
        /// `Some` if it yields items, with their type if it has a schema.
        items: Option<Option<&'a NamedType>>,
    },
    /// A constant that the module needs.
    Constant {
        /// The constant's name.
        name: &'a str,
        /// The type that the guest reads it as.
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
    /// The number of bytes that [`Record::encode`] returns.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let mut sink = Sink::new(&mut []);
        self.write(&mut sink);
        sink.len()
    }

    /// Encodes the record; `N` must be [`Record::encoded_len`].
    ///
    /// # Panics
    ///
    /// If `N` is another number. In a constant that is a compile error.
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
            Self::Function { name, arguments, result, error, items } => {
                write_signature(sink, name, arguments, *result);
                if error.is_some() || items.is_some() {
                    write_optional_type(sink, *error);
                }
                if let Some(ty) = items {
                    write_optional_type(sink, *ty);
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
