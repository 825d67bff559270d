use super::*;
use crate::Schema;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use postcard_schema::schema::NamedType;
use proptest::prelude::*;

#[derive(Schema)]
#[expect(dead_code, reason = "only its schema is used")]
enum Shape {
    Nothing,
    Line(u32),
    Box(i64, f32),
    Named { name: String, tags: BTreeMap<String, Option<bool>> },
}

fn written(schema: &NamedType) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let mut sink = Sink::new(&mut buffer);
    sink.named_type(schema);
    let len = sink.len();
    buffer.truncate(len);
    buffer
}

#[test]
fn the_constant_encoder_writes_what_serde_writes() {
    for schema in [
        Shape::SCHEMA,
        <(u8, i8, u16, i16, u32)>::SCHEMA,
        <(u64, i64, u128, i128, f64, char)>::SCHEMA,
        <Result<Vec<[u8; 3]>, ()>>::SCHEMA,
    ] {
        assert_eq!(written(schema), postcard::to_allocvec(schema).unwrap());
    }
}

#[test]
fn an_encoded_type_reads_back_and_every_truncation_is_rejected() {
    let bytes = written(Shape::SCHEMA);
    let read = Source::new(&bytes).named_type(MAX_DEPTH).unwrap();
    assert_eq!(read, OwnedNamedType::from(Shape::SCHEMA));
    for end in 0..bytes.len() {
        assert!(Source::new(&bytes[..end]).named_type(MAX_DEPTH).is_err(), "cut at {end}");
    }
}

#[test]
fn unbounded_nesting_is_rejected() {
    let bytes: Vec<u8> = [0, 18].repeat(1_000_000);
    assert_eq!(Source::new(&bytes).named_type(MAX_DEPTH), Err(Malformed::TooDeep));
}

#[test]
fn agreement_ignores_type_names_and_newtypes_but_not_fields() {
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Meters(u32);
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Point {
        x: u8,
        y: u8,
    }
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Swapped {
        y: u8,
        x: u8,
    }
    let owned = |schema: &NamedType| OwnedNamedType::from(schema);
    assert!(agree(&owned(<&str>::SCHEMA), &owned(String::SCHEMA)));
    assert!(agree(&owned(<Vec<Meters>>::SCHEMA), &owned(<Vec<u32>>::SCHEMA)));
    assert!(!agree(&owned(Point::SCHEMA), &owned(Swapped::SCHEMA)));
    assert!(!agree(&owned(u32::SCHEMA), &owned(i32::SCHEMA)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = Source::new(&bytes).named_type(MAX_DEPTH);
    }
}
