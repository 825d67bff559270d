//! Guests: built ones, and WAT that several tests use.

use std::path::PathBuf;
use wpc_host::WasmModule;

/// A built guest of `fixtures` or of the examples. If `WPC_GUESTS` is set, it is read from there, so that CI can
/// test the guests that it built itself.
pub(crate) fn guest(name: &str) -> WasmModule {
    let root = std::env::var_os("WPC_GUESTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from);
    let folders = ["fixtures/wasm", "fixtures/wasi/wasm", "examples/guests/wasm"];
    let path = folders
        .iter()
        .map(|folder| root.join(folder).join(format!("{name}.wasm")))
        .find(|path| path.exists());
    let path =
        path.unwrap_or_else(|| panic!("guest `{name}` is not built; run `cargo xtask guests`"));
    WasmModule::new(std::fs::read(path).unwrap())
}

pub(crate) fn wat(text: &str) -> WasmModule {
    WasmModule::new(parse_wat(text))
}

/// Parses WAT in which `(pack POINTER LENGTH)` stands for the `i64.const` of a reply: the pointer in the upper 32 bits
/// and the length in the lower 32 bits.
pub(crate) fn parse_wat(text: &str) -> Vec<u8> {
    let mut pieces = text.split("(pack ");
    let mut expanded = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (numbers, rest) = piece.split_once(')').unwrap();
        let (pointer, length) = numbers.split_once(' ').unwrap();
        let packed = pointer.parse::<u64>().unwrap() << 32 | length.parse::<u64>().unwrap();
        expanded += &format!("(i64.const {packed}){rest}");
    }
    wat::parse_str(expanded).unwrap()
}

/// A module of the contract with the given functions and data. Its argument buffer is at 4096.
pub(crate) fn contract(body: &str) -> WasmModule {
    wat(&format!(
        r#"(module
            (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 2)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            {body})"#
    ))
}

/// A function `f` that replies with these bytes, written as WAT string escapes.
pub(crate) fn replies(bytes: &str, len: usize) -> WasmModule {
    contract(&format!(
        r#"(data (i32.const 16) "{bytes}")
        (func (export "f") (param i32 i32) (result i64)
            (pack 16 {len}))"#
    ))
}

/// A function `spins`, which logs `in` and then never returns, and a function `quick`, which returns 7.
pub(crate) fn spinner() -> WasmModule {
    contract(
        r#"(data (i32.const 16) "in")
        (data (i32.const 32) "\00\0e")
        (func (export "spins") (param i32 i32) (result i64)
            (call $log (i32.const 2) (i32.const 16) (i32.const 2))
            (loop br 0) i64.const 0)
        (func (export "quick") (param i32 i32) (result i64)
            (pack 32 2))"#,
    )
}

/// A function `f` that traps, or replies `()` once the constant `calm` is defined.
pub(crate) fn traps_until_calm() -> WasmModule {
    wat(r#"(module
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 16) "calm")
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (if (i64.lt_s (call $constant (i32.const 16) (i32.const 4) (i32.const 64) (i32.const 8)) (i64.const 0))
                (then unreachable))
            i64.const 1))"#)
}

/// A module, as text, with a function `f` that returns the value of this constant.
pub(crate) fn reads_constant(name: &str) -> String {
    let len = name.len();
    // A reply at 64: its kind, which is 0 for a value, and the bytes of the constant.
    format!(
        r#"(module
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 16) "{name}")
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (i64.add (pack 64 1)
                (call $constant (i32.const 16) (i32.const {len}) (i32.const 65) (i32.const 512)))))"#
    )
}

/// A function `f` that calls the host function `h` without arguments and returns its reply.
pub(crate) fn calls_h() -> WasmModule {
    wat(r#"(module
        (import "wpc-host" "h" (func $h (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 2)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (i64.or (pack 65536 0)
                (call $h (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 1024)))))"#)
    .grant_host_function("h")
}
