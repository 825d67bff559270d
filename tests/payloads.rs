//! Large payloads: how results are returned, and which buffers a pool keeps for reuse.

use crate::support::*;
use wpc_host::{CallOptions, Function, PendingCall, WorkerProcedureCall};

const MEGABYTE: usize = 1 << 20;

/// The maximum that a pool keeps, in bytes and in buffers.
const MOST: (usize, usize) = (64 * MEGABYTE, 256);

type Echo = Function<(Vec<u8>,), Vec<u8>>;

fn echo(wpc: &WorkerProcedureCall) -> Echo {
    define_sdk(wpc, &["echo_bytes"]);
    wpc.function("echo_bytes").unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn kept(wpc: &WorkerProcedureCall) -> usize {
    let usage = wpc.get_buffer_usage();
    assert!(usage.idle_bytes <= MOST.0 && usage.idle_buffers <= MOST.1, "{usage:?}");
    assert_eq!(usage.idle_bytes == 0, usage.idle_buffers == 0);
    usage.idle_bytes
}

/// Makes `calls` concurrent calls of 1 MB each.
fn burst(echo: &Echo, calls: usize, mut read: impl FnMut(PendingCall<Vec<u8>>)) {
    let sent = bytes(MEGABYTE);
    let calls: Vec<_> = (0..calls).map(|_| echo.submit((sent.as_slice(),)).unwrap()).collect();
    calls.into_iter().for_each(&mut read);
}

fn into(buffer: &mut Vec<u8>) -> impl FnMut(PendingCall<Vec<u8>>) {
    |call| {
        call.wait_into(buffer).unwrap();
        assert!(*buffer == bytes(MEGABYTE), "the returned bytes differ");
    }
}

#[test]
fn wait_into_replaces_the_content_of_the_buffer() {
    let wpc = pool(1);
    let echo = echo(&wpc);
    let mut back = vec![1; 300_000];
    for len in [0, 1, 127, 128, 1_000, 131_071, 131_072, 200_000, MEGABYTE, 5] {
        let sent = bytes(len);
        let metadata = echo.submit((sent.as_slice(),)).unwrap().wait_into(&mut back).unwrap();
        assert!(back == sent, "{len} bytes");
        back.push(9);
        let call = echo.submit((sent.as_slice(),)).unwrap();
        assert_eq!(pollster::block_on(call.answer_into(&mut back)).unwrap(), metadata);
        assert!(back == sent, "{len} bytes");
        back.push(9);
    }
}

#[test]
fn wait_into_keeps_the_callers_buffer_for_a_small_result() {
    let wpc = pool(1);
    let echo = echo(&wpc);
    let mut back = Vec::with_capacity(10_000);
    let address = back.as_ptr();
    for len in [10, 10_000] {
        echo.submit((bytes(len),)).unwrap().wait_into(&mut back).unwrap();
        assert_eq!((back.as_ptr(), back.len()), (address, len));
    }
}

#[test]
fn an_error_leaves_the_callers_buffer_unchanged() {
    let wpc = pool(1);
    define_sdk(&wpc, &["first_bytes"]);
    let first = wpc.function::<(Vec<u8>, u32), Vec<u8>>("first_bytes").unwrap();
    let mut back = vec![1, 2];
    let error = first.submit((bytes(MEGABYTE), u32::MAX)).unwrap().wait_into(&mut back);
    assert_eq!(code(error), "guest_error");
    let cancelled = first.submit((bytes(MEGABYTE), 1)).unwrap();
    wpc.stop_workers();
    drop(cancelled);
    assert_eq!(back, [1, 2]);
}

#[test]
fn buffers_are_reused_by_the_next_burst_and_released_when_idle() {
    let wpc = pool(2);
    let echo = echo(&wpc);
    let mut back = Vec::new();
    // More than the maximum.
    burst(&echo, 80, into(&mut back));
    eventually(|| {
        // Another thread may hold the list at this moment, in which case a buffer is not kept.
        burst(&echo, 2, into(&mut back));
        kept(&wpc) > 0
    });
    eventually(|| {
        let before = kept(&wpc);
        let sent = bytes(MEGABYTE);
        let call = echo.submit((sent.as_slice(),)).unwrap();
        let during = kept(&wpc);
        call.wait_into(&mut back).unwrap();
        during < before
    });
    eventually(|| kept(&wpc) == 0);
    // An answer that is read after the pool has been idle.
    let late = [(); 2].map(|()| echo.submit((bytes(MEGABYTE),)).unwrap());
    eventually(|| late.iter().all(PendingCall::is_answered) && kept(&wpc) == 0);
    late.into_iter().for_each(into(&mut back));
    eventually(|| kept(&wpc) == 0);
}

#[test]
fn results_of_a_drained_burst_return_their_buffers() {
    let wpc = pool(2);
    let echo = echo(&wpc);
    eventually(|| {
        burst(&echo, 64, |call| assert!(call.wait().unwrap() == bytes(MEGABYTE)));
        kept(&wpc) > 0
    });
    eventually(|| kept(&wpc) == 0);
}

#[test]
fn large_arguments_return_their_buffer() {
    let wpc = pool(1);
    define_sdk(&wpc, &["first_bytes"]);
    let first = wpc.function::<(Vec<u8>, u32), Vec<u8>>("first_bytes").unwrap();
    eventually(|| {
        assert_eq!(first.call((bytes(MEGABYTE), 3)).unwrap(), [0, 1, 2]);
        kept(&wpc) > 0
    });
}

#[test]
fn a_stopped_pool_keeps_no_buffers() {
    let wpc = pool(2);
    let echo = echo(&wpc);
    let mut back = Vec::new();
    eventually(|| {
        burst(&echo, 4, into(&mut back));
        kept(&wpc) > 0
    });
    let mut late: Vec<_> = (0..4).map(|_| echo.submit((bytes(MEGABYTE),)).unwrap()).collect();
    wpc.stop_workers();
    assert_eq!(kept(&wpc), 0);
    late.drain(..).for_each(into(&mut back));
    assert_eq!(kept(&wpc), 0);
    wpc.start_workers(1).unwrap();
    burst(&echo, 1, into(&mut back));
}

#[test]
fn a_buffer_beyond_the_limit_is_not_kept() {
    let wpc = pool(1);
    let echo = echo(&wpc);
    let mut back = Vec::with_capacity(MOST.0 + 1);
    burst(&echo, 1, into(&mut back));
    kept(&wpc);
    assert!(back.capacity() < MOST.0);
}

#[test]
fn encoded_arguments_may_be_owned_or_borrowed() {
    let wpc = pool(1);
    let _ = echo(&wpc);
    let sent = postcard_bytes(&bytes(MEGABYTE));
    let options = CallOptions::new();
    let borrowed = wpc.submit_encoded("echo_bytes", &sent, &options).unwrap();
    assert!(borrowed.wait_encoded().unwrap().value == sent);
    let owned = wpc.submit_encoded("echo_bytes", sent.clone(), &options).unwrap();
    assert!(owned.wait_encoded().unwrap().value == sent);
}

/// As `docs/abi.md` specifies: the length with seven bits for each byte, then the bytes.
fn postcard_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut len = bytes.len();
    while len > 127 {
        encoded.push(128 | u8::try_from(len & 127).unwrap());
        len >>= 7;
    }
    encoded.push(u8::try_from(len).unwrap());
    encoded.extend_from_slice(bytes);
    encoded
}
