use super::*;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use wpc_abi::Schema;

#[derive(Serialize, Schema)]
struct Leaf {
    name: String,
    size: Option<u32>,
}

#[derive(Serialize, Schema)]
enum Shape {
    Nothing,
    Round(f32),
    Corner(i8, i64),
    Named { leaf: Leaf, tag: char },
}

#[derive(Serialize, Schema)]
struct Unit;

fn round_trip<T: Serialize + Schema>(value: T, expected: Value) {
    let ty = OwnedNamedType::from(T::SCHEMA);
    let bytes = postcard::to_allocvec(&value).unwrap();
    assert_eq!(encode("it", &ty, &expected), Ok(bytes.clone()), "{expected}");
    let text = decode_to_text(&ty, &bytes).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
    assert_eq!(decode(&ty, &bytes), Ok(expected));
}

#[test]
fn values_of_every_kind_round_trip() {
    round_trip(true, json!(true));
    round_trip((-1_i8, 200_u8, -300_i16, 60_000_u16), json!([-1, 200, -300, 60_000]));
    round_trip((i64::MIN, u64::MAX), json!([i64::MIN, u64::MAX]));
    round_trip((i128::MIN, u128::MAX), json!([i128::MIN.to_string(), u128::MAX.to_string()]));
    round_trip((0.5_f32, -0.25_f64), json!([0.5, -0.25]));
    round_trip((f64::INFINITY, f32::NEG_INFINITY), json!(["Infinity", "-Infinity"]));
    round_trip(('\u{e9}', "text".to_owned()), json!(["\u{e9}", "text"]));
    round_trip((), json!(null));
    round_trip(Unit, json!(null));
    round_trip(Some(3_u8), json!(3));
    round_trip(None::<u8>, json!(null));
    round_trip(Some(None::<u8>), json!({ "Some": null }));
    round_trip(Some(()), json!({ "Some": null }));
    round_trip(vec![vec![1_u8], vec![]], json!([[1], []]));
    round_trip((7_u8,), json!([7]));
    round_trip(BTreeMap::from([("a".to_owned(), 1_u8)]), json!({ "a": 1 }));
    round_trip(BTreeMap::from([(5_u8, true)]), json!([[5, true]]));
    round_trip(Leaf { name: "n".to_owned(), size: None }, json!({ "name": "n", "size": null }));
    round_trip(
        vec![
            Shape::Nothing,
            Shape::Round(0.5),
            Shape::Corner(-1, 2),
            Shape::Named { leaf: Leaf { name: String::new(), size: Some(1) }, tag: 'x' },
        ],
        json!([
            "Nothing",
            { "Round": 0.5 },
            { "Corner": [-1, 2] },
            { "Named": { "leaf": { "name": "", "size": 1 }, "tag": "x" } },
        ]),
    );
}

#[test]
fn a_number_without_a_fraction_is_an_integer_up_to_53_bits() {
    let encoded = |ty: &str, json: &str| {
        let ty = wpc_abi::text::parse_type(ty).unwrap();
        encode("it", &ty, &serde_json::from_str(json).unwrap())
    };
    assert_eq!(encoded("u32", "1e3"), encoded("u32", "1000"));
    assert_eq!(encoded("i64", "-9007199254740992.0"), encoded("i64", "-9007199254740992"));
    for (ty, json) in
        [("u8", "256.0"), ("u8", "1.5"), ("u64", "9007199254740994.0"), ("u32", "-1.0")]
    {
        assert!(encoded(ty, json).is_err(), "{ty} {json}");
    }
}

#[test]
fn an_f32_has_its_shortest_form_and_is_rejected_out_of_range() {
    for (single, shortest) in [
        (0.1_f32, "0.1"),
        (-3.3, "-3.3"),
        (1.0, "1.0"),
        (16_777_216.0, "16777216.0"),
        (16_777_218.0, "16777218.0"),
        (f32::MAX, "3.4028235e+38"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        (1e-45, "1e-45"),
        (-0.0, "-0.0"),
    ] {
        let value = decode(&f32::SCHEMA.into(), &single.to_le_bytes()).unwrap();
        assert_eq!(value.to_string(), shortest);
        let bytes = encode("it", &f32::SCHEMA.into(), &value).unwrap();
        assert_eq!(bytes, single.to_le_bytes(), "{shortest}");
    }
    let encoded = |json: &str| encode("it", &f32::SCHEMA.into(), &json.parse().unwrap());
    for out_of_range in ["1e39", "-1e39", "1e308", "3.4028236e38"] {
        let refused = encoded(out_of_range).unwrap_err();
        assert!(refused.starts_with("`it`: expected f32, found "), "{refused}");
    }
    // Numbers that round to the largest `f32` or to zero are accepted, as they are for an `f64`.
    assert_eq!(encoded("3.40282351e38").unwrap(), f32::MAX.to_le_bytes());
    assert_eq!(encoded("1e-60").unwrap(), 0_f32.to_le_bytes());
    assert_eq!(encoded("\"-Infinity\"").unwrap(), f32::NEG_INFINITY.to_le_bytes());
}

#[test]
fn every_f32_round_trips() {
    /// A prime, so that the sample includes every exponent and sign.
    const STEP: usize = 99_991;
    for bits in (0..=u32::MAX).step_by(STEP) {
        let single = f32::from_bits(bits);
        let value = decode(&f32::SCHEMA.into(), &single.to_le_bytes()).unwrap();
        let bytes = encode("it", &f32::SCHEMA.into(), &value).unwrap();
        let back = f32::from_le_bytes(bytes.try_into().unwrap());
        assert!(back.to_bits() == bits || (back.is_nan() && single.is_nan()), "{bits:x}");
        if single.is_finite() {
            let text = value.to_string();
            assert_eq!(text.parse(), Ok(single));
            let digits = text.split('e').next().unwrap().replace(['-', '.'], "");
            assert!(digits.trim_matches('0').len() <= 9, "{text}");
        }
    }
}

#[test]
fn usize_and_isize_have_32_bits() {
    let size = OwnedNamedType { name: "usize".to_owned(), ty: Type::Usize };
    let largest = postcard::to_allocvec(&u32::MAX).unwrap();
    assert_eq!(encode("it", &size, &json!(u32::MAX)), Ok(largest.clone()));
    assert_eq!(decode(&size, &largest), Ok(json!(u32::MAX)));
    let refused = encode("it", &size, &json!(1_u64 << 32)).unwrap_err();
    assert_eq!(refused, "`it`: expected usize, found 4294967296");
    let size = OwnedNamedType { name: "isize".to_owned(), ty: Type::Isize };
    let least = postcard::to_allocvec(&i32::MIN).unwrap();
    assert_eq!(encode("it", &size, &json!(i32::MIN)), Ok(least.clone()));
    assert_eq!(decode(&size, &least), Ok(json!(i32::MIN)));
}

#[test]
fn mismatches_are_reported_with_position_and_type() {
    let mismatch = |ty: OwnedNamedType, value: Value| encode("it", &ty, &value).unwrap_err();
    let leaves = || OwnedNamedType::from(Vec::<Leaf>::SCHEMA);
    let shape = || OwnedNamedType::from(Shape::SCHEMA);
    for (found, expected) in [
        (mismatch(leaves(), json!([{ "name": 3 }])), "`it[0].name`: expected String, found 3"),
        (mismatch(leaves(), json!([{ "size": 3 }])), "missing field `name` in `it[0]`"),
        (
            mismatch(leaves(), json!([{ "name": "", "sise": 3 }])),
            "unknown field `sise` in `it[0]`: `Leaf` has `name` and `size`",
        ),
        (
            mismatch(leaves(), json!([{ "name": "", "size": -3 }])),
            "`it[0].size`: expected u32, found -3",
        ),
        (
            mismatch(shape(), json!("Square")),
            "unknown variant `Square` in `it`: `Shape` has `Nothing`, `Round`, `Corner` and `Named`",
        ),
        (mismatch(shape(), json!({ "Nothing": 1 })), "variant `it.Nothing` has no content"),
        (mismatch(shape(), json!({ "Corner": [1] })), "`it.Corner`: expected Shape, found [1]"),
        (mismatch(u8::SCHEMA.into(), json!(256)), "`it`: expected u8, found 256"),
        (mismatch(char::SCHEMA.into(), json!("ab")), "`it`: expected char, found \"ab\""),
    ] {
        assert_eq!(found, expected);
    }
    let long = mismatch(u8::SCHEMA.into(), json!("\u{e9}".repeat(100)));
    assert!(long.len() < 100 && long.ends_with('…'), "{long}");
}

#[test]
fn invalid_bytes_are_rejected_whatever_length_they_claim() {
    let refused = |ty: OwnedNamedType, bytes: &[u8]| {
        let error = decode(&ty, bytes).unwrap_err();
        // A text may have 27 million values, which take a long time in a test.
        if !error.contains("too large") {
            assert_eq!(decode_to_text(&ty, bytes).map(drop), Err(error.clone()), "{ty:?}");
        }
        error
    };
    let many = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(refused(Vec::<u8>::SCHEMA.into(), &many).contains("do not fit in 0 bytes"));
    assert!(refused(Vec::<()>::SCHEMA.into(), &many).contains("too large"));
    assert!(refused(Vec::<((), ())>::SCHEMA.into(), &many).contains("too large"));
    let mut lists = OwnedNamedType::from(Vec::<Vec<()>>::SCHEMA);
    assert_eq!(decode(&lists, &[2, 0, 1]), Ok(json!([[], [null]])));
    // Each value takes one byte, and its variant's name a megabyte.
    let mut named = OwnedNamedType::from(Shape::SCHEMA);
    if let Type::Enum(variants) = &mut named.ty {
        variants[0].name = "x".repeat(1 << 20);
    }
    lists.ty = Type::Seq(Box::new(named));
    let mut bytes = postcard::to_allocvec(&1_000_u32).unwrap();
    bytes.resize(bytes.len() + 1_000, 0);
    assert!(decode_to_text(&lists, &bytes).unwrap_err().contains("too large"));
    assert!(refused(lists, &bytes).contains("too large"));
    assert!(refused(Shape::SCHEMA.into(), &[9]).contains("found number 9"));
    assert!(refused(Option::<u8>::SCHEMA.into(), &[2]).contains("not a valid tag"));
    assert!(refused(u8::SCHEMA.into(), &[1, 2]).contains("trailing"));
    assert!(refused(String::SCHEMA.into(), &[1, 0xff]).len() > 5);
    assert!(refused(char::SCHEMA.into(), &[]).len() > 5);
}

#[test]
fn fields_that_are_filled_in_are_bounded() {
    let fields: String = (0..2_000).map(|at| format!("f{at}: Option<u8>, ")).collect();
    let ty = wpc_abi::text::parse_type(&format!("Vec<Wide {{ {fields}}}>")).unwrap();
    let wides = |count| Value::Array(vec![json!({}); count]);
    assert_eq!(encode("it", &ty, &wides(500)).unwrap().len(), 1_000_002);
    let refused = encode("it", &ty, &wides(1_000)).unwrap_err();
    assert!(refused.starts_with("the value omits more than 1048576 fields"), "{refused}");
    assert!(encode("it", &ty, &json!([{ "f1999": 3 }])).is_ok());
    let refused = encode("it", &ty, &json!([{ "g": 3 }])).unwrap_err();
    assert!(refused.starts_with("unknown field `g` in `it[0]`"), "{refused}");
}
