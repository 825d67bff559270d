//! The report of `inspect` on modules and components, including those that wpc cannot run.

use crate::support::*;
use std::time::{Duration, Instant};
use wpc_host::{
    Capability, Limits, ModuleInformation, Options, Remedy, Setting, Sha256Hash, SuspensionCause,
    WasmModule,
};

fn inspect_text(text: &str) -> ModuleInformation {
    wat(text).inspect().unwrap()
}

/// Why the module is refused.
fn why(inspected: &ModuleInformation) -> &str {
    inspected
        .refused
        .as_deref()
        .unwrap_or_else(|| panic!("the module should be refused: {inspected:?}"))
}

fn names(inspected: &ModuleInformation) -> Vec<&str> {
    inspected.functions.iter().map(|function| function.name.as_str()).collect()
}

#[test]
fn a_wasm_bindgen_module_lists_its_imports() {
    let inspected = inspect_text(
        r#"(module
            (import "./app_bg.js" "__wbg_alert" (func (param i32 i32)))
            (import "./app_bg.js" "__wbindgen_throw" (func (param i32) (result f32)))
            (import "env" "log" (func (param i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 17)
            (func (export "greet") (param i32 f64) (result i64) i64.const 0))"#,
    );
    assert!(
        why(&inspected)
            .starts_with(r#"this module imports "__wbg_alert" from "./app_bg.js", which cannot"#),
        "{inspected:?}"
    );
    assert_eq!(
        inspected.imports,
        [
            "./app_bg.js.__wbg_alert: a function (i32, i32) -> ()",
            "./app_bg.js.__wbindgen_throw: a function (i32) -> (f32)",
            "env.log: a function (i32) -> ()",
            "wasi_snapshot_preview1.fd_write: a function (i32, i32, i32, i32) -> (i32)",
        ]
    );
    let signature = inspected.functions[0].signature.as_ref().unwrap();
    assert_eq!(signature.to_string(), "(argument1: i32, argument2: f64) -> i64");
    assert_eq!(names(&inspected), ["greet"]);
    assert_eq!(inspected.other_exports, ["memory: a memory"]);
    assert_eq!(inspected.initial_memory, 17 * 65_536);
    // Requirements that wpc knows are reported as for any module.
    assert_eq!(inspected.required_dependencies[0].alias, "env");
    assert_eq!(inspected.required_wasi_imports, ["fd_write"]);
    assert_eq!(inspected.required_wasi_grants, ["stdout"]);
}

#[test]
fn unsupported_modules_are_inspected() {
    for (module, reason, other_exports) in [
        (
            r#"(import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))"#,
            "without sockets",
            vec![],
        ),
        (
            r#"(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#,
            "build for wasm32-wasip1",
            vec![],
        ),
        (
            r#"(import "wpc" "wpc_teleport" (func)) (global (export "g") (mut f32) (f32.const 0))"#,
            "wpc_constant, wpc_take",
            vec!["g: a global of f32"],
        ),
        (
            r#"(memory (export "m") 1 2 shared)"#,
            "the WebAssembly proposal \"threads and atomics\"",
            vec!["m: a shared memory"],
        ),
        (r#"(memory (export "m") i64 1 2)"#, "64-bit memory", vec!["m: a 64-bit memory"]),
        (r#"(memory (export "m") 1 1) (memory 1)"#, "multiple memories", vec!["m: a memory"]),
        (
            r#"(type $point (struct (field i32))) (func (export "p") (result (ref null $point)) ref.null $point)"#,
            "this module uses the WebAssembly proposal \"garbage collection\"",
            vec!["p: a function () -> ((ref null (module 0)))"],
        ),
        (
            r#"(memory (export "memory") 1) (func (export "wpc_buffer_v2") (param i32) (result i32) i32.const 0)"#,
            "this module was built for version 2",
            vec!["memory: a memory", "wpc_buffer_v2: a function (i32) -> (i32)"],
        ),
        (r#"(@custom "wpc" "\01\ff\ff")"#, r#"the custom section "wpc" of this module"#, vec![]),
        (r#"(table (export "t") 1000000 funcref)"#, "1000000", vec!["t: a table of funcref"]),
    ] {
        let inspected =
            inspect_text(&format!(r#"(module {module} (func (export "f") (param i32)))"#));
        assert!(why(&inspected).contains(reason), "{inspected:?}");
        assert_eq!(inspected.other_exports, other_exports, "{inspected:?}");
        assert_eq!(names(&inspected), ["f"], "{inspected:?}");
        assert!(inspected.size > 8);
    }
}

#[test]
fn a_later_version_of_the_contract_is_reported() {
    let inspected = inspect_text(
        r#"(module (memory (export "memory") 1)
            (func (export "wpc_buffer_v2") (param i32) (result i32) i32.const 0)
            (func (export "f") (param i32 i32) (result i64) i64.const 0))"#,
    );
    assert_eq!(inspected.abi_version, Some(2));
    assert_eq!((names(&inspected), &inspected.functions[0].signature), (vec!["f"], &None));
}

#[test]
fn a_component_lists_its_imports_and_exports() {
    let bytes = wat::parse_str(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance))
            (import "res" (type (sub resource)))
            (import "f" (func $f (param "x" u32)))
            (core module $m (memory 1))
            (export "run" (func $f))
            (export "inner" (core module $m)))"#,
    )
    .unwrap();
    let inspected = WasmModule::new(bytes.as_slice()).inspect().unwrap();
    assert!(why(&inspected).starts_with("this is a WebAssembly component"), "{inspected:?}");
    assert_eq!((inspected.size, inspected.hash_sha256), (bytes.len(), Sha256Hash::of(&bytes)));
    let imports = ["wasi:cli/environment@0.2.0: an instance", "res: a type", "f: a function"];
    assert_eq!(inspected.imports, imports);
    assert_eq!(inspected.other_exports, ["run: a function", "inner: a core module"]);
    assert!(inspected.functions.is_empty());
    for end in 8..bytes.len() {
        WasmModule::new(&bytes[..end]).inspect().unwrap();
    }
}

#[test]
fn a_valid_module_is_not_refused() {
    let inspected = inspect_text(
        r#"(module
            (import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open" (func))
            (import "wpc" "wpc_random" (func (param i32 i32)))
            (import "wpc-host" "ask" (func (param i32 i32 i32 i32) (result i64)))
            (import "wpc:dep" "typed" (func (param i32 i32 i32 i32) (result i64)))
            (import "dep" "table" (table 5 funcref))
            (table 1 7 funcref)
            (memory (export "memory") 1 3)
            (global (export "__heap_base") i32 (i32.const 0))
            (func (export "two") (result i32 i32) i32.const 1 i32.const 2)
            (func (export "wide") (param v128))
            (func (export "_initialize"))
            (func (export "f")))"#,
    );
    assert_eq!(inspected.refused, None);
    assert_eq!(names(&inspected), ["f"]);
    assert_eq!(
        inspected.other_exports,
        [
            "memory: a memory",
            "__heap_base: a global of i32",
            "two: a function () -> (i32, i32)",
            "wide: a function (v128) -> ()",
            "_initialize: a function () -> ()",
        ]
    );
    assert_eq!(inspected.imports.len(), 8);
    assert_eq!(inspected.imports[7], "dep.table: a table of funcref");
    assert_eq!(inspected.required_dependencies.len(), 1);
    assert_eq!(inspected.required_dependencies[0].imports, ["table", "typed"]);
    assert_eq!(inspected.required_host_functions, ["ask"]);
    assert_eq!(inspected.suspension_causes, [SuspensionCause::HostFunction("ask".to_owned())]);
    assert_eq!(inspected.required_capabilities, [Capability::Random]);
    assert_eq!(inspected.required_wasi_grants, ["arguments", "read_directory"]);
    assert_eq!((inspected.initial_memory, inspected.maximum_memory), (65_536, Some(3 * 65_536)));
    assert_eq!(inspected.maximum_table_elements, Some(7));
}

#[test]
fn an_unbounded_table_has_no_maximum() {
    let inspected = inspect_text("(module (table 1 4 funcref) (table 1 funcref))");
    assert_eq!(inspected.maximum_table_elements, None);
}

#[test]
fn limits_and_hash_mismatches_are_reported() {
    let module = || wat(r#"(module (memory 1) (table 10 funcref) (func (export "f")))"#);
    let remedy = |module: WasmModule| {
        let inspected = module.inspect().unwrap();
        assert_eq!(names(&inspected), ["f"]);
        assert!(inspected.refused.is_some());
        inspected.remedy
    };
    let limits = Limits::default;
    for (limits, exceeded) in [
        (limits().memory(1), "memory"),
        (limits().table_elements(9), "table_elements"),
        (limits().module_size(20), "module_size"),
    ] {
        let raise = Remedy::Raise(vec![Setting::Limits(exceeded.into())]);
        assert_eq!(remedy(module().limits(limits)), Some(raise));
    }
    assert_eq!(remedy(module().sha256(Sha256Hash::of(b"other"))), None);
}

#[test]
fn inspection_fails_only_for_other_bytes_and_invalid_options() {
    for bytes in [&b""[..], b"\0as", b"\0asm\x01", b"#!/bin/sh", b"\0asm\x02\0\0\0"] {
        assert_eq!(code(WasmModule::new(bytes).inspect()), "not_wasm");
    }
    let module = wat("(module)");
    let wrong = Options::default().max_live_instances(0);
    assert_eq!(code(module.inspect_with(&wrong)), "invalid_options");
    let wrong = Limits::default().compile_time(Duration::ZERO);
    assert_eq!(code(module.limits(wrong).inspect()), "invalid_options");
}

#[test]
fn a_truncated_module_is_inspected_up_to_the_cut() {
    let bytes = wat::parse_str(
        r#"(module (import "a" "b" (func (param i32))) (memory 1) (table 1 funcref)
            (global i32 (i32.const 1)) (func (export "f") (result i32) i32.const 1)
            (@custom "wpc" "\01\06\01f\00\00"))"#,
    )
    .unwrap();
    for end in 8..=bytes.len() {
        for flipped in [0, 0xff] {
            let mut bytes = bytes[..end].to_vec();
            if let Some(last) = bytes[8..].last_mut() {
                *last ^= flipped;
            }
            WasmModule::new(bytes).inspect().unwrap();
        }
    }
}

/// A section of a module.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn module(sections: &[Vec<u8>]) -> WasmModule {
    WasmModule::new([&b"\0asm\x01\0\0\0"[..], &sections.concat()].concat())
}

#[test]
fn reports_on_hostile_modules_are_bounded() {
    let began = Instant::now();
    // Many imports that share one long name, as compact imports do.
    let long = vec![b'x'; 90_000];
    let many = 200_000;
    let mut imports = [&[1][..], &leb(long.len()), &long, &[0, 0x7e, 0, 0], &leb(many)].concat();
    imports.extend(vec![0; many]);
    let types = section(1, &[1, 0x60, 0, 0]);
    let inspected = module(&[types.clone(), section(2, &imports)]).inspect().unwrap();
    assert_eq!(inspected.imports.len(), 1_001);
    assert_eq!(inspected.imports[1_000], "and 199000 more");
    assert!(inspected.imports.iter().all(|import| import.len() < 400));
    assert!(inspected.refused.is_some() && inspected.required_dependencies.is_empty());
    // A million exports with 1,000 parameters each.
    let wide = [&[1, 0x60][..], &leb(1_000), &[0x7f; 1_000], &[0]].concat();
    let mut exports = leb(1_000_000);
    exports.extend([0, 0, 0].repeat(1_000_000));
    let inspected = module(&[section(1, &wide), section(3, &[1, 0]), section(7, &exports)]);
    let inspected = inspected.inspect().unwrap();
    assert_eq!(inspected.other_exports.len(), 1_001);
    assert_eq!(inspected.other_exports[0], ": a function of 1000 parameters and 0 results");
    // More callable exports than the limit, and invalid indices.
    let mut exports = leb(60_001);
    (0..60_000_usize).for_each(|at| {
        let name = format!("{at:05}");
        exports.extend([&[5], name.as_bytes(), &[0, 0]].concat());
    });
    exports.extend([&[1, b'x', 3][..], &leb(u32::MAX as usize)].concat());
    let code = section(10, &[1, 2, 0, 0x0b]);
    let inspected = module(&[types, section(3, &[1, 0]), section(7, &exports), code]);
    let inspected = inspected.inspect().unwrap();
    assert_eq!(inspected.functions.len(), 50_000);
    assert!(inspected.refused.is_some());
    assert!(began.elapsed() < TEST_TIMEOUT);
}

#[test]
fn page_sizes_do_not_overflow() {
    // Pages of 2^63 bytes, and as many of them as a 64-bit memory can have.
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let memory = [&[2, 0x0d][..], &most, &most, &[63], &[0x0d], &most, &most, &[63]].concat();
    let inspected = module(&[section(5, &memory)]).inspect().unwrap();
    assert_eq!((inspected.initial_memory, inspected.maximum_memory), (u64::MAX, Some(u64::MAX)));
}

#[test]
fn the_names_of_a_modules_functions_are_read_without_compiling_it() {
    let text = |text: &str| wat::parse_str(text).unwrap();
    for bytes in [
        text(r#"(module (func (export "_start")) (func (export "other")))"#),
        text(
            r#"(module (func (export "g")) (func (export "f")) (global (export "h") i32 i32.const 0))"#,
        ),
        text(r#"(module (func (export "f")) (func (export "a\0ab")) (func (export "a.b")))"#),
    ] {
        let wpc = stopped(Options::default());
        let defined = wpc.define_worker_module(&bytes).unwrap().into_iter();
        let defined: Vec<_> = defined.map(|function| function.name).collect();
        assert_eq!(WasmModule::new(bytes.as_slice()).function_names().unwrap(), defined);
        // A file that is not written to its end may have further functions.
        assert_eq!(WasmModule::new(&bytes[..bytes.len() - 1]).function_names(), None);
    }
    let declared = guest("sdk").function_names().unwrap();
    assert_eq!(declared, names(&guest("sdk").inspect().unwrap()));
    assert_eq!(WasmModule::new(b"no module".as_slice()).function_names(), None);
    // It is refused when it is compiled.
    let invalid = text(r#"(module (func (export "f") (result i32)))"#);
    assert_eq!(WasmModule::new(invalid).function_names().unwrap(), ["f"]);
}
