//! The guests of `examples/languages`: the same three functions in each language, with the same contract, and two
//! functions that yield items.
//!
//! [`behaviour`] and [`streams`] have a check for each requirement. A module for each language runs all of them.

use crate::support::*;
use std::path::PathBuf;
use wpc_abi::section::custom_section;
use wpc_abi::text::parse_signature;
use wpc_host::{
    CallOptions, Error, GuestError, Limits, StreamError, StreamOptions, Wasi, WasmModule,
    WorkerProcedureCall,
};

/// A guest of `examples/languages/wasm`.
struct Guest {
    file: &'static str,
    needs_wasi: bool,
    /// Whether it is a handwritten guest, which need not validate every character.
    checks_utf8: bool,
}

impl Guest {
    const fn new(file: &'static str) -> Self {
        Self { file, needs_wasi: false, checks_utf8: true }
    }

    const fn with_wasi(file: &'static str) -> Self {
        Self { needs_wasi: true, ..Self::new(file) }
    }

    fn module(&self) -> WasmModule {
        let root = std::env::var_os("WPC_GUESTS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from);
        let path = root.join("examples/languages/wasm").join(self.file).with_extension("wasm");
        let module = WasmModule::new(std::fs::read(path).unwrap());
        if self.needs_wasi { module.grant_wasi(Wasi::minimal()) } else { module }
    }

    /// A worker with the guest, what it depends on, and a greeting.
    fn pool(&self, limits: Limits, path: WasmModule) -> WorkerProcedureCall {
        let wpc = pool(1);
        wpc.define_worker_dependency("path_dep", path).unwrap();
        wpc.define_worker_constant("GREETING", "Hello").unwrap();
        wpc.define_worker_module(self.module().limits(limits)).unwrap();
        wpc
    }

    fn ready(&self) -> WorkerProcedureCall {
        self.pool(Limits::default(), guest("path"))
    }
}

fn greet(wpc: &WorkerProcedureCall, name: &str) -> Result<String, Error> {
    wpc.call("greet", (name,))
}

fn reverse(wpc: &WorkerProcedureCall, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    wpc.call("reverse", (bytes,))
}

fn title(wpc: &WorkerProcedureCall, path: &str) -> Result<String, Error> {
    wpc.call("title", (path,))
}

#[track_caller]
fn guest_error<T: std::fmt::Debug>(result: Result<T, Error>) -> GuestError {
    match result {
        Err(Error::Guest { error, .. }) => *error,
        other => panic!("expected a guest error, found {other:?}"),
    }
}

#[track_caller]
fn check_rejected(wpc: &WorkerProcedureCall, function: &str, arguments: &[u8]) {
    let call = wpc.submit_encoded(function, arguments, &CallOptions::new()).unwrap();
    match call.wait_encoded() {
        Err(Error::BadArguments { reason, .. }) if !reason.is_empty() => {}
        other => panic!("`{function}` of {arguments:x?}: {other:?}"),
    }
}

/// The requirements. Where memory matters, a limit ends guests that leak it.
mod behaviour {
    use super::*;

    pub(super) fn a_name_is_greeted(language: &Guest) {
        let wpc = language.ready();
        assert_eq!(greet(&wpc, "Ada").unwrap(), "Hello, Ada!");
        for name in ["a", "\u{c4}da \u{1f980}", "a\0b", &"long ".repeat(2_000)] {
            assert_eq!(greet(&wpc, name).unwrap(), format!("Hello, {name}!"));
        }
    }

    pub(super) fn an_empty_name_is_an_error(language: &Guest) {
        let wpc = language.ready();
        let error = guest_error(greet(&wpc, ""));
        assert_eq!(error.name, "EmptyName");
        assert_eq!(greet(&wpc, "Ada").unwrap(), "Hello, Ada!");
    }

    pub(super) fn the_greeting_follows_its_constant(language: &Guest) {
        let wpc = language.ready();
        for greeting in ["Hi", "", &"Hello ".repeat(834)] {
            wpc.define_worker_constant("GREETING", greeting).unwrap();
            assert_eq!(greet(&wpc, "Ada").unwrap(), format!("{greeting}, Ada!"));
        }
        wpc.define_worker_constant("GREETING", &5_u32).unwrap();
        assert_eq!(guest_error(greet(&wpc, "Ada")).name, "DecodeError");
        wpc.undefine_worker_constant("GREETING");
        assert_eq!(guest_error(greet(&wpc, "Ada")).name, "ConstantNotDefined");
    }

    pub(super) fn bytes_are_reversed(language: &Guest) {
        let wpc = language.ready();
        assert!(reverse(&wpc, &[]).unwrap().is_empty());
        assert_eq!(reverse(&wpc, &[0, 255, 3]).unwrap(), [3, 255, 0]);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(reverse(&wpc, &reverse(&wpc, &all).unwrap()).unwrap(), all);
    }

    pub(super) fn megabytes_are_reversed_and_memory_is_reused(language: &Guest) {
        let wpc = language.pool(Limits::default().memory(16 << 20), guest("path"));
        let bytes: Vec<u8> =
            (0..1 << 20).map(|at: u32| at.to_le_bytes()[at as usize % 3]).collect();
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        for _ in 0..40 {
            assert!(reverse(&wpc, &bytes).unwrap() == reversed);
            assert_eq!(reverse(&wpc, &[1, 2]).unwrap(), [2, 1]);
            assert_eq!(greet(&wpc, "Ada").unwrap(), "Hello, Ada!");
        }
    }

    pub(super) fn a_dependency_returns_the_name_of_a_file(language: &Guest) {
        let wpc = language.ready();
        assert_eq!(title(&wpc, "/home/ada/todo.txt").unwrap(), "file: todo.txt");
        assert_eq!(title(&wpc, "").unwrap(), "file: ");
        let name = "n".repeat(3_000);
        assert_eq!(title(&wpc, &format!("/a/{name}")).unwrap(), format!("file: {name}"));
    }

    pub(super) fn an_error_of_the_dependency_is_returned_unchanged(language: &Guest) {
        let failing = contract(
            r#"(data (i32.const 16) "\01\06NoFile\07no such\05there")
            (func (export "basename") (param i32 i32) (result i64)
                (pack 16 22))"#,
        );
        let wpc = language.pool(Limits::default(), failing);
        let error = guest_error(title(&wpc, "/a"));
        assert_eq!((&*error.name, &*error.message), ("NoFile", "no such"));
        // The SDK adds its own position.
        assert!(error.stack.starts_with("there"), "{}", error.stack);
    }

    pub(super) fn invalid_arguments_of_the_dependency_are_not_blamed_on_the_caller(
        language: &Guest,
    ) {
        let refusing = contract(
            r#"(data (i32.const 16) "\02\02no")
            (func (export "basename") (param i32 i32) (result i64)
                (pack 16 4))"#,
        );
        let wpc = language.pool(Limits::default(), refusing);
        assert_eq!(guest_error(title(&wpc, "/a")).name, "BadArguments");
    }

    pub(super) fn a_dependency_of_other_types_is_rejected(language: &Guest) {
        let wpc = language.ready();
        let other = r#"(module (memory (export "memory") 1)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 64)
            (func (export "basename") (param i32 i32) (result i64) i64.const 1))"#;
        let mut other = ::wat::parse_str(other).unwrap();
        let signature = parse_signature("basename", "(path: Vec<u8>) -> u32").unwrap();
        other.extend(custom_section(&signature.record()));
        let error = wpc.define_worker_dependency("path_dep", other).unwrap_err();
        let Error::TypeMismatch { item, part, expected, found, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(item, "function \"basename\" of dependency \"path_dep\"");
        assert_eq!([&**part, expected, found], ["parameter 1", "`String`", "`Vec<u8>`"]);
        assert_eq!(title(&wpc, "/home/ada/todo.txt").unwrap(), "file: todo.txt");
    }

    pub(super) fn invalid_arguments_are_rejected(language: &Guest) {
        let wpc = language.ready();
        for function in ["greet", "reverse", "title"] {
            for arguments in [
                b"".as_slice(),
                b"\x83",
                b"\x05abc",
                b"\x02abc",
                b"\x00\x00",
                b"\xff\xff\xff\xff\x0fabc",
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00",
            ] {
                check_rejected(&wpc, function, arguments);
            }
        }
        assert_eq!(greet(&wpc, "Ada").unwrap(), "Hello, Ada!");
    }

    pub(super) fn invalid_utf8_is_rejected(language: &Guest) {
        let wpc = language.ready();
        // A stray byte, a truncated character, an overlong one, a surrogate, one beyond Unicode.
        for text in [
            b"\x01\xff".as_slice(),
            b"\x02\xe2\x82",
            b"\x02\xc0\x80",
            b"\x03\xed\xa0\x80",
            b"\x04\xf4\x90\x80\x80",
        ] {
            if language.checks_utf8 {
                check_rejected(&wpc, "greet", text);
            }
        }
        assert_eq!(reverse(&wpc, &[0xff]).unwrap(), [0xff], "bytes need not be UTF-8");
    }

    pub(super) fn calls_do_not_leak_memory(language: &Guest) {
        let wpc = language.pool(Limits::default().memory(4 << 20), guest("path"));
        for _ in 0..10_000 {
            assert_eq!(greet(&wpc, "Ada").unwrap(), "Hello, Ada!");
            assert_eq!(title(&wpc, "/todo.txt").unwrap(), "file: todo.txt");
        }
    }
}

/// The requirements of functions that yield items. Where memory matters, a limit ends guests that leak it.
mod streams {
    use super::*;

    fn defined(language: &Guest) -> WorkerProcedureCall {
        let wpc = pool(1);
        wpc.define_worker_module(language.module()).unwrap();
        wpc
    }

    fn words(wpc: &WorkerProcedureCall, text: &str) -> (Vec<String>, u32) {
        let mut stream = wpc.stream::<String, u32>("words", (text,)).unwrap();
        let items: Result<_, StreamError> = (&mut stream).into_iter().collect();
        (items.unwrap(), stream.finish().unwrap())
    }

    pub(super) fn words_are_yielded_and_counted(language: &Guest) {
        let wpc = defined(language);
        assert_eq!(words(&wpc, ""), (vec![], 0));
        assert_eq!(words(&wpc, "  "), (vec![], 0));
        assert_eq!(words(&wpc, " tea  j\u{e4}m \u{1f980}").0, ["tea", "j\u{e4}m", "\u{1f980}"]);
        for len in [127, 128, 16_383, 16_384, 300_000] {
            let long = "w".repeat(len);
            assert_eq!(words(&wpc, &format!("a {long} b")).0, ["a", &long, "b"]);
        }
        let count = words(&wpc, &"w ".repeat(300)).1;
        assert_eq!(count, 300);
    }

    pub(super) fn a_slow_caller_suspends_the_function(language: &Guest) {
        let wpc = defined(language);
        let few = StreamOptions::new().max_waiting_items(2);
        let mut stream = wpc.stream_with::<u64, ()>("numbers", (300_u64,), &few).unwrap();
        eventually(|| wpc.metrics().suspended_calls == 1);
        // Another sandbox, while the first one is suspended.
        assert_eq!(words(&wpc, "tea jam").1, 2);
        let items: Result<Vec<u64>, StreamError> = (&mut stream).into_iter().collect();
        assert_eq!(items.unwrap(), (0..300).collect::<Vec<u64>>());
        stream.finish().unwrap();
    }

    pub(super) fn items_do_not_leak_memory(language: &Guest) {
        let wpc = pool(1);
        let limits = Limits::default().memory(2 << 20);
        wpc.define_worker_module(language.module().limits(limits)).unwrap();
        let numbers = wpc.stream::<u64, ()>("numbers", (300_000_u64,)).unwrap();
        let items: Result<Vec<u64>, StreamError> = numbers.into_iter().collect();
        assert!(items.unwrap().into_iter().eq(0..300_000));
        let text = "w ".repeat(120_000);
        for _ in 0..3 {
            assert_eq!(words(&wpc, &text).1, 120_000);
        }
    }

    pub(super) fn their_items_are_declared(language: &Guest) {
        let wpc = defined(language);
        for (function, expected) in [
            ("words", "(text: String) -> u32 yields String"),
            ("numbers", "(end: u64) -> () yields u64"),
        ] {
            let signature = wpc.function_information(function).unwrap().signature.unwrap();
            assert_eq!(signature.to_string(), expected);
        }
        let refused = wpc.call::<u32>("words", ("tea",));
        assert!(matches!(refused, Err(Error::YieldsItems { ran: false, .. })), "{refused:?}");
    }
}

/// A helper that imported `wpc_yield` in every guest would make all of their calls run on fibers.
#[test]
fn guests_that_yield_nothing_cannot_suspend() {
    for file in ["assemblyscript", "c", "c-wasi", "rust", "wat", "zig"] {
        let wpc = Guest::new(file).ready();
        assert!(!wpc.function_information("greet").unwrap().can_suspend, "{file}");
    }
}

macro_rules! tests {
    ($requirements:ident: $($requirement:ident)+) => { $(
        #[test]
        fn $requirement() {
            $requirements::$requirement(&GUEST);
        }
    )+ };
}

macro_rules! languages {
    ($($language:ident: $guest:expr;)+) => { $(
        mod $language {
            use super::{Guest, behaviour};

            const GUEST: Guest = $guest;

            tests!(behaviour:
                a_name_is_greeted
                an_empty_name_is_an_error
                the_greeting_follows_its_constant
                bytes_are_reversed
                megabytes_are_reversed_and_memory_is_reused
                a_dependency_returns_the_name_of_a_file
                an_error_of_the_dependency_is_returned_unchanged
                invalid_arguments_of_the_dependency_are_not_blamed_on_the_caller
                a_dependency_of_other_types_is_rejected
                invalid_arguments_are_rejected
                invalid_utf8_is_rejected
                calls_do_not_leak_memory
            );
        }
    )+ };
}

macro_rules! languages_with_streams {
    ($($language:ident: $guest:expr;)+) => { $(
        mod $language {
            use super::{Guest, streams};

            const GUEST: Guest = $guest;

            tests!(streams:
                words_are_yielded_and_counted
                a_slow_caller_suspends_the_function
                items_do_not_leak_memory
                their_items_are_declared
            );
        }
    )+ };
}

languages! {
    assemblyscript: Guest::new("assemblyscript");
    c: Guest::new("c");
    // Neither `open_memstream` nor `malloc` uses WASI, so no grant is needed.
    c_wasi: Guest::new("c-wasi");
    rust: Guest::new("rust");
    rust_wasip1: Guest::with_wasi("rust-wasip1");
    wat: Guest { checks_utf8: false, ..Guest::new("wat") };
    zig: Guest::new("zig");
}

languages_with_streams! {
    streams_assemblyscript: Guest::new("streams-assemblyscript");
    streams_c: Guest::new("streams-c");
    streams_c_wasi: Guest::new("streams-c-wasi");
    streams_zig: Guest::new("streams-zig");
}
