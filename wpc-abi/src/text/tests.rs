use super::*;
use alloc::string::ToString as _;
use proptest::prelude::*;

#[test]
fn a_signature_parses_back_from_its_text() {
    for text in [
        "() -> ()",
        "(path: String, depth: u32) -> Vec<String>",
        "(a: (i8, u16), b: (f64,), c: Map<String, Option<char>>) -> (bool, ())",
        "(a: [u8; 16]) -> Vec<[[f32; 2]; 3]>",
    ] {
        assert_eq!(signature_text(&parse_signature("f", text).unwrap()), text);
    }
    let short = parse_signature("f", " ( a : ( i64 ) , ) ").unwrap();
    assert_eq!(signature_text(&short), "(a: i64) -> ()");
    assert_eq!(short.name, "f");
}

#[test]
fn a_parsed_type_agrees_with_the_derived_one() {
    use crate::Schema as _;
    use crate::schema::agree;
    use postcard_schema::schema::owned::OwnedNamedType;
    let derived = OwnedNamedType::from(<Vec<(String, Option<u64>)>>::SCHEMA);
    assert!(agree(&parse_type("Vec<(String, Option<u64>)>").unwrap(), &derived));
}

#[test]
fn a_syntax_error_reports_its_position() {
    for (text, message) in [
        ("", "at byte 0: expected an opening parenthesis"),
        ("(a)", "at byte 2: expected a colon"),
        ("(a: Vec<u8) -> ()", "at byte 10: expected a closing angle bracket"),
        ("(a: &u8)", "at byte 5: expected `&str`, or a type without a reference"),
        ("(a: u8) -> u8 more", "at byte 14: expected the end"),
        ("(1: u8)", "at byte 1: expected an argument's name"),
        ("(a: P { x u8 })", "at byte 10: expected a colon"),
        ("(a: [u8])", "at byte 7: expected a semicolon"),
        ("(a: [u8; n])", "at byte 9: expected the array's length"),
        ("(a: [[u8; 9999]; 9999])", "at byte 17: expected a shorter array"),
        ("(a: ([u8; 40000], [u8; 40000]))", "at byte 23: expected a shorter array"),
    ] {
        assert_eq!(parse_signature("f", text).unwrap_err().to_string(), message, "{text}");
    }
    assert!(parse_type("[u8; 65536]").is_ok());
    let deep = "Vec<".repeat(100);
    assert_eq!(parse_type(&deep).unwrap_err().wanted, "a type that is nested less deeply");
}

#[test]
fn the_names_in_an_array_are_limited_too() {
    let name = "n".repeat(10_000);
    for text in [
        format!("[{name} {{ a: u8 }}; 30000]"),
        format!("[P {{ {name}: u8 }}; 30000]"),
        format!("[(u8, P {{ {name}: u8 }}); 30000]"),
        format!("[Vec<[P {{ {name}: u8 }}; 100]>; 300]"),
    ] {
        assert_eq!(parse_type(&text).unwrap_err().wanted, "a shorter array");
    }
    assert!(parse_type(&format!("[P {{ {name}: u8 }}; 100]")).is_ok());
}

#[test]
fn a_short_text_ends_where_its_capacity_ends() {
    let short = |text| short_type_text(&parse_type(text).unwrap());
    assert_eq!(short("Vec<(String, [u8; 3])>"), "Vec<(String, [u8; 3])>");
    let long = "é".repeat(MAX_SHORT);
    let ty = OwnedNamedType { name: long.clone(), ty: Type::UnitStruct };
    let text = short_type_text(&ty);
    assert!(text.ends_with("é…") && text.len() <= MAX_SHORT + "…".len(), "{text}");
    assert_eq!(type_text(&ty), long);
}

proptest! {
    #[test]
    fn arbitrary_text_does_not_panic(text in ".*") {
        let _ = parse_signature("f", &text);
        let _ = parse_type(&text);
    }

    #[test]
    fn text_of_the_grammars_characters_does_not_panic(text in "[(){}<>\\[\\];,:a-zA-Z0-9 é]{0,40}") {
        let _ = parse_signature("f", &text);
        let _ = parse_type(&text);
    }
}
