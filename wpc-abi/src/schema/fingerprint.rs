//! Fingerprints of types, computed while a guest is compiled.

use postcard_schema::schema::{DataModelType as Type, DataModelVariant as Variant, NamedType};

/// A number that is equal for types whose values have the same bytes and the same names of fields and variants. The names of
/// types do not count, and newtypes count as their content.
#[must_use]
pub const fn fingerprint(ty: &NamedType) -> u32 {
    // FNV-1a.
    of_type(0x811c_9dc5, ty)
}

const fn byte(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

const fn number(mut hash: u32, number: usize) -> u32 {
    let bytes = number.to_le_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = byte(hash, bytes[at]);
        at += 1;
    }
    hash
}

const fn name(mut hash: u32, name: &str) -> u32 {
    let bytes = name.as_bytes();
    hash = number(hash, bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        hash = byte(hash, bytes[at]);
        at += 1;
    }
    hash
}

const fn of_type(hash: u32, ty: &NamedType) -> u32 {
    match ty.ty {
        Type::NewtypeStruct(inner) => of_type(hash, inner),
        Type::Bool => byte(hash, 0),
        Type::I8 => byte(hash, 1),
        Type::U8 => byte(hash, 2),
        Type::I16 => byte(hash, 3),
        Type::I32 | Type::Isize => byte(hash, 4),
        Type::I64 => byte(hash, 5),
        Type::I128 => byte(hash, 6),
        Type::U16 => byte(hash, 7),
        Type::U32 | Type::Usize => byte(hash, 8),
        Type::U64 => byte(hash, 9),
        Type::U128 => byte(hash, 10),
        Type::F32 => byte(hash, 11),
        Type::F64 => byte(hash, 12),
        Type::Char => byte(hash, 13),
        Type::String => byte(hash, 14),
        // A sequence of bytes.
        Type::ByteArray => byte(byte(hash, 15), 2),
        Type::Seq(inner) => of_type(byte(hash, 15), inner),
        Type::Option(inner) => of_type(byte(hash, 16), inner),
        Type::Unit | Type::UnitStruct => byte(hash, 17),
        Type::Tuple(items) | Type::TupleStruct(items) => of_types(byte(hash, 18), items),
        Type::Map { key, val } => of_type(of_type(byte(hash, 19), key), val),
        Type::Struct(fields) => {
            let mut hash = number(byte(hash, 20), fields.len());
            let mut at = 0;
            while at < fields.len() {
                hash = of_type(name(hash, fields[at].name), fields[at].ty);
                at += 1;
            }
            hash
        }
        Type::Enum(variants) => {
            let mut hash = number(byte(hash, 21), variants.len());
            let mut at = 0;
            while at < variants.len() {
                hash = of_variant(name(hash, variants[at].name), variants[at].ty);
                at += 1;
            }
            hash
        }
        Type::Schema => byte(hash, 22),
    }
}

const fn of_types(hash: u32, types: &[&NamedType]) -> u32 {
    let mut hash = number(hash, types.len());
    let mut at = 0;
    while at < types.len() {
        hash = of_type(hash, types[at]);
        at += 1;
    }
    hash
}

const fn of_variant(hash: u32, variant: &Variant) -> u32 {
    match variant {
        Variant::UnitVariant => byte(hash, 0),
        Variant::NewtypeVariant(inner) => of_type(byte(hash, 1), inner),
        Variant::TupleVariant(items) => of_types(byte(hash, 2), items),
        Variant::StructVariant(fields) => {
            let mut hash = number(byte(hash, 3), fields.len());
            let mut at = 0;
            while at < fields.len() {
                hash = of_type(name(hash, fields[at].name), fields[at].ty);
                at += 1;
            }
            hash
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fingerprint;
    use crate::Schema;
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use alloc::vec::Vec;
    use std::collections::BTreeSet;

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Title(String);

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Page {
        title: Title,
        lines: Vec<String>,
    }

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct View<'a> {
        title: &'a str,
        lines: &'a [&'a str],
    }

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Swapped {
        lines: Vec<String>,
        title: String,
    }

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Token {
        End,
        Text(String),
        Heading { level: u8 },
    }

    #[test]
    fn types_with_the_same_encoding_have_the_same_fingerprint() {
        assert_eq!(fingerprint(Page::SCHEMA), fingerprint(View::SCHEMA));
        assert_eq!(fingerprint(<Vec<u8>>::SCHEMA), fingerprint(<&[u8]>::SCHEMA));
        assert_eq!(fingerprint(String::SCHEMA), fingerprint(<&str>::SCHEMA));
    }

    #[test]
    fn types_with_other_encodings_have_other_fingerprints() {
        let all = [
            Page::SCHEMA,
            Swapped::SCHEMA,
            Token::SCHEMA,
            String::SCHEMA,
            u8::SCHEMA,
            u32::SCHEMA,
            i32::SCHEMA,
            f32::SCHEMA,
            <Vec<u8>>::SCHEMA,
            <Option<u8>>::SCHEMA,
            <(u8, u8)>::SCHEMA,
            <(u8, (u8,))>::SCHEMA,
            <BTreeMap<String, u8>>::SCHEMA,
            <()>::SCHEMA,
        ];
        let fingerprints: BTreeSet<_> = all.iter().map(|ty| fingerprint(ty)).collect();
        assert_eq!(fingerprints.len(), all.len());
    }
}
