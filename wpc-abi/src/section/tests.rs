use super::*;
use crate::Schema;
use alloc::vec;
use proptest::prelude::*;

const RECORD: Record<'static> = Record::Function {
    name: "area",
    arguments: &[("width", Some(u32::SCHEMA)), ("opaque", None)],
    result: Some(<Option<u64>>::SCHEMA),
    error: None,
    items: None,
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
fn a_section_encoded_in_constants_reads_back() {
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
        items: Items::None,
    };
    assert_eq!(section.functions, core::slice::from_ref(&signature));
    assert_eq!(section.imports, [Import::new("wpc:shapes", signature)]);

    let mut written = section.functions[0].record();
    written.extend(section.constants[0].record());
    written.extend(section.imports[0].record());
    assert_eq!(written, bytes[..bytes.len() - 4], "both encoders write the same bytes");
}

#[test]
fn constants_of_older_guests_without_a_type_are_read() {
    let mut section = Section::default();
    section.read(b"\x02\x07\x06PREFIX\x02\x08\x06PREFIX\x00").unwrap();
    assert_eq!(section.constants, [(); 2].map(|()| Constant::new("PREFIX", None)));
}

#[test]
fn the_type_of_errors_may_follow_the_result() {
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Why {
        Empty,
        TooLong { limit: u32 },
    }
    const FAILS: Record<'static> = Record::Function {
        name: "fails",
        arguments: &[],
        result: Some(u32::SCHEMA),
        error: Some(Why::SCHEMA),
        items: None,
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
fn the_type_of_items_may_follow_that_of_errors() {
    const YIELDS: Record<'static> = Record::Function {
        name: "lines",
        arguments: &[],
        result: Some(u32::SCHEMA),
        error: None,
        items: Some(Some(<&str>::SCHEMA)),
    };
    const UNTYPED: Record<'static> = Record::Function {
        name: "lines",
        arguments: &[],
        result: Some(u32::SCHEMA),
        error: None,
        items: Some(None),
    };
    let typed: [u8; YIELDS.encoded_len()] = YIELDS.encode();
    let untyped: [u8; UNTYPED.encoded_len()] = UNTYPED.encode();
    for (bytes, items) in
        [(&typed[..], Items::Of(<&str>::SCHEMA.into())), (&untyped, Items::Untyped)]
    {
        let mut section = Section::default();
        section.read(bytes).unwrap();
        assert_eq!((&section.functions[0].error, &section.functions[0].items), (&None, &items));
        assert_eq!(section.functions[0].record(), bytes);
    }
    // The number of bytes in the body, the absent error, and the kind of a type.
    let unknown_kind = [&untyped[..untyped.len() - 1], &[2]].concat();
    assert!(Section::default().read(&unknown_kind).is_err());
}

#[test]
fn every_truncation_of_a_record_is_rejected() {
    for record in [&BYTES[..], &LIMIT_BYTES, &IMPORTED_BYTES] {
        for end in 1..record.len() {
            assert!(Section::default().read(&record[..end]).is_err(), "cut at {end}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = Section::default().read(&bytes);
    }
}
