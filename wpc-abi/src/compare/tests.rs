use super::*;
use crate::Schema;
use crate::text::{parse_signature, parse_type};
use alloc::vec::Vec;
use alloc::{boxed::Box, vec};
use postcard_schema::schema::NamedType;

fn owned(schema: &NamedType) -> OwnedNamedType {
    schema.into()
}

fn difference(expected: &OwnedNamedType, found: &OwnedNamedType) -> String {
    compare(expected, found).unwrap_err().to_string()
}

mod one {
    use super::*;

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) struct Comment {
        author: String,
        tags: Vec<String>,
    }

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) enum Order {
        Nothing,
        Buy(Comment),
        Pair(u8, u8),
        Named { count: u32 },
    }
}

mod other {
    use super::*;

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) struct Comment {
        author: String,
        tags: u32,
    }

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) enum Order {
        Nothing,
        Buy(Comment),
    }
}

#[test]
fn type_names_newtypes_and_equal_encodings_are_ignored() {
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Meters(u32);
    #[derive(Schema)]
    struct Nothing;
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Pair(u8, String);
    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Outcome {
        Ok(u8),
        Err(()),
    }
    for (expected, found) in [
        (<&str>::SCHEMA, String::SCHEMA),
        (<Vec<Meters>>::SCHEMA, <Vec<u32>>::SCHEMA),
        (<()>::SCHEMA, Nothing::SCHEMA),
        (<(u8, &str)>::SCHEMA, Pair::SCHEMA),
        // `postcard-schema` describes the variants of `Result` as tuples of one item; the derive does not.
        (<Result<u8, ()>>::SCHEMA, Outcome::SCHEMA),
    ] {
        assert_eq!(compare(&owned(expected), &owned(found)), Ok(()));
        assert_eq!(compare(&owned(found), &owned(expected)), Ok(()));
    }
    for (size, fixed) in [("usize", "u32"), ("isize", "i32")] {
        let [size, fixed] = [size, fixed].map(|text| parse_type(text).unwrap());
        assert_eq!(compare(&size, &fixed), Ok(()));
        assert_eq!(compare(&fixed, &size), Ok(()));
    }
    let bytes = OwnedNamedType { name: "bytes".into(), ty: Type::ByteArray };
    assert_eq!(compare(&bytes, &owned(<Vec<u8>>::SCHEMA)), Ok(()));
}

#[test]
fn the_first_difference_is_reported_with_its_path() {
    let comment = [one::Comment::SCHEMA, other::Comment::SCHEMA].map(owned);
    assert_eq!(
        difference(&comment[0], &comment[1]),
        "field `tags` of `Comment`: expected `Vec<String>`, found `u32`"
    );
    assert_eq!(
        difference(&owned(<Vec<one::Order>>::SCHEMA), &owned(<Vec<other::Order>>::SCHEMA)),
        "variant `Buy` of `Order`, field `tags` of `Comment`: expected `Vec<String>`, found `u32`"
    );
    assert_eq!(
        difference(&owned(<Option<u32>>::SCHEMA), &owned(<Option<u64>>::SCHEMA)),
        "expected `Option<u32>`, found `Option<u64>`"
    );
    let ty = |text| parse_type(text).unwrap();
    for (expected, found, message) in [
        ("u32", "i64", "expected `u32`, found `i64`"),
        ("(u8, u8)", "(u8, u8, u8)", "expected `(u8, u8)`, found `(u8, u8, u8)`"),
        (
            "Map<String, u8>",
            "Map<String, i8>",
            "expected `Map<String, u8>`, found `Map<String, i8>`",
        ),
        ("P { x: u8, y: u8 }", "P { y: u8, x: u8 }", "field 1 of `P`: expected `x`, found `y`"),
        (
            "P { x: u8, y: u8 }",
            "P { x: u8 }",
            "field `y` of `P`: expected `u8`, found no such field",
        ),
        (
            "P { x: u8 }",
            "P { x: u8, y: u8 }",
            "field `y` of `P`: expected no such field, found `u8`",
        ),
    ] {
        assert_eq!(difference(&ty(expected), &ty(found)), message);
    }
    let variant = |name: &str, ty| OwnedNamedVariant { name: name.into(), ty };
    let of = |variants| OwnedNamedType { name: "E".into(), ty: Type::Enum(variants) };
    let unit = |name| variant(name, Variant::UnitVariant);
    let holds = |name| variant(name, Variant::NewtypeVariant(Box::new(ty("u8"))));
    for (expected, found, message) in [
        (vec![unit("A")], vec![unit("B")], "variant 1 of `E`: expected `A`, found `B`"),
        (vec![unit("A")], vec![], "variant `A` of `E`: expected a variant, found no such variant"),
        (vec![], vec![unit("A")], "variant `A` of `E`: expected no such variant, found a variant"),
        (vec![unit("A")], vec![holds("A")], "variant `A` of `E`: expected no content, found `u8`"),
    ] {
        assert_eq!(difference(&of(expected), &of(found)), message);
    }
    assert_eq!(
        difference(&ty("P { x: u8 }"), &OwnedNamedType { name: "P".into(), ty: Type::UnitStruct }),
        "expected `P` (a struct), found `P` (a unit struct)"
    );
}

#[test]
fn the_difference_of_large_types_is_short() {
    let named = |name: &str, ty| OwnedNamedType { name: name.into(), ty };
    let long = "n".repeat(100_000);
    let field = |ty| vec![OwnedNamedValue { name: long.clone(), ty }];
    let wide =
        |ty: Type| named("", Type::Tuple(vec![named(&long, Type::UnitStruct), named("", ty)]));
    for nest in [
        (|inner: OwnedNamedType| Type::Option(Box::new(inner))) as fn(OwnedNamedType) -> Type,
        |inner| Type::Tuple(vec![inner]),
        |inner| Type::NewtypeStruct(Box::new(inner)),
    ] {
        let types = [Type::U8, Type::I8].map(|ty| {
            let mut ty = wide(ty);
            for _ in 0..50 {
                ty = named(&long, nest(ty));
            }
            for _ in 0..10 {
                ty = named(&long, Type::Struct(field(ty)));
            }
            ty
        });
        let difference = compare(&types[0], &types[1]).unwrap_err();
        assert!(difference.expected.len() < 1_000, "{difference}");
        assert!(difference.part.len() < 10_000, "{difference}");
    }
}

#[test]
fn signatures_differ_in_a_parameter_or_the_result() {
    let signature = |text| parse_signature("f", text).unwrap();
    let difference = |expected, found| {
        compare_signatures(&signature(expected), &signature(found)).unwrap_err().to_string()
    };
    assert_eq!(
        difference("(a: u8, b: u32)", "(a: u8, b: P { x: u8 })"),
        "parameter 2: expected `u32`, found `P`"
    );
    assert_eq!(
        difference("(a: P { x: u8 })", "(a: P { x: i8 })"),
        "parameter 1, field `x` of `P`: expected `u8`, found `i8`"
    );
    assert_eq!(difference("() -> u8", "() -> ()"), "result: expected `u8`, found `()`");
    assert_eq!(difference("(a: u8)", "()"), "number of parameters: expected 1, found 0");
    let mut undeclared = signature("(other: u8) -> u8");
    undeclared.result = None;
    assert_eq!(compare_signatures(&signature("(a: u8) -> String"), &undeclared), Ok(()));
}

#[test]
fn unknown_parts_of_a_value_agree_with_every_type() {
    let seq = OwnedNamedType { name: "Vec".into(), ty: Type::Seq(Box::new(unknown())) };
    let expected = owned(<Vec<String>>::SCHEMA);
    assert_eq!(compare_value(&expected, &seq), Ok(()));
    assert!(compare(&expected, &seq).is_err());
    assert!(compare_value(&owned(u8::SCHEMA), &seq).is_err());

    let pair = |name: &str, items: Vec<_>| {
        let hidden = |_| OwnedNamedVariant {
            name: "?".into(),
            ty: Variant::NewtypeVariant(Box::new(unknown())),
        };
        let shown = OwnedNamedVariant { name: name.into(), ty: Variant::TupleVariant(items) };
        let variants = (0..2).map(hidden).chain([shown]).collect();
        OwnedNamedType { name: "Order".into(), ty: Type::Enum(variants) }
    };
    let expected = owned(one::Order::SCHEMA);
    let bytes = || vec![owned(u8::SCHEMA), owned(u8::SCHEMA)];
    assert_eq!(compare_value(&expected, &pair("Pair", bytes())), Ok(()));
    assert!(compare_value(&expected, &pair("Couple", bytes())).is_err());
    assert!(compare_value(&expected, &pair("Pair", vec![unknown()])).is_err());
    assert!(compare_value(&owned(other::Order::SCHEMA), &pair("Pair", bytes())).is_err());
}
