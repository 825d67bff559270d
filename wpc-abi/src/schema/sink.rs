//! The encoder of types, which runs in constants.

use postcard_schema::schema::{
    DataModelType as Type, DataModelVariant as VariantType, NamedType, NamedValue, NamedVariant,
};

/// Counts bytes and writes those that fit its buffer: one pass measures, a second one writes.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Sink<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn byte(&mut self, byte: u8) {
        if self.len < self.buffer.len() {
            self.buffer[self.len] = byte;
        }
        self.len += 1;
    }

    #[expect(clippy::cast_possible_truncation, reason = "only the low seven bits are written")]
    pub(crate) const fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    pub(crate) const fn str(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.varint(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    pub(crate) const fn named_type(&mut self, named: &NamedType) {
        self.str(named.name);
        match named.ty {
            Type::Bool => self.varint(0),
            Type::I8 => self.varint(1),
            Type::U8 => self.varint(2),
            Type::I16 => self.varint(3),
            Type::I32 => self.varint(4),
            Type::I64 => self.varint(5),
            Type::I128 => self.varint(6),
            Type::U16 => self.varint(7),
            Type::U32 => self.varint(8),
            Type::U64 => self.varint(9),
            Type::U128 => self.varint(10),
            Type::Usize => self.varint(11),
            Type::Isize => self.varint(12),
            Type::F32 => self.varint(13),
            Type::F64 => self.varint(14),
            Type::Char => self.varint(15),
            Type::String => self.varint(16),
            Type::ByteArray => self.varint(17),
            Type::Option(inner) => {
                self.varint(18);
                self.named_type(inner);
            }
            Type::Unit => self.varint(19),
            Type::UnitStruct => self.varint(20),
            Type::NewtypeStruct(inner) => {
                self.varint(21);
                self.named_type(inner);
            }
            Type::Seq(inner) => {
                self.varint(22);
                self.named_type(inner);
            }
            Type::Tuple(items) => {
                self.varint(23);
                self.types(items);
            }
            Type::TupleStruct(items) => {
                self.varint(24);
                self.types(items);
            }
            Type::Map { key, val } => {
                self.varint(25);
                self.named_type(key);
                self.named_type(val);
            }
            Type::Struct(fields) => {
                self.varint(26);
                self.fields(fields);
            }
            Type::Enum(variants) => {
                self.varint(27);
                self.variants(variants);
            }
            Type::Schema => self.varint(28),
        }
    }

    const fn types(&mut self, items: &[&NamedType]) {
        self.varint(items.len());
        let mut at = 0;
        while at < items.len() {
            self.named_type(items[at]);
            at += 1;
        }
    }

    const fn fields(&mut self, fields: &[&NamedValue]) {
        self.varint(fields.len());
        let mut at = 0;
        while at < fields.len() {
            self.str(fields[at].name);
            self.named_type(fields[at].ty);
            at += 1;
        }
    }

    const fn variants(&mut self, variants: &[&NamedVariant]) {
        self.varint(variants.len());
        let mut at = 0;
        while at < variants.len() {
            self.str(variants[at].name);
            match variants[at].ty {
                VariantType::UnitVariant => self.varint(0),
                VariantType::NewtypeVariant(inner) => {
                    self.varint(1);
                    self.named_type(inner);
                }
                VariantType::TupleVariant(items) => {
                    self.varint(2);
                    self.types(items);
                }
                VariantType::StructVariant(fields) => {
                    self.varint(3);
                    self.fields(fields);
                }
            }
            at += 1;
        }
    }
}
