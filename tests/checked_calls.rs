//! Calls by name: their types are compared with those that the function declares.

use crate::support::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use wpc_abi::text::parse_signature;
use wpc_host::{CallOptions, Error, Remedy, WasmModule, WorkerProcedureCall};

/// A function `f` with this signature that replies with these bytes, written as WAT string escapes.
fn declaring(signature: &str, reply: &str) -> WasmModule {
    let record = parse_signature("f", signature).unwrap().record();
    let record: String = record.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let len = 1 + wat_len(reply);
    contract(&format!(
        r#"(@custom "wpc" "{record}")
        (data (i32.const 16) "\00{reply}")
        (func (export "f") (param i32 i32) (result i64)
            (pack 16 {len}))"#
    ))
}

/// The number of bytes of a WAT string with escapes such as `\02`.
fn wat_len(escapes: &str) -> usize {
    escapes.len() / 3
}

/// A pool with a function `f` that takes one argument of the type and returns nothing.
fn taking(ty: &str) -> WorkerProcedureCall {
    let wpc = pool(1);
    wpc.define_worker_function("f", declaring(&format!("(a: {ty}) -> ()"), "")).unwrap();
    wpc
}

/// A pool with a function `f` without arguments that returns the type. It cannot run.
fn returning(ty: &str) -> WorkerProcedureCall {
    let wpc = pool(1);
    let module = declaring(&format!("() -> {ty}"), "");
    wpc.define_worker_function("f", module).unwrap();
    wpc
}

/// The part, what was expected and what was found.
fn mismatch<T: Debug>(result: Result<T, Error>) -> (String, String, String) {
    match result {
        Err(Error::SignatureMismatch { part, expected, found, .. }) => (part, expected, found),
        other => panic!("the types should not match: {other:?}"),
    }
}

fn is(found: (String, String, String), expected: (&str, &str, &str)) {
    let [declared, rust] = [&found.1, &found.2].map(|ty| ty.trim_matches('`'));
    assert_eq!((found.0.as_str(), declared, rust), expected);
}

/// Whether a guest treats both integer types alike: there, `usize` has 32 bits.
fn are_same(declared: &str, rust: &str) -> bool {
    declared == rust
        || matches!(
            (declared, rust),
            ("usize", "u32")
                | ("u32" | "u64", "usize")
                | ("isize", "i32")
                | ("i32" | "i64", "isize")
        )
}

#[test]
fn an_integer_must_have_exactly_the_declared_type() {
    let types =
        ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];
    for declared in types {
        let (taking, returning) = (taking(declared), returning(declared));
        macro_rules! each {
            ($($rust:ident)*) => {$(
                let rust = stringify!($rust);
                let (argument, result) =
                    (taking.call::<()>("f", (<$rust>::from(true),)), returning.call::<$rust>("f", ()));
                if are_same(declared, rust) {
                    argument.unwrap();
                    // The reply has no bytes.
                    assert_eq!(code(result), "result_decode", "{declared}, {rust}");
                } else {
                    if let Err(Error::SignatureMismatch { hint, .. }) = &argument {
                        let literal = format!("`40{declared}`");
                        let has_hint = hint.as_ref().is_some_and(|hint| hint.contains(&literal));
                        assert_eq!(has_hint, rust == "i32", "{hint:?}");
                    }
                    is(mismatch(argument), ("parameter 1 (`a`)", declared, rust));
                    is(mismatch(result), ("result", declared, rust));
                }
            )*};
        }
        each!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
    }
}

#[test]
fn the_number_of_arguments_must_be_the_declared_one() {
    let wpc = pool(1);
    wpc.define_worker_function("f", declaring("(a: u8, b: String) -> ()", "")).unwrap();
    wpc.call::<()>("f", (1_u8, "b")).unwrap();
    let part = "parameters";
    let expected = "(u8, String)";
    is(mismatch(wpc.call::<()>("f", (1_u8,))), (part, expected, "(u8,)"));
    is(mismatch(wpc.call::<()>("f", (1_u8, "b", 2_u8))), (part, expected, "(u8, &str, u8)"));
    is(mismatch(wpc.call::<()>("f", ())), (part, expected, "()"));
    let refused = wpc.call::<()>("f", 1_u8).unwrap_err();
    assert!(matches!(refused.remedy(), Some(Remedy::WriteCall(_))), "{refused}");
    is(mismatch(returning("()").call::<()>("f", ((),))), (part, "()", "((),)"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: u32,
    y: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Swapped {
    y: u32,
    x: u32,
}

#[test]
fn a_structure_must_have_the_declared_fields_in_their_order() {
    let declared = "Point { x: u32, y: u32 }";
    let wpc = taking(declared);
    wpc.call::<()>("f", (Point { x: 1, y: 2 },)).unwrap();
    let part = "parameter 1 (`a`)";
    is(mismatch(wpc.call::<()>("f", ((1_u32, 2_u32),))), (part, "Point", "(u32, u32)"));
    let swapped = Swapped { y: 1, x: 2 };
    is(mismatch(wpc.call::<()>("f", (swapped,))), (part, "the field x", "the field y"));

    let returning = returning(declared);
    is(mismatch(returning.call::<(u32, u32)>("f", ())), ("result", "Point", "(u32, u32)"));
    let (part, expected, _) = mismatch(returning.call::<Swapped>("f", ()));
    assert_eq!((part.as_str(), expected.as_str()), ("result", "the field y"));
    assert_eq!(code(returning.call::<Point>("f", ())), "result_decode");
}

#[test]
fn a_nested_type_mismatch_is_reported_with_its_path() {
    type Nested<T> = BTreeMap<String, Vec<(u8, Option<T>)>>;
    fn map<T>(last: T) -> Nested<T> {
        Nested::from([("key".to_owned(), vec![(1, None), (2, Some(last))])])
    }
    let declared = "Map<String, Vec<(u8, Option<u32>)>>";
    let wpc = taking(declared);
    let found = mismatch(wpc.call::<()>("f", (map(7_i64),)));
    is(found, ("parameter 1 (`a.value[1].1`)", "u32", "i64"));
    wpc.call::<()>("f", (map(7_u32),)).unwrap();
    let found = mismatch(returning(declared).call::<Nested<i64>>("f", ()));
    is(found, ("result (`result.value[0].1`)", "u32", "i64"));
}

#[test]
fn a_type_that_one_value_hides_is_checked_by_a_later_value() {
    let wpc = taking("Option<u32>");
    // `None` does not show the type.
    wpc.call::<()>("f", (None::<i32>,)).unwrap();
    is(mismatch(wpc.call::<()>("f", (Some(1_i32),))), ("parameter 1 (`a`)", "u32", "i32"));
    let wpc = taking("Vec<u32>");
    wpc.call::<()>("f", (Vec::<i32>::new(),)).unwrap();
    is(mismatch(wpc.call::<()>("f", (vec![1],))), ("parameter 1 (`a[0]`)", "u32", "i32"));
}

#[test]
fn values_of_one_type_that_differ_in_shape_are_checked_each_time() {
    let wpc = taking("u64");
    wpc.call::<()>("f", (serde_json::json!(1),)).unwrap();
    is(
        mismatch(wpc.call::<()>("f", (serde_json::json!(-1),))),
        ("parameter 1 (`a`)", "u64", "i64"),
    );
}

#[test]
fn bytes_and_strings_are_accepted_in_every_rust_form() {
    let wpc = pool(1);
    define_sdk(&wpc, &["echo_bytes", "borrow"]);
    let bytes = vec![1_u8, 2, 3];
    for _ in 0..2 {
        assert_eq!(wpc.call::<Vec<u8>>("echo_bytes", (&bytes,)).unwrap(), bytes);
        assert_eq!(wpc.call::<Box<[u8]>>("echo_bytes", (bytes.as_slice(),)).unwrap()[..], bytes);
        assert_eq!(wpc.call::<String>("borrow", ("text".to_owned(),)).unwrap(), "text");
        assert_eq!(
            wpc.call::<Box<str>>("borrow", ('t'.to_string().as_str(),)).unwrap(),
            "t".into()
        );
    }
    let found = mismatch(wpc.call::<Vec<u8>>("echo_bytes", ([1_u8, 2, 3],)));
    assert_eq!((found.1.as_str(), found.2.as_str()), ("`Vec<u8>`", "`[u8; 3]`"));
}

#[test]
fn every_way_to_call_by_name_is_checked() {
    let wpc = taking("u32");
    let options = CallOptions::new();
    let mut here = wpc.local_worker();
    assert_eq!(code(wpc.call::<()>("f", (1,))), "signature_mismatch");
    assert_eq!(code(wpc.call_with::<()>("f", (1,), &options)), "signature_mismatch");
    assert_eq!(code(wpc.submit::<()>("f", (1,)).map(drop)), "signature_mismatch");
    assert_eq!(code(wpc.submit_with::<()>("f", (1,), &options).map(drop)), "signature_mismatch");
    assert_eq!(code(pollster::block_on(wpc.call_async::<()>("f", (1,)))), "signature_mismatch");
    assert_eq!(code(here.call::<()>("f", (1,))), "signature_mismatch");
    assert_eq!(code(here.call_with::<()>("f", (1,), &options).map(drop)), "signature_mismatch");
    assert_eq!(code(here.call::<u8>("f", (1_u32,))), "signature_mismatch");
    for _ in 0..2 {
        here.call::<()>("f", (1_u32,)).unwrap();
        wpc.call::<()>("f", (1_u32,)).unwrap();
    }
}

#[test]
fn a_redefinition_with_other_types_is_checked_again() {
    let wpc = taking("u32");
    let mut here = wpc.local_worker();
    wpc.call::<()>("f", (1_u32,)).unwrap();
    wpc.define_worker_function("f", declaring("(a: i32) -> ()", "")).unwrap();
    let part = "parameter 1 (`a`)";
    is(mismatch(wpc.call::<()>("f", (1_u32,))), (part, "i32", "u32"));
    is(mismatch(here.call::<()>("f", (1_u32,))), (part, "i32", "u32"));
    wpc.call::<()>("f", (1_i32,)).unwrap();
}

/// An even number.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "u32")]
struct Even(u32);

impl TryFrom<u32> for Even {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err("it is odd") }
    }
}

#[test]
fn a_result_with_a_custom_deserializer_is_checked_for_each_reply() {
    let wpc = pool(1);
    wpc.define_worker_function("f", declaring("() -> (u32, i32)", r"\04\06")).unwrap();
    let mut here = wpc.local_worker();
    for _ in 0..2 {
        let found = mismatch(wpc.call::<(Even, u32)>("f", ()));
        is(found, ("result (`result.1`)", "i32", "u32"));
        let found = mismatch(here.call::<(Even, u32)>("f", ()));
        is(found, ("result (`result.1`)", "i32", "u32"));
        let found = mismatch(pollster::block_on(wpc.call_async::<(Even, u32)>("f", ())));
        is(found, ("result (`result.1`)", "i32", "u32"));
        assert_eq!(wpc.call::<(Even, i32)>("f", ()).unwrap(), (Even(4), 3));
        assert_eq!(here.call::<(Even, i32)>("f", ()).unwrap(), (Even(4), 3));
    }
}

#[test]
fn a_function_does_not_run_if_its_result_has_another_type() {
    let wpc = pool(1);
    wpc.define_worker_module(wat(r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "count") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            global.get $n))"#))
        .unwrap();
    is(mismatch(wpc.call::<u32>("count", ())), ("result", "i32", "u32"));
    assert_eq!(wpc.call::<i32>("count", ()).unwrap(), 1);
}

#[test]
fn a_module_that_declares_no_types_is_not_checked() {
    let wpc = pool(1);
    wpc.define_worker_function("f", replies(r"\00\06", 2)).unwrap();
    for _ in 0..2 {
        assert_eq!(wpc.call::<i8>("f", (1_u32, "x")).unwrap(), 6);
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 3);
    }
    // An argument whose type has no schema is not checked either.
    define_sdk(&wpc, &["opaque"]);
    assert_eq!(wpc.call::<u8>("opaque", (4_u8,)).unwrap(), 5);
}

#[test]
fn arguments_are_read_once() {
    struct Once(std::cell::Cell<Option<u32>>);
    impl Serialize for Once {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let value = self.0.take();
            value.ok_or_else(|| serde::ser::Error::custom("read twice"))?.serialize(serializer)
        }
    }
    let wpc = taking("u32");
    let once = || (Once(std::cell::Cell::new(Some(1))),);
    wpc.call::<()>("f", once()).unwrap();
    wpc.local_worker().call::<()>("f", once()).unwrap();
}
