//! Standard input as a stream of the embedder.

use super::tool;
use crate::support::*;
use std::io::{Error, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use wpc_host::{CallOptions, Capability, Input, Options, Wasi, WasmModule, WorkerProcedureCall};

type Chunk = Result<Vec<u8>, Error>;

/// A reader that reports when it is read, and returns what it receives.
struct Received(Sender<()>, Receiver<Chunk>);

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.send(()).unwrap();
        let Ok(bytes) = self.1.recv() else { return Ok(0) };
        let bytes = bytes?;
        assert_ne!(bytes, b"panic", "intended by the test");
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

/// An input, what sends bytes to it, and what reports its reads.
fn input() -> (Input, Sender<Chunk>, Receiver<()>) {
    let (send, received) = channel();
    let (begin, begun) = channel();
    (Input::reader(Received(begin, received)), send, begun)
}

/// A guest whose `next` reads one byte: the byte, -1 at the end, or -1 minus the number of an error.
fn reads_bytes(input: Input) -> WasmModule {
    let module = wat(r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\40\00\00\00\01\00\00\00")
        (func (export "next") (result i32) (local $errno i32)
            (local.set $errno (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
            (if (local.get $errno) (then (return (i32.sub (i32.const -1) (local.get $errno)))))
            (if (i32.eqz (i32.load (i32.const 16))) (then (return (i32.const -1))))
            (i32.load8_u (i32.const 64))))"#);
    module.grant_wasi(Wasi::new().stdin_stream(input))
}

fn pool_that_reads(input: Input, options: Options) -> WorkerProcedureCall {
    let wpc = pool_with(1, options);
    define_sdk(&wpc, &["add"]);
    wpc.define_worker_module(reads_bytes(input)).unwrap();
    wpc
}

fn next(wpc: &WorkerProcedureCall) -> i32 {
    wpc.call("next", ()).unwrap()
}

#[test]
fn a_guest_is_suspended_until_its_input_arrives() {
    let (input, send, begun) = input();
    let wpc = pool_that_reads(input, immediate_restarts());
    assert!(wpc.function_information("next").unwrap().can_suspend);
    let calls: Vec<_> = (0..3).map(|_| wpc.submit::<i32>("next", ()).unwrap()).collect();
    eventually(|| wpc.metrics().suspended_calls == 3);
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    send.send(Ok(b"ab".to_vec())).unwrap();
    send.send(Ok(b"cde".to_vec())).unwrap();
    let mut bytes: Vec<_> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, [b'a', b'b', b'c'].map(i32::from));
    assert_eq!(next(&wpc), i32::from(b'd'));
    assert_eq!(wpc.local_worker().call::<i32>("next", ()).unwrap(), i32::from(b'e'));
    drop(send);
    assert_eq!((next(&wpc), next(&wpc)), (-1, -1), "the end");
}

#[test]
fn input_that_an_ended_call_did_not_read_remains_for_the_next_one() {
    let (input, send, begun) = input();
    let options = immediate_restarts().max_helper_threads(1);
    let wpc = pool_that_reads(input, options);
    let cancelled = wpc.submit::<i32>("next", ()).unwrap();
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    eventually(|| wpc.metrics().suspended_calls == 1);
    cancelled.cancel();
    assert_eq!(code(cancelled.wait()), "cancelled");
    let limit = CallOptions::new().timeout(Duration::from_millis(50));
    let error = wpc.call_with::<i32>("next", (), &limit).unwrap_err();
    assert_eq!(error.code().as_str(), "timeout");
    eventually(|| wpc.metrics().abandoned_helper_threads == 1);
    send.send(Ok(b"xy".to_vec())).unwrap();
    assert_eq!((next(&wpc), next(&wpc)), (i32::from(b'x'), i32::from(b'y')));
    eventually(|| wpc.metrics().abandoned_helper_threads == 0);
    assert!(begun.try_recv().is_err(), "it was read once");
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0, "no worker is replaced");
}

#[test]
fn an_endless_input_is_not_read_ahead_without_bound() {
    struct Endless(Arc<AtomicUsize>);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
            buffer.fill(b'y');
            self.0.fetch_add(buffer.len(), Ordering::SeqCst);
            Ok(buffer.len())
        }
    }
    let read = Arc::new(AtomicUsize::new(0));
    let wpc = pool_that_reads(Input::reader(Endless(Arc::clone(&read))), immediate_restarts());
    for _ in 0..20 {
        assert_eq!(next(&wpc), i32::from(b'y'));
    }
    assert!(read.load(Ordering::SeqCst) <= 64 * 1024);
}

#[test]
fn a_reader_that_fails_or_panics_gives_its_guest_an_error() {
    let (input, send, _begun) = input();
    let wpc = pool_that_reads(input, immediate_restarts());
    send.send(Err(Error::other("the read fails"))).unwrap();
    send.send(Ok(b"panic".to_vec())).unwrap();
    send.send(Ok(b"z".to_vec())).unwrap();
    let io_error = -1 - 29;
    assert_eq!((next(&wpc), next(&wpc), next(&wpc)), (io_error, io_error, i32::from(b'z')));
}

#[test]
fn a_program_reads_lines_of_a_stream() {
    let (input, send, _begun) = input();
    let folder = super::Folder::new("lines-of-a-stream");
    let wasi = super::everything(&folder).stdin_stream(input);
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_module(tool(wasi)).unwrap();
    let call = wpc.submit::<String>("read_input", (3_u32,)).unwrap();
    eventually(|| wpc.metrics().suspended_calls == 1);
    send.send(Ok(b"A".to_vec())).unwrap();
    send.send(Ok(b"da\n".to_vec())).unwrap();
    assert_eq!(call.wait().unwrap(), "Ada");
}

#[test]
fn a_guest_polls_its_input() {
    // Subscriptions: at 64 the input, at 112 a relative wait of 1 ns. Events are written to 1024, their number to 512.
    let module = wat(r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "\08\00\00\00\00\00\00\00\01")
        (data (i32.const 112) "\07\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\01")
        (func (export "poll") (param $count i32) (result i32)
            (drop (call $poll (i32.const 64) (i32.const 1024) (local.get $count) (i32.const 512)))
            ;; The number of events, the user data of the first, and its number of bytes.
            (i32.add (i32.mul (i32.load (i32.const 512)) (i32.const 10000))
                (i32.add (i32.mul (i32.load (i32.const 1024)) (i32.const 1000)) (i32.load (i32.const 1040))))))"#);
    let (input, send, begun) = input();
    let wpc = pool_with(1, immediate_restarts());
    let module = module.grant_wasi(Wasi::new().stdin_stream(input)).grant(Capability::Clock);
    wpc.define_worker_module(module).unwrap();
    for _ in 0..3 {
        assert_eq!(wpc.call::<i32>("poll", (2,)).unwrap(), 17_000, "only the clock is ready");
    }
    let call = wpc.submit::<i32>("poll", (1,)).unwrap();
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    eventually(|| wpc.metrics().suspended_calls == 1);
    send.send(Ok(vec![0; 123])).unwrap();
    assert_eq!(call.wait().unwrap(), 18_123);
    assert_eq!(wpc.call::<i32>("poll", (1,)).unwrap(), 18_123);
    assert_eq!(wpc.call::<i32>("poll", (2,)).unwrap() / 10_000, 2, "the clock is ready too");
}
