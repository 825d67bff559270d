//! Errors that functions return: name, variant, message, and the typed payload.

use crate::support::*;
use serde_json::json;
use why::Why;
use wpc_host::{CallOptions, DeclaredType, Error, GuestError, Limits, Schema, WorkerProcedureCall};

#[path = "../fixtures/guests/types/src/why.rs"]
mod why;

/// A pool with the guest `types`.
fn types() -> WorkerProcedureCall {
    let wpc = pool(1);
    wpc.define_worker_module(guest("types")).unwrap();
    wpc
}

/// A function that replies with the given bytes.
fn failing(name: &str, bytes: &str, len: usize) -> wpc_host::WasmModule {
    contract(&format!(
        r#"(data (i32.const 16) "{bytes}")
        (func (export "{name}") (param i32 i32) (result i64) (pack 16 {len}))"#
    ))
}

fn guest_error(error: &Error) -> &GuestError {
    match error {
        Error::Guest { error, .. } => error,
        other => panic!("not a guest error: {other}"),
    }
}

#[test]
fn an_error_with_a_schema_arrives_with_variant_and_payload() {
    let wpc = types();
    let mut here = wpc.local_worker();
    let long = Why::TooLong { limit: 3, found: 4 };
    for (text, limit, variant, expected, as_json) in [
        ("", 3_u32, "Empty", Why::Empty, json!("Empty")),
        ("long", 3, "TooLong", long, json!({ "TooLong": { "limit": 3, "found": 4 } })),
        ("held", 2, "held", Why::Held(vec![7, 7]), json!({ "held": [7, 7] })),
    ] {
        let errors = [
            wpc.call::<u32>("check", (text, limit)).unwrap_err(),
            here.call::<u32>("check", (text, limit)).unwrap_err(),
            wpc.call_json("check", &[json!(text), json!(limit)]).unwrap_err(),
        ];
        for error in errors {
            let guest = guest_error(&error);
            assert_eq!((guest.name.as_str(), guest.variant.as_str()), ("Why", variant));
            assert_eq!(guest.message, expected.to_string());
            assert_eq!(
                error.to_string(),
                format!("function \"check\" returned an error: Why::{variant}: {expected}")
            );
            assert_eq!(error.guest_payload::<Why>().unwrap().as_ref(), Some(&expected));
            assert_eq!(error.guest_payload_json().unwrap().as_ref(), Some(&as_json));
        }
    }
    let check = wpc.function_information("check").unwrap().signature.unwrap();
    assert_eq!(check.to_string(), "(text: String, limit: u32) -> u32");
    assert_eq!(check.error, Some(DeclaredType::of::<Why>()));
    let information = guest("types").inspect().unwrap();
    let is_listed = |ty: &wpc_host::TypeInformation| {
        ty.definition == "Why = Empty | TooLong { limit: u32, found: u32 } | held(Vec<u8>)"
    };
    assert!(information.types.iter().any(is_listed), "{:?}", information.types);
}

#[test]
fn a_payload_of_another_type_is_rejected_by_its_declared_type() {
    #[derive(Debug, serde::Deserialize, Schema)]
    enum Other {
        #[expect(dead_code, reason = "only its type is used")]
        Empty(u8),
    }
    let error = types().call::<u32>("check", ("", 3_u32)).unwrap_err();
    let refused = error.guest_payload::<Other>().unwrap_err();
    assert_eq!(refused.code().as_str(), "payload_decode");
    let Error::PayloadDecode { function, wanted, reason, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!((function.as_str(), wanted.as_str()), ("check", "Other"));
    assert!(reason.contains("`Why`"), "{reason}");
    assert_eq!(Error::NotRunning.guest_payload::<Other>().unwrap().map(drop), None);
}

#[test]
fn a_payload_beyond_the_limit_is_omitted_and_the_error_arrives() {
    let wpc = types();
    // The variant and the length take 4 bytes.
    let most = 64 * 1024 - 4_u32;
    let error = wpc.call::<u32>("check", ("held", most)).unwrap_err();
    let Some(Why::Held(bytes)) = error.guest_payload().unwrap() else { panic!("{error}") };
    assert_eq!(bytes.len(), most as usize);
    let error = wpc.call::<u32>("check", ("held", most + 1)).unwrap_err();
    assert_eq!(guest_error(&error).variant, "held");
    assert_eq!(error.guest_payload::<Why>().unwrap(), None);
    assert_eq!(error.guest_payload_json().unwrap(), None);
}

#[test]
fn other_errors_convert_with_the_question_mark_operator() {
    let wpc = types();
    let error = wpc.call::<i64>("parse", ("x",)).unwrap_err();
    let guest = guest_error(&error);
    assert_eq!((guest.name.as_str(), guest.variant.as_str()), ("Unread", "NotANumber"));
    assert!(guest.stack.contains("caused by: invalid digit"), "{}", guest.stack);
    assert_eq!((&guest.payload, error.guest_payload_json().unwrap()), (&None, None));
    let error = wpc.call::<i64>("parse", ("static",)).unwrap_err();
    assert_eq!(guest_error(&error).variant, "Static");

    let error = wpc.call::<i64>("parse_all", (vec!["1", "x"],)).unwrap_err();
    let guest = guest_error(&error);
    assert_eq!(guest.to_string(), "Unread::NotANumber: it is not a number");
    assert!(guest.stack.contains("caused by: ") && guest.stack.contains("in parse_all at "));

    let error = wpc.call::<i64>("parse_any", ("x",)).unwrap_err();
    let guest = guest_error(&error);
    assert_eq!((guest.name.as_str(), guest.variant.as_str()), ("Error", ""));
}

#[test]
fn an_importer_receives_a_dependencys_error_without_its_payload() {
    let wpc = pool(1);
    let exports = ["fails", "join", "add", "echo_bytes"].map(|name| {
        format!(r#"(func (export "{name}") (param i32 i32) (result i64) (pack 16 18))"#)
    });
    let reply = r#"(data (i32.const 16) "\01\03Why\01m\01s\05Empty\01\01\00")"#;
    wpc.define_worker_dependency("dep", contract(&(reply.to_owned() + &exports.concat()))).unwrap();
    wpc.define_worker_module(guest("needy")).unwrap();
    let error = wpc.call::<()>("relays_an_error", (3,)).unwrap_err();
    let guest = guest_error(&error);
    assert_eq!((guest.name.as_str(), guest.message.as_str()), ("Why", "m"));
    assert_eq!((guest.variant.as_str(), &guest.payload), ("", &None));
}

#[test]
fn legacy_and_malformed_errors_are_handled() {
    let wpc = pool_with(1, immediate_restarts());
    let ends = |bytes: &str, len: usize| {
        wpc.define_worker_function("f", failing("f", bytes, len)).unwrap();
        wpc.call::<()>("f", ()).unwrap_err()
    };
    let old = ends(r"\01\03Why\01m\01s", 9);
    assert_eq!(guest_error(&old), &GuestError::new("Why", "m").with_stack("s"));
    let payload = ends(r"\01\03Why\01m\01s\01V\01\02ab", 15);
    assert_eq!(guest_error(&payload).payload.as_deref(), Some(&b"ab"[..]));
    // Without a declared type the payload is not available as JSON, and any type may be tried.
    assert_eq!(payload.guest_payload_json().unwrap(), None);
    assert_eq!(payload.guest_payload::<(u8, u8)>().unwrap(), Some((b'a', b'b')));
    assert_eq!(payload.guest_payload::<u8>().unwrap_err().code().as_str(), "payload_decode");
    for (bytes, len) in [
        // A length beyond the reply, a flag that is neither 0 nor 1, a variant that is not UTF-8, and a truncated one.
        (r"\01\03Why\01m\01s\01V\01\ff\ff\ff\ff\0f", 17),
        (r"\01\03Why\01m\01s\01V\02", 12),
        (r"\01\03Why\01m\01s\01\ff\00", 12),
        (r"\01\03Why\01m\01s\05V", 11),
    ] {
        assert_eq!(ends(bytes, len).code().as_str(), "bad_reply", "{bytes}");
    }
}

#[test]
fn a_payload_counts_towards_the_limit_of_results() {
    let wpc = pool(1);
    let module = guest("types").export("check").limits(Limits::default().result(200));
    wpc.define_worker_function("check", module).unwrap();
    let call = |bytes: u32| {
        wpc.call_with::<u32>("check", ("held", bytes), &CallOptions::new()).unwrap_err()
    };
    assert_eq!(call(10).code().as_str(), "guest_error");
    assert_eq!(call(1000).code().as_str(), "result_too_large");
}
