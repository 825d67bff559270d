//! The contract with guests: what the SDK provides, and plain exports.

use crate::support::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wpc_host::{Capability, Error, EventDetails, Grant, Limits, Schema, Severity};

#[derive(Serialize, Schema)]
struct Order {
    item: String,
    count: u32,
    note: Option<String>,
}

#[derive(Deserialize, Schema, Debug, PartialEq)]
enum Answer {
    Accepted { total: u64 },
    Refused(String),
}

#[test]
fn serde_types_round_trip_owned_and_borrowed() {
    let wpc = pool(1);
    define_sdk(&wpc, &["join", "borrow", "echo_bytes", "sum", "order", "nothing"]);
    assert_eq!(wpc.call::<String>("join", ("left", "right")).unwrap(), "leftright");
    assert_eq!(wpc.call::<String>("borrow", ("kept",)).unwrap(), "kept");
    assert_eq!(wpc.call::<Vec<u8>>("echo_bytes", (vec![0_u8, 255, 7],)).unwrap(), [0, 255, 7]);
    assert_eq!(wpc.call::<u64>("sum", ([1_u64, 2, u64::MAX - 3].as_slice(),)).unwrap(), u64::MAX);
    wpc.call::<()>("nothing", ()).unwrap();

    let order = wpc.function::<(Vec<Order>, BTreeMap<String, u64>), Answer>("order").unwrap();
    let prices = BTreeMap::from([("tea".to_owned(), 3), ("jam".to_owned(), 5)]);
    let of = |item: &str, count, note: Option<&str>| Order {
        item: item.to_owned(),
        count,
        note: note.map(str::to_owned),
    };
    let orders = vec![of("tea", 2, None), of("jam", 1, None)];
    assert_eq!(order.call((orders.as_slice(), &prices)).unwrap(), Answer::Accepted { total: 11 });
    assert_eq!(
        order.call((vec![of("ham", 1, None)], &prices)).unwrap(),
        Answer::Refused("no price for ham".to_owned())
    );
    assert_eq!(
        order.call((vec![of("tea", 1, Some("late"))], &prices)).unwrap(),
        Answer::Refused("late".to_owned())
    );
}

#[test]
fn strings_and_bytes_of_every_length_round_trip() {
    let wpc = pool(1);
    define_sdk(&wpc, &["borrow", "join", "echo_bytes", "first_bytes"]);
    let first = wpc.function::<(Vec<u8>, u32), Vec<u8>>("first_bytes").unwrap();
    let mut here = wpc.local_worker();
    for len in [0, 1, 127, 128, 1_000, 16_384, 200_000] {
        let count = u32::try_from(len).unwrap();
        let text = "é".repeat(len);
        let bytes = (0..=255).cycle().take(len).collect::<Vec<u8>>();
        assert_eq!(wpc.call::<String>("borrow", (&text,)).unwrap(), text);
        assert_eq!(wpc.call::<Box<str>>("borrow", (&text,)).unwrap(), text.as_str().into());
        assert_eq!(wpc.call::<String>("join", (&text, &text)).unwrap(), text.repeat(2));
        assert_eq!(here.call::<String>("join", (&text, "")).unwrap(), text);
        assert_eq!(wpc.call::<Vec<u8>>("echo_bytes", (&bytes,)).unwrap(), bytes);
        assert_eq!(here.call::<Vec<u8>>("echo_bytes", (&bytes,)).unwrap(), bytes);
        assert_eq!(here.call::<Box<[u8]>>("echo_bytes", (&bytes,)).unwrap(), bytes.clone().into());
        assert_eq!(first.call((&bytes, count)).unwrap(), bytes);
        assert_eq!(here.call_function(&first, (&bytes, count / 2)).unwrap(), bytes[..len / 2]);
        assert_eq!(code(first.call((&bytes, count + 1))), "guest_error");
        let encoded =
            wpc.submit::<Vec<u8>>("echo_bytes", (&bytes,)).unwrap().wait_encoded().unwrap();
        assert_eq!(encoded.value, postcard::to_allocvec(&bytes).unwrap());
    }
    let text = vec![0xff_u8; 300];
    assert_eq!(code(wpc.call::<String>("echo_bytes", (&text,))), "signature_mismatch");
    assert_eq!(code(here.call::<String>("echo_bytes", (&text,))), "signature_mismatch");
    assert_eq!(code(wpc.call::<u32>("echo_bytes", (&text,))), "signature_mismatch");
}

#[test]
fn a_bytes_reply_is_read_once_and_a_second_read_is_an_error() {
    let wpc = pool(1);
    define_sdk(&wpc, &["borrow"]);
    for text in ["a".to_owned(), "b".repeat(1_000)] {
        let mut call = wpc.submit::<String>("borrow", (&text,)).unwrap();
        assert_eq!(pollster::block_on(&mut call).unwrap(), text);
        match call.wait_metered() {
            (Ok(again), None) => assert_eq!(again, text),
            (result, None) => assert_eq!(code(result), "result_decode"),
            other => panic!("nothing is metered: {other:?}"),
        }
    }
}

#[test]
fn a_value_may_lie_anywhere_in_the_guests_memory() {
    let wpc = pool(1);
    // Returns the bytes of its arguments; the first is their length.
    let module = contract(
        r#"(func (export "f") (param i32 i32) (result i64)
            (i32.store8 (i32.const 64) (i32.const 3))
            (i32.store (i32.const 65) (i32.add (local.get 0) (i32.const 1)))
            (i32.store (i32.const 69) (i32.sub (local.get 1) (i32.const 1)))
            (pack 64 9))"#,
    );
    wpc.define_worker_function("f", module.limits(Limits::default().result(100))).unwrap();
    let mut here = wpc.local_worker();
    // The kind and the length count towards the limit, as for an encoded value.
    for text in ["", "a", &"b".repeat(98)] {
        assert_eq!(wpc.call::<String>("f", (text,)).unwrap(), text);
        assert_eq!(wpc.call::<Vec<u8>>("f", (text,)).unwrap(), text.as_bytes());
        assert_eq!(here.call::<String>("f", (text,)).unwrap(), text);
    }
    assert_eq!(code(wpc.call::<String>("f", ("c".repeat(99),))), "result_too_large");
}

#[test]
fn names_in_a_guest_do_not_collide_with_the_macros() {
    let wpc = pool(1);
    define_sdk(&wpc, &["bytes", "entry", "bounds"]);
    assert_eq!(wpc.call::<u32>("bytes", (1_u32, 2_u32)).unwrap(), 3);
    assert_eq!(wpc.call::<String>("entry", ()).unwrap(), "entry");
    assert_eq!(wpc.call::<String>("bounds", ()).unwrap(), "bounds");
}

#[test]
fn a_module_lists_its_functions_with_their_types() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("sdk")).unwrap();
    let signature = |name| signature(&wpc, name);
    assert_eq!(signature("add"), "(a: i32, b: i32) -> i32");
    assert_eq!(signature("nothing"), "() -> ()");
    assert_eq!(signature("fails"), "(number: i32) -> ()");
    assert_eq!(signature("opaque"), "(value: ?) -> ?");
    assert_eq!(signature("order"), "(orders: Vec<Order>, prices: Map<String, u64>) -> Answer");
}

#[test]
fn plain_exports_take_numbers_and_check_them() {
    let wpc = pool(1);
    let module = wat(r#"(module
        (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
        (func (export "mix") (param i64 f32 f64) (result f64)
            local.get 0 f64.convert_i64_s local.get 1 f64.promote_f32 f64.add local.get 2 f64.add)
        (func (export "nothing"))
        (func (export "wide") (param i64) (result i64) local.get 0))"#);
    let functions = wpc.define_worker_module(module).unwrap();
    assert_eq!(
        functions[1].signature.as_ref().unwrap().to_string(),
        "(argument1: i64, argument2: f32, argument3: f64) -> f64"
    );
    assert_eq!(wpc.call::<i32>("add", (i32::MAX, 1)).unwrap(), i32::MIN);
    assert_eq!(wpc.call::<f64>("mix", (-1_i64, 0.5_f32, 0.25_f64)).unwrap(), -0.25);
    assert_eq!(wpc.call::<i64>("wide", (i64::MIN,)).unwrap(), i64::MIN);
    wpc.call::<()>("nothing", ()).unwrap();

    let Err(Error::BadArguments { reason, .. }) = call_encoded(&wpc, "add", &(1,)) else {
        panic!("something required is missing")
    };
    assert!(reason.starts_with("argument 2 must be i32"), "{reason}");
    let Err(Error::BadArguments { reason, .. }) = call_encoded(&wpc, "add", &(1, 2, 3)) else {
        panic!("there is one argument too many")
    };
    assert!(reason.contains("it takes 2"), "{reason}");
    assert_eq!(code(wpc.function::<(u32, u32), u32>("add").map(|_| ())), "signature_mismatch");
}

#[test]
fn an_export_is_selected_by_name_by_choice_or_because_it_is_the_only_one() {
    let wpc = pool(1);
    let two = r#"(module (func (export "one") (result i32) i32.const 1) (func (export "two") (result i32) i32.const 2))"#;
    wpc.define_worker_function("two", wat(two)).unwrap();
    wpc.define_worker_function("first", wat(two).export("one")).unwrap();
    wpc.define_worker_function(
        "any",
        wat(r#"(module (func (export "x") (result i32) i32.const 3))"#),
    )
    .unwrap();
    let results = ["two", "first", "any"].map(|name| wpc.call::<i32>(name, ()).unwrap());
    assert_eq!(results, [2, 1, 3]);
}

#[test]
fn log_lines_reach_the_events_with_their_function_and_call() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["speak"]);
    let call = wpc.submit::<()>("speak", ("hear me",)).unwrap();
    let id = call.id();
    call.wait().unwrap();
    let event = events.wait_for_log("hear me");
    assert_eq!((event.severity, event.correlation_id), (Severity::Warn, Some(id)));
    let EventDetails::GuestLog { function_name, level, .. } = event.details else {
        panic!("expected a log line")
    };
    assert_eq!((function_name.as_str(), level.as_str()), ("speak", "warn"));
}

#[test]
fn clocks_and_randomness_are_granted_or_rejected_by_name() {
    let wpc = pool(1);
    let wants_both = r#"(module
        (import "wpc" "wpc_clock" (func $clock (param i32) (result i64)))
        (import "wpc" "wpc_random" (func $random (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "wall") (result i64) (call $clock (i32.const 0)))
        (func (export "monotonic") (result i64) (call $clock (i32.const 1)))
        (func (export "random") (result i64) (call $random (i32.const 8) (i32.const 8)) (i64.load (i32.const 8))))"#;
    let Err(Error::NotGranted { name, grant, .. }) = wpc.define_worker_module(wat(wants_both))
    else {
        panic!("the import is not granted")
    };
    assert_eq!((name.as_str(), grant), ("wpc_clock", Grant::Capability(Capability::Clock)));
    let Err(Error::NotGranted { grant, .. }) =
        wpc.define_worker_module(wat(wants_both).grant(Capability::Clock))
    else {
        panic!("something required is missing")
    };
    assert_eq!(grant, Grant::Capability(Capability::Random));

    wpc.define_worker_module(wat(wants_both).grant(Capability::Clock).grant(Capability::Random))
        .unwrap();
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(u128::try_from(wpc.call::<i64>("wall", ()).unwrap()).unwrap() >= since_1970.as_nanos());
    let first: i64 = wpc.call("monotonic", ()).unwrap();
    assert!(wpc.call::<i64>("monotonic", ()).unwrap() >= first);
    assert_ne!(wpc.call::<i64>("random", ()).unwrap(), wpc.call::<i64>("random", ()).unwrap());
}

#[test]
fn a_constant_may_be_larger_than_the_guests_first_buffer() {
    let wpc = pool(1);
    define_sdk(&wpc, &["constant"]);
    let long = "x".repeat(100_000);
    wpc.define_worker_constant("LONG", &long).unwrap();
    assert_eq!(wpc.call::<String>("constant", ("LONG",)).unwrap(), long);
    wpc.define_worker_constant("NUMBER", &7_u64).unwrap();
    let Err(Error::Guest { error, .. }) = wpc.call::<String>("constant", ("NUMBER",)) else {
        panic!("the constant is not a string")
    };
    assert_eq!(error.name, "DecodeError");
}

#[test]
fn a_no_std_guest_behaves_like_others() {
    let wpc = pool_with(1, immediate_restarts());
    let events = Recorder::new(&wpc);
    wpc.define_worker_constant("GREETING", "Hello").unwrap();
    wpc.define_worker_module(guest("no_std")).unwrap();
    assert_eq!(wpc.call::<String>("shout", ("hear me",)).unwrap(), "HEAR ME");
    events.wait_for_log("shouting hear me");
    assert_eq!(wpc.call::<String>("greeting", ()).unwrap(), "Hello");
    let Err(Error::Guest { error, .. }) = wpc.call::<()>("refuses", (3,)) else {
        panic!("the function should return an error")
    };
    assert_eq!((error.name.as_str(), error.message.as_str()), ("TooSmall", "3 is too small"));
    let Err(Error::BadArguments { reason, .. }) = call_encoded(&wpc, "shout", &("a", "b")) else {
        panic!("there is one argument too many")
    };
    assert_eq!(reason, "2 trailing bytes after the last argument");
}

#[test]
fn a_panic_is_reported_with_its_location_with_and_without_std() {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_constant("GREETING", "Hello").unwrap();
    wpc.define_worker_module(guest("no_std")).unwrap();
    define_sdk(&wpc, &["panics"]);
    fn panic_message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result {
            Err(Error::Trap { reason, .. }) => reason,
            other => panic!("the guest should panic: {other:?}"),
        }
    }
    for (message, file, text) in [
        (panic_message(wpc.call::<()>("panics", ("late",))), "sdk/src/lib.rs:", ":\nit was late"),
        (
            panic_message(wpc.call::<()>("panics_with", ("late",))),
            "no_std/src/lib.rs:",
            ":\nit was late",
        ),
        (
            panic_message(wpc.call::<()>("panics_plainly", ())),
            "no_std/src/lib.rs:",
            ":\nit was plain",
        ),
    ] {
        assert!(message.starts_with("panicked at "), "{message}");
        assert!(message.contains(file) && message.ends_with(text), "{message}");
    }
    // A failed allocation is a panic, whose message fits the memory that is left.
    let failed = panic_message(wpc.call::<u32>("runs_out", ()));
    assert!(failed.ends_with("memory allocation of 2147483647 bytes failed"), "{failed}");
}

#[test]
fn the_modules_in_the_abi_document_run() {
    let page = include_str!("../docs/abi.md");
    let modules: Vec<_> = page
        .split("```wat\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.starts_with("(module"))
        .collect();
    assert_eq!(modules.len(), 3);
    let wpc = pool(1);
    for module in modules {
        wpc.define_worker_module(wat(module)).unwrap();
    }
    assert_eq!(wpc.call::<i32>("add", (40, 2)).unwrap(), 42);
    assert_eq!(wpc.call::<String>("greet", ("Ada",)).unwrap(), "hi");
    let mut letters = wpc.stream::<String, i32>("letters", (i32::from(b'a'), 3)).unwrap();
    let items: Result<Vec<_>, _> = (&mut letters).into_iter().collect();
    assert_eq!(items.unwrap(), ["a", "b", "c"]);
    assert_eq!(letters.finish().unwrap(), 3);
}

#[test]
fn canonical_nans_have_the_same_bits_everywhere() {
    let module = wat(r#"(module
        (func (export "f") (param f64 f64) (result i64)
            (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 1)))))"#);
    let wpc = pool(1);
    wpc.define_worker_function("plain", module.clone().export("f")).unwrap();
    wpc.define_worker_function("canonical", module.export("f").canonical_nans()).unwrap();
    for (one, other) in [(0.0, 0.0), (f64::INFINITY, f64::INFINITY), (-f64::NAN, 1.0)] {
        let bits = wpc.call::<i64>("canonical", (one, other)).unwrap();
        assert_eq!(bits.cast_unsigned(), 0x7ff8_0000_0000_0000);
        let bits = wpc.call::<i64>("plain", (one, other)).unwrap();
        assert!(f64::from_bits(bits.cast_unsigned()).is_nan());
    }
    assert_eq!(wpc.call::<i64>("canonical", (1.0, 2.0)).unwrap(), 0.5_f64.to_bits().cast_signed());
}
