//! Functions that yield items before their result, and callers that read them.

use crate::support::*;
use futures::StreamExt;
use std::time::Duration;
use wpc_abi::section::custom_section;
use wpc_abi::text::parse_signature;
use wpc_host::{
    CallOptions, Error, ErrorCode, Limits, Options, StreamError, StreamOptions, SuspensionCause,
    WasmModule, WorkerProcedureCall,
};

/// A guest whose `count` yields the numbers from 0 up to its argument as bytes, and then returns it. Its `flood` never
/// ends, and its `fails` traps after three items.
const COUNTER: &str = r#"(module
    (import "wpc" "wpc_yield" (func $yield (param i32 i32)))
    (memory (export "memory") 1)
    (func $item (param $item i64)
        (i64.store8 (i32.const 0) (local.get $item))
        (call $yield (i32.const 0) (i32.const 1)))
    (func (export "count") (param $items i64) (result i64)
        (local $at i64)
        (block $end
            (loop $next
                (br_if $end (i64.ge_u (local.get $at) (local.get $items)))
                (call $item (local.get $at))
                (local.set $at (i64.add (local.get $at) (i64.const 1)))
                (br $next)))
        local.get $items)
    (func (export "flood") (loop $next (call $item (i64.const 1)) (br $next)))
    (func (export "fails")
        (call $item (i64.const 7)) (call $item (i64.const 8)) (call $item (i64.const 9))
        unreachable))"#;

fn counter() -> WasmModule {
    WasmModule::new(wat::parse_str(COUNTER).unwrap())
}

/// The same guest, which declares the items of `count`.
fn declared_counter(signature: &str) -> WasmModule {
    let signature = parse_signature("count", signature).unwrap();
    let mut bytes = wat::parse_str(COUNTER).unwrap();
    bytes.extend(custom_section(&signature.record()));
    WasmModule::new(bytes).export("count")
}

fn counting_pool(workers: usize) -> WorkerProcedureCall {
    let wpc = pool(workers);
    wpc.define_worker_module(counter()).unwrap();
    wpc
}

/// How many calls to `flood` ended with this error.
fn ended(wpc: &WorkerProcedureCall, code: ErrorCode) -> u64 {
    let functions = wpc.metrics().functions;
    let flood = functions.into_iter().find(|function| function.name == "flood").unwrap();
    flood.calls.failed.get(&code).copied().unwrap_or_default()
}

fn few_waiting(items: usize) -> StreamOptions {
    StreamOptions::new().max_waiting_items(items)
}

#[test]
fn a_caller_reads_items_and_then_the_result() {
    let wpc = counting_pool(1);
    let mut stream = wpc.stream::<u8, i64>("count", (3_i64,)).unwrap();
    let items: Result<Vec<u8>, StreamError> = (&mut stream).into_iter().collect();
    assert_eq!(items.unwrap(), [0, 1, 2]);
    assert_eq!(stream.delivered(), 3);
    assert_eq!(stream.finish().unwrap(), 3);

    let count = wpc.function::<(i64,), i64>("count").unwrap();
    let stream = count.stream::<u8>((100_000,)).unwrap();
    let mut expected = (0..100_000_u32).map(|item| item.to_le_bytes()[0]);
    for item in stream {
        assert_eq!(Some(item.unwrap()), expected.next());
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn items_are_delivered_before_the_function_ends() {
    let wpc = counting_pool(1);
    let mut stream = wpc.stream::<u8, ()>("flood", ()).unwrap();
    assert_eq!(stream.next_blocking().unwrap().unwrap(), 1);
    assert!(wpc.metrics().calls.total() == 0);
}

#[test]
fn an_item_stream_implements_stream() {
    let wpc = counting_pool(1);
    let mut stream = wpc.stream_with::<u8, i64>("count", (50_i64,), &few_waiting(1)).unwrap();
    let mut items = Vec::new();
    let result = pollster::block_on(async {
        while let Some(item) = stream.next().await {
            items.push(item.unwrap());
        }
        stream.answer().await
    });
    assert_eq!(result.unwrap().value, 50);
    assert_eq!(items, (0..50).collect::<Vec<u8>>());
}

#[test]
fn a_function_whose_items_are_not_read_is_suspended_and_its_worker_runs_other_calls() {
    let wpc = counting_pool(1);
    wpc.define_worker_module(spinner()).unwrap();
    let mut stream = wpc.stream_with::<u8, i64>("count", (10_i64,), &few_waiting(2)).unwrap();
    eventually(|| wpc.metrics().suspended_calls == 1);
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    let items: Result<Vec<u8>, StreamError> = (&mut stream).into_iter().collect();
    assert_eq!(items.unwrap(), (0..10).collect::<Vec<u8>>());
    assert_eq!(stream.finish().unwrap(), 10);
}

#[test]
fn the_bytes_of_waiting_items_are_bounded_and_a_larger_item_waits_alone() {
    let wpc = pool(1);
    // Yields its memory's first 1,000 bytes four times, each as a sequence of bytes: 998 of them after their number.
    let guest = r#"(module
        (import "wpc" "wpc_yield" (func $yield (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\e6\07")
        (func $item (call $yield (i32.const 0) (i32.const 1000)))
        (func (export "large") (call $item) (call $item) (call $item) (call $item)))"#;
    wpc.define_worker_function("large", wat::parse_str(guest).unwrap()).unwrap();
    for bytes in [1, 999, 1008, 2500] {
        let options = StreamOptions::new().max_waiting_bytes(bytes);
        let mut stream = wpc.stream_with::<Vec<u8>, ()>("large", (), &options).unwrap();
        eventually(|| wpc.metrics().suspended_calls == 1);
        assert_eq!(
            (&mut stream).into_iter().filter(|item| item.as_ref().unwrap().len() == 998).count(),
            4
        );
        stream.finish().unwrap();
    }
    let refused = wpc.stream_with::<Vec<u8>, ()>("large", (), &few_waiting(0));
    assert!(matches!(refused, Err(Error::InvalidCallOptions { .. })));
}

#[test]
fn dropping_a_stream_cancels_its_call() {
    let wpc = counting_pool(1);
    for options in [StreamOptions::new(), few_waiting(1)] {
        let mut stream = wpc.stream_with::<u8, ()>("flood", (), &options).unwrap();
        assert_eq!(stream.next_blocking().unwrap().unwrap(), 1);
        drop(stream);
    }
    assert_eq!(wpc.stream::<u8, i64>("count", (5_i64,)).unwrap().finish().unwrap(), 5);
    eventually(|| ended(&wpc, ErrorCode::Cancelled) == 2);
}

#[test]
fn a_cancelled_stream_ends_with_an_error() {
    let wpc = counting_pool(1);
    let mut stream = wpc.stream_with::<u8, ()>("flood", (), &few_waiting(2)).unwrap();
    eventually(|| wpc.metrics().suspended_calls == 1);
    stream.cancel_handle().cancel();
    let failed = (&mut stream).into_iter().find_map(Result::err).unwrap();
    assert_eq!((failed.error.code().as_str(), failed.delivered), ("cancelled", 2));
    assert!(stream.next_blocking().is_none());
}

#[test]
fn the_time_limit_still_applies_while_a_function_waits_for_its_caller() {
    let wpc = counting_pool(1);
    let call = CallOptions::new().timeout(Duration::from_millis(500));
    let options = few_waiting(3).call(call);
    let mut calls = 0;
    // What was yielded before is not lost. On a busy machine, the limit may pass before the items are yielded.
    let (stream, items) = loop {
        let mut stream = wpc.stream_with::<u8, ()>("flood", (), &options).unwrap();
        calls += 1;
        eventually(|| ended(&wpc, ErrorCode::Timeout) == calls);
        let items: Vec<_> = (&mut stream).into_iter().collect();
        if items.len() == 4 {
            break (stream, items);
        }
        assert!(items.len() < 4, "{items:?}");
    };
    let failed = items[3].as_ref().unwrap_err();
    assert!(matches!(*failed.error, Error::Timeout { ran: true, .. }));
    assert_eq!(failed.delivered, 3);
    assert_eq!(stream.finish().unwrap_err().delivered, 3);
}

#[test]
fn an_error_has_the_number_of_delivered_items() {
    let wpc = counting_pool(1);
    let mut stream = wpc.stream::<u8, ()>("fails", ()).unwrap();
    let items: Vec<u8> = (&mut stream).into_iter().map_while(Result::ok).collect();
    assert_eq!(items, [7, 8, 9]);
    let failed = stream.finish().unwrap_err();
    assert!(matches!(*failed.error, Error::Trap { .. }));
    assert!(failed.to_string().ends_with("(after 3 items)"), "{failed}");
}

#[test]
fn a_result_can_be_read_without_the_items() {
    let wpc = counting_pool(1);
    let stream = wpc.stream_with::<u8, i64>("count", (1000_i64,), &few_waiting(1)).unwrap();
    assert_eq!(stream.finish().unwrap(), 1000);
    let stream = wpc.stream_with::<u8, i64>("count", (1000_i64,), &few_waiting(1)).unwrap();
    assert_eq!(pollster::block_on(stream.answer()).unwrap().value, 1000);
}

#[test]
fn a_function_without_items_can_be_read_as_a_stream() {
    let wpc = pool(1);
    wpc.define_worker_module(spinner()).unwrap();
    let mut stream = wpc.stream::<u8, i32>("quick", ()).unwrap();
    assert!(stream.next_blocking().is_none());
    assert_eq!(stream.finish().unwrap(), 7);
}

#[test]
fn a_function_that_yields_needs_a_reader() {
    let wpc = counting_pool(1);
    // This function does not declare its items, so it runs until it yields one.
    assert_eq!(wpc.call::<i64>("count", (0_i64,)).unwrap(), 0);
    let refused = wpc.call::<i64>("count", (1_i64,));
    assert!(matches!(refused, Err(Error::YieldsItems { ran: true, .. })), "{refused:?}");
    wpc.define_worker_function("count", declared_counter("(n: i64) -> i64 yields u8")).unwrap();
    for refused in [
        wpc.call::<i64>("count", (0_i64,)),
        wpc.function::<(i64,), i64>("count").unwrap().call((0,)),
        wpc.local_worker().call::<i64>("count", (0_i64,)),
    ] {
        assert!(matches!(refused, Err(Error::YieldsItems { ran: false, .. })), "{refused:?}");
    }
    assert_eq!(wpc.stream::<u8, i64>("count", (1_i64,)).unwrap().finish().unwrap(), 1);
}

#[test]
fn a_caller_that_does_not_read_items_does_not_fail_the_function() {
    let wpc = pool_with(1, Options::default().restart_on_failure(false));
    let limits = Limits::default().timeout(Duration::from_secs(1));
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    wpc.define_worker_module(counter().limits(limits)).unwrap();
    assert_eq!(code(wpc.call_with::<i64>("count", (1_i64,), &long)), "yields_items");
    let unread = wpc.stream_with::<u8, ()>("flood", (), &few_waiting(1)).unwrap();
    eventually(|| ended(&wpc, ErrorCode::Timeout) == 1);
    assert_eq!(unread.finish().unwrap_err().error.code(), ErrorCode::Timeout);
    // One failure opens the circuit breaker.
    let long = StreamOptions::new().call(long);
    let read = wpc.stream_with::<u8, i64>("count", (1_i64,), &long).unwrap();
    assert_eq!(read.finish().unwrap(), 1);
    let functions = wpc.metrics().functions;
    assert!(functions.iter().all(|function| function.sandbox_failures == 0), "{functions:?}");
}

#[test]
fn the_type_of_items_is_compared_with_the_declared_one() {
    let wpc = pool(1);
    wpc.define_worker_function("count", declared_counter("(n: i64) -> i64 yields u8")).unwrap();
    let information = wpc.function_information("count").unwrap();
    assert_eq!(information.suspension_causes, [SuspensionCause::Items]);
    let signature = information.signature.unwrap();
    assert_eq!(signature.to_string(), "(n: i64) -> i64 yields u8");
    let refused = wpc.stream::<String, i64>("count", (1_i64,)).map(drop);
    let Err(Error::SignatureMismatch { part, expected, found, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((&*part, &*expected, &*found), ("items", "`u8`", "`String`"));
    // Types that a module does not declare are found when an item does not decode.
    wpc.define_worker_module(counter()).unwrap();
    let mut stream = wpc.stream::<String, i64>("count", (10_i64,)).unwrap();
    // The item `0` is an empty text, and the item `1` the length of a text that is missing.
    assert_eq!(stream.next_blocking().unwrap().unwrap(), "");
    let failed = stream.next_blocking().unwrap().unwrap_err();
    assert!(matches!(*failed.error, Error::ResultDecode { .. }));
    assert_eq!(failed.delivered, 1);
    assert!(stream.next_blocking().is_none());
}

#[test]
fn an_item_before_the_call_fails_the_sandbox() {
    let wpc = pool(1);
    let guest = r#"(module
        (import "wpc" "wpc_yield" (func $yield (param i32 i32)))
        (memory (export "memory") 1)
        (func $start (call $yield (i32.const 0) (i32.const 1)))
        (start $start)
        (func (export "f")))"#;
    wpc.define_worker_function("f", wat::parse_str(guest).unwrap()).unwrap();
    let failed = wpc.stream::<u8, ()>("f", ()).unwrap().finish().unwrap_err();
    assert!(matches!(*failed.error, Error::Initialisation { .. }), "{failed:?}");
    assert!(failed.to_string().contains("yields an item before its function is called"));
}

#[test]
fn a_dependency_cannot_yield_items_of_its_user() {
    let wpc = pool(1);
    let yields = r#"(module
        (import "wpc" "wpc_yield" (func $yield (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "yields") (call $yield (i32.const 0) (i32.const 1))))"#;
    wpc.define_worker_dependency("dep", wat(yields)).unwrap();
    let user =
        r#"(module (import "dep" "yields" (func $yields)) (func (export "f") (call $yields)))"#;
    wpc.define_worker_function("f", wat(user)).unwrap();
    let failed = wpc.stream::<u8, ()>("f", ()).unwrap().finish().unwrap_err();
    assert!(matches!(*failed.error, Error::BadReply { .. }), "{failed:?}");
}

#[test]
fn items_outside_of_memory_or_beyond_the_limit_end_the_call() {
    let wpc = pool(1);
    let guest = r#"(module
        (import "wpc" "wpc_yield" (func $yield (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "outside") (call $yield (i32.const 65535) (i32.const 2)))
        (func (export "large") (call $yield (i32.const 0) (i32.const 65536))))"#;
    let guest = WasmModule::new(wat::parse_str(guest).unwrap());
    wpc.define_worker_module(guest.limits(Limits::default().result(65_535))).unwrap();
    let error = |name| *wpc.stream::<u8, ()>(name, ()).unwrap().finish().unwrap_err().error;
    assert!(matches!(error("outside"), Error::BadReply { .. }));
    assert!(matches!(error("large"), Error::ResultTooLarge { found: 65_536, .. }));
}

#[test]
fn a_stream_ends_with_the_definition_with_which_it_began() {
    let wpc = counting_pool(1);
    let mut stream = wpc.stream_with::<u8, i64>("count", (10_i64,), &few_waiting(1)).unwrap();
    assert_eq!(stream.next_blocking().unwrap().unwrap(), 0);
    wpc.define_worker_function("count", spinner().export("quick")).unwrap();
    assert_eq!(wpc.call::<i32>("count", ()).unwrap(), 7);
    assert_eq!((&mut stream).into_iter().map(Result::unwrap).count(), 9);
    assert_eq!(stream.finish().unwrap(), 10);
}

#[test]
fn a_stop_ends_streams() {
    let options = Options::default()
        .stop_timeout(Duration::from_millis(30))
        .unresponsive_worker_grace(TEST_TIMEOUT);
    let wpc = pool_with(2, options);
    wpc.define_worker_module(counter()).unwrap();
    let streams: Vec<_> =
        (0..20).map(|_| wpc.stream_with::<u8, ()>("flood", (), &few_waiting(1)).unwrap()).collect();
    eventually(|| wpc.metrics().suspended_calls == 20);
    wpc.stop_workers();
    for stream in streams {
        assert_eq!(stream.finish().unwrap_err().error.code().as_str(), "stopped");
    }
    assert_eq!(wpc.get_sandbox_usage().live_instances, 0);
}

#[test]
fn many_streams_share_a_worker() {
    let wpc = counting_pool(1);
    let mut streams: Vec<_> = (0..30)
        .map(|_| wpc.stream_with::<u8, i64>("count", (40_i64,), &few_waiting(4)).unwrap())
        .collect();
    for item in 0..40 {
        for stream in &mut streams {
            assert_eq!(stream.next_blocking().unwrap().unwrap(), item);
        }
    }
    for stream in streams {
        assert_eq!(stream.finish().unwrap(), 40);
    }
}

#[test]
fn guests_of_the_sdk_yield_items_of_the_declared_type() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("streams")).unwrap();
    let mut lines = wpc.stream::<String, u32>("lines", ("tea\njam\n",)).unwrap();
    let items: Result<Vec<String>, StreamError> = (&mut lines).into_iter().collect();
    assert_eq!(items.unwrap(), ["tea", "jam"]);
    assert_eq!(lines.finish().unwrap(), 2);

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Word {
        text: String,
        length: u32,
    }
    let mut words = wpc.stream::<Word, ()>("words", ("größer  als",)).unwrap();
    let word = words.next_blocking().unwrap().unwrap();
    assert_eq!(word, Word { text: "größer".to_owned(), length: 6 });
    let failed = words.next_blocking().unwrap().unwrap_err();
    assert!(matches!(*failed.error, Error::Guest { .. }));
    assert_eq!(failed.delivered, 1);

    let numbers = wpc.function::<(u64,), ()>("numbers").unwrap();
    let sum: u64 = numbers.stream::<u64>((10_000,)).unwrap().into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, 49_995_000);
    assert!(matches!(numbers.call((1,)), Err(Error::YieldsItems { ran: false, .. })));
}

#[test]
fn the_sdk_rejects_items_of_another_type() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("streams")).unwrap();
    for (function, text) in [
        (
            "other_items",
            "an item of type `u32`, but declares items of type `alloc::string::String`",
        ),
        ("undeclared_items", "an item of type `u32`, but declares none; add `yields = …`"),
    ] {
        let failed = wpc.stream::<String, ()>(function, ()).unwrap().finish().unwrap_err();
        let Error::Guest { error, .. } = &*failed.error else { panic!("{failed:?}") };
        assert_eq!(error.name, "WrongItemType");
        assert!(error.message.contains(text), "{}", error.message);
    }
}

#[test]
#[cfg(feature = "json")]
fn items_are_read_as_json() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("streams")).unwrap();
    let arguments = [serde_json::json!("tea, 茶")];
    let mut words = wpc.stream_json("words", &arguments, &StreamOptions::new()).unwrap();
    let items: Result<Vec<_>, StreamError> = (&mut words).into_iter().collect();
    let expected = serde_json::json!([
        { "text": "tea,", "length": 4 },
        { "text": "茶", "length": 1 },
    ]);
    assert_eq!(serde_json::Value::Array(items.unwrap()), expected);
    assert_eq!(words.finish().unwrap(), serde_json::Value::Null);
}
