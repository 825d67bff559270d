//! JSON calls, converted by the types that a module declares.

use crate::support::*;
use serde_json::json;
use wpc_host::{CallOptions, Error, Limits, Schema};

#[path = "../fixtures/guests/types/src/naming.rs"]
mod naming;

#[test]
fn json_uses_the_names_of_serde() {
    let wpc = pool(1);
    wpc.define_worker_function("named", guest("types")).unwrap();
    let every = naming::Naming::every();
    let json = serde_json::to_value(&every).unwrap();
    assert_eq!(wpc.call_json("named", std::slice::from_ref(&json)).unwrap(), json);
    // A typed handle confirms that both sides have the same type.
    let typed = wpc.function::<(naming::Naming,), naming::Naming>("named").unwrap();
    assert_eq!(typed.call((every.clone(),)).unwrap(), every);
}

#[test]
fn raw_identifiers_have_no_prefix() {
    #[derive(serde::Serialize, serde::Deserialize, Schema)]
    struct Raw {
        r#fn: u8,
    }
    let wpc = pool(1);
    wpc.define_worker_module(guest("types")).unwrap();
    assert_eq!(signature(&wpc, "match"), "(type: u8, in: Raw) -> Raw");
    let answer = wpc.call_json("match", &[json!(1), json!({ "fn": 2 })]).unwrap();
    assert_eq!(answer, json!({ "fn": 3 }));
    let typed = wpc.function::<(u8, Raw), Raw>("match").unwrap();
    assert_eq!(typed.call((1, Raw { r#fn: 2 })).unwrap().r#fn, 3);
}

#[test]
fn usize_and_isize_round_trip() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("types")).unwrap();
    assert_eq!(signature(&wpc, "length"), "(items: Vec<u32>, more: u32) -> u32");
    assert_eq!(signature(&wpc, "difference"), "(sizes: Sizes, other: Option<i32>) -> u32");
    let most = u32::MAX;
    assert_eq!(wpc.call_json("length", &[json!([1, 2]), json!(most - 3)]).unwrap(), json!(most));
    let sizes = json!({ "size": most, "signed": i32::MIN });
    let error = wpc.call_json("difference", &[sizes, json!(null)]).unwrap_err();
    let Error::Guest { error, .. } = &error else { panic!("{error}") };
    assert_eq!(error.message, "-2147483648 of 4294967295");
    let error = wpc.call_json("length", &[json!([]), json!(1_u64 << 32)]).unwrap_err();
    let Error::BadArguments { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.starts_with("`more`: expected u32"), "{reason}");
    assert_eq!(wpc.call::<usize>("length", (vec![1_usize, 2], 3_usize)).unwrap(), 6);
    let typed = wpc.function::<(Vec<u32>, u32), u32>("length").unwrap();
    assert_eq!(typed.call((vec![1, 2], 3)).unwrap(), 6);
}

#[test]
fn structures_enums_and_maps_round_trip() {
    let wpc = pool(1);
    define_sdk(&wpc, &["order", "join", "nothing", "echo_bytes"]);
    let orders =
        json!([{ "item": "tea", "count": 2 }, { "item": "cake", "count": 1, "note": null }]);
    let prices = json!({ "tea": 3, "cake": 5 });
    let answer = wpc.call_json("order", &[orders, prices]).unwrap();
    assert_eq!(answer, json!({ "Accepted": { "total": 11 } }));
    let refused =
        wpc.call_json("order", &[json!([{ "item": "x", "count": 1 }]), json!({})]).unwrap();
    assert_eq!(refused, json!({ "Refused": "no price for x" }));
    assert_eq!(wpc.call_json("join", &[json!("a"), json!("\u{e9}")]).unwrap(), json!("a\u{e9}"));
    assert_eq!(wpc.call_json("nothing", &[]).unwrap(), json!(null));
    assert_eq!(wpc.call_json("echo_bytes", &[json!([1, 255])]).unwrap(), json!([1, 255]));
}

#[test]
fn a_plain_export_takes_and_returns_numbers() {
    let wpc = pool(1);
    let module = wat(r#"(module (func (export "half") (param f64) (result f64)
        (f64.div (local.get 0) (f64.const 2))))"#);
    wpc.define_worker_function("half", module).unwrap();
    assert_eq!(wpc.call_json("half", &[json!(3)]).unwrap(), json!(1.5));
    assert_eq!(wpc.call_json("half", &[json!("NaN")]).unwrap(), json!("NaN"));
}

#[test]
fn mismatched_arguments_are_rejected_by_name_before_they_are_sent() {
    let wpc = pool(1);
    define_sdk(&wpc, &["order", "opaque", "add"]);
    for (name, arguments, reason) in [
        ("add", vec![json!(1)], "expected 2 arguments, found 1"),
        ("add", vec![json!(1), json!("2x")], "`b`: expected i32, found \"2x\""),
        (
            "order",
            vec![json!([{ "item": "tea", "count": -1 }]), json!({})],
            "`orders[0].count`: expected u32, found -1",
        ),
        ("opaque", vec![json!(1)], "`value`"),
    ] {
        let error = wpc.call_json(name, &arguments).unwrap_err();
        let Error::BadArguments { reason: found, .. } = &error else { panic!("{error}") };
        assert!(found.contains(reason), "{found}");
    }
    wpc.define_worker_function("f", replies("\\00", 1)).unwrap();
    assert_eq!(code(wpc.call_json("f", &[])), "untyped");
    assert_eq!(code(wpc.call_json("undefined", &[])), "function_not_defined");
}

#[test]
fn encoded_bytes_are_passed_through() {
    let wpc = pool(1);
    define_sdk(&wpc, &["join", "fails"]);
    let options = CallOptions::new();
    let call = wpc.submit_encoded("join", b"\x02ab\x01c", &options).unwrap();
    assert_eq!(call.wait_encoded().unwrap().value, b"\x03abc");
    let call = wpc.submit_encoded("fails", b"\x06", &options).unwrap();
    let error = call.wait_encoded().unwrap_err();
    assert!(matches!(&error, Error::Guest { error, .. } if error.name == "TooSmall"), "{error}");
    let call = wpc.submit_encoded("join", b"\xff", &options).unwrap();
    assert_eq!(code(call.wait_encoded()), "bad_arguments");
}

#[test]
fn a_module_with_a_false_signature_is_rejected() {
    // It declares a list of units as its result, and replies with a length of four billion.
    let mut module = parse_wat(
        r#"(module (memory (export "memory") 1)
            (data (i32.const 16) "\00\ff\ff\ff\ff\0f")
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            (func (export "f") (param i32 i32) (result i64) (pack 16 6)))"#,
    );
    // A function: its name, no arguments, and the type of its result: its name, a sequence of `()`.
    let record = b"\x01f\x00\x01\x07Vec<()>\x16\x02()\x13";
    let mut section = b"\x03wpc\x01".to_vec();
    section.push(u8::try_from(record.len()).unwrap());
    section.extend(record);
    module.push(0);
    module.push(u8::try_from(section.len()).unwrap());
    module.extend(section);
    let wpc = pool(1);
    wpc.define_worker_function("f", module).unwrap();
    assert_eq!(signature(&wpc, "f"), "() -> Vec<()>");
    assert_eq!(code(wpc.call_json("f", &[])), "result_decode");
}

#[test]
fn a_json_answer_has_metadata() {
    let wpc = pool(1);
    let limits = Limits::default().fuel(1_000);
    let module = wat(r#"(module (func (export "f") (result i32) i32.const 7))"#).limits(limits);
    let hash = wpc.define_worker_function("f", module).unwrap().function_hash_sha1;
    let answer = wpc.submit_json("f", &[], &CallOptions::new()).unwrap().wait_answer().unwrap();
    assert_eq!((answer.value, answer.metadata.function_hash_sha1), (json!(7), hash));
    assert!(answer.metadata.fuel_used.is_some());
}

#[test]
fn constants_are_defined_from_json_and_a_type() {
    let wpc = pool(1);
    define_sdk(&wpc, &["constant"]);
    wpc.define_worker_constant_json("WORD", "String", &json!("value")).unwrap();
    assert_eq!(wpc.call_json("constant", &[json!("WORD")]).unwrap(), "value");
    let points = "Map<String, P { x: f64 }>";
    for (ty, value, expected) in [
        ("u9", json!(3), "\"u9\""),
        ("Option<u8>", json!(300), "`N`: expected u8, found 300"),
        (points, json!({ "a": { "y": 1 } }), "unknown field `y` in `N[\"a\"]`: `P` has `x`"),
    ] {
        let refused = wpc.define_worker_constant_json("N", ty, &value).unwrap_err();
        let Error::ConstantEncode { constant, reason, .. } = &refused else { panic!("{refused}") };
        assert_eq!(constant, "N");
        assert!(reason.contains(expected), "{reason}");
    }
    wpc.define_worker_constant_json("N", points, &json!({ "a": { "x": 1 } })).unwrap();
}

#[test]
fn a_json_call_is_a_future() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let add = |a, b| wpc.submit_json("add", &[json!(a), json!(b)], &CallOptions::new()).unwrap();
    assert_eq!(pollster::block_on(add(40, 2)).unwrap(), 42);
    let answer = pollster::block_on(add(1, 2).answer()).unwrap();
    assert!(answer.value == 3 && answer.metadata.function_hash_sha1.to_string().len() == 40);
}
