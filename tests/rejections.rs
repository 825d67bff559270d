//! Invalid definitions: each is rejected when it is made, with an error that names the cause and a remedy, and leaves
//! the registry unchanged.

use crate::support::*;
use wpc_host::{Error, Limits, Options, Setting, Sha256Hash, WasmModule};

fn refused(module: impl Into<WasmModule>) -> Error {
    let wpc = stopped(Options::default());
    wpc.define_worker_function("f", wat(r#"(module (func (export "f")))"#)).unwrap();
    let before = wpc.get_remote_functions();
    let error = wpc.define_worker_function("f", module).unwrap_err();
    assert_eq!(wpc.get_remote_functions(), before, "the registry is unchanged");
    assert!(!error.outcome_unknown());
    error
}

#[test]
fn bytes_that_are_not_a_module_are_rejected() {
    for bytes in [&b""[..], b"\0as", b"\0asm\x01", b"#!/bin/sh", b"\0asm\x02\0\0\0"] {
        let error = refused(bytes);
        let Error::NotWasm { what, .. } = &error else { panic!("{error}") };
        assert_eq!(what, "the module of function \"f\"");
    }
}

#[test]
fn errors_name_a_module_by_its_name_or_its_hash() {
    let wpc = stopped(Options::default());
    let small = |module: WasmModule| module.limits(Limits::default().module_size(10));
    let two = wat(r#"(module (func (export "one")) (func (export "two")))"#);
    let hash = wpc_host::FunctionHash::of(
        &wat::parse_str(r#"(module (func (export "one")) (func (export "two")))"#).unwrap(),
    );
    let named_in = |refused: Error| match refused {
        Error::ModuleTooLarge { what, .. }
        | Error::NotWasm { what, .. }
        | Error::DependencyExport { importer: what, .. } => what,
        other => panic!("{other}"),
    };
    let refused = |module: WasmModule| named_in(wpc.define_worker_module(module).unwrap_err());
    assert_eq!(refused(small(two.clone())), format!("the module with the SHA-1 {hash}"));
    let named = small(two.clone().name("plugins/two.wasm"));
    assert_eq!(refused(named.clone()), "module \"plugins/two.wasm\"");
    assert_eq!(refused(WasmModule::new(*b"no").name("no.wasm")), "module \"no.wasm\"");
    let needs =
        wat(r#"(module (import "env" "f" (func)) (func (export "g")) (func (export "h")))"#);
    wpc.define_worker_dependency("env", wat("(module)")).unwrap();
    assert_eq!(refused(needs.name("needs.wasm")), "module \"needs.wasm\"");
    let information = named.inspect().unwrap();
    assert!(information.refused.unwrap().starts_with("module \"plugins/two.wasm\" has "));
    assert_eq!(
        information.remedy,
        Some(wpc_host::Remedy::Raise(vec![Setting::Limits("module_size".into())]))
    );
    let one = wpc.define_worker_function("one", small(two)).unwrap_err();
    assert_eq!(named_in(one), "the module of function \"one\"");
}

#[test]
fn a_module_truncated_at_any_length_is_rejected() {
    let whole = guest("path");
    let wpc = stopped(Options::default());
    let bytes = wat::parse_str(r#"(module (func (export "f") (result i32) i32.const 1))"#).unwrap();
    for end in 8..bytes.len() {
        // A cut between sections leaves a valid module without functions.
        let code = code(wpc.define_worker_function("f", &bytes[..end]));
        assert!(matches!(code, "invalid_module" | "missing_export"), "cut at {end}: {code}");
    }
    wpc.define_worker_function("basename", whole).unwrap();
}

#[test]
fn a_component_is_rejected() {
    let component = wat::parse_str("(component)").unwrap();
    assert_eq!(refused(component).code().as_str(), "component");
}

#[test]
fn a_missing_or_ambiguous_export_is_rejected_with_the_exports() {
    let two =
        r#"(module (func (export "one")) (func (export "two")) (memory (export "memory") 1))"#;
    let error = refused(wat(two));
    let Error::AmbiguousExport { offered, .. } = &error else { panic!("{error}") };
    assert_eq!(offered, &["one", "two"]);
    let error = refused(wat(two).export("three"));
    let Error::MissingExport { wanted, offered, .. } = &error else { panic!("{error}") };
    assert_eq!((wanted.as_str(), offered.len()), ("three", 2));
    assert_eq!(refused(wat("(module)")).code().as_str(), "missing_export");
}

#[test]
fn an_export_of_the_wrong_type_is_rejected() {
    let error =
        refused(wat(r#"(module (func (export "f") (result i32 i32) i32.const 1 i32.const 2))"#));
    let Error::ExportType { export, found, .. } = &error else { panic!("{error}") };
    assert_eq!((export.as_str(), found.as_str()), ("f", "a function () -> (i32, i32)"));
    assert_eq!(refused(wat(r#"(module (memory (export "f") 1))"#)).code().as_str(), "export_type");
    assert_eq!(
        refused(wat(r#"(module (func (export "f") (param v128)))"#)).code().as_str(),
        "export_type"
    );
}

#[test]
fn unknown_imports_are_rejected_with_a_reason() {
    for (import, reason) in [
        (r#"(import "wpc" "wpc_teleport" (func))"#, "wpc_constant, wpc_take, wpc_log"),
        (
            r#"(import "wpc" "wpc_log" (func (param i64)))"#,
            "the host's function is (i32, i32, i32) -> ()",
        ),
        (r#"(import "wpc:dep" "g" (func (param i32)))"#, "(i32, i32, i32, i32) -> i64"),
        (r#"(import "not a name" "g" (func))"#, "cannot be a dependency's alias"),
        (
            r#"(import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))"#,
            "without sockets",
        ),
    ] {
        let error = refused(wat(&format!(r#"(module {import} (func (export "f")))"#)));
        let Error::UnknownImport { reason: found, .. } = &error else { panic!("{error}") };
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn another_version_of_the_contract_is_rejected() {
    let module = wat(r#"(module (memory (export "memory") 1)
        (func (export "wpc_buffer_v7") (param i32) (result i32) i32.const 0)
        (func (export "f") (param i32 i32) (result i64) i64.const 0))"#);
    let error = refused(module);
    let Error::AbiVersion { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!((*expected, found.as_str()), (1, "7"));
}

#[test]
fn an_incomplete_contract_is_rejected() {
    let module = wat(
        r#"(module (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 0) (func (export "f")))"#,
    );
    let error = refused(module);
    assert!(matches!(&error, Error::MissingExport { wanted, .. } if wanted == "memory"), "{error}");
    let module = wat(
        r#"(module (memory (export "memory") 1) (func (export "wpc_buffer_v1")) (func (export "f")))"#,
    );
    assert_eq!(refused(module).code().as_str(), "export_type");
}

#[test]
fn a_malformed_section_is_rejected() {
    let module = wat(r#"(module (@custom "wpc" "\01\ff\ff") (func (export "f")))"#);
    assert_eq!(refused(module).code().as_str(), "malformed_section");
}

#[test]
fn invalid_names_are_rejected() {
    let wpc = stopped(Options::default());
    let module = || wat(r#"(module (func (export "f")))"#);
    let long = "x".repeat(256);
    for name in ["", "9", "a-b", "é", "a b", "a\0", long.as_str()] {
        assert_eq!(code(wpc.define_worker_function(name, module())), "invalid_name");
        assert_eq!(code(wpc.define_worker_dependency(name, module())), "invalid_name");
        assert_eq!(code(wpc.define_worker_constant(name, &1)), "invalid_name");
    }
    for name in ["_", "then", "class", "__proto__", &long[1..]] {
        wpc.define_worker_function(name, module()).unwrap();
    }
    assert_eq!(code(wpc.define_worker_dependency("wpc", module())), "invalid_name");
}

#[test]
fn a_module_or_memory_beyond_its_limit_is_rejected() {
    let limits = Limits::default().module_size(20);
    assert_eq!(refused(guest("path").limits(limits)).code().as_str(), "module_too_large");
    let limits = Limits::default().memory(65_535);
    let error = refused(wat(r#"(module (memory 1) (func (export "f")))"#).limits(limits));
    let Error::MemoryTooLarge { limit, found, .. } = error else { panic!("{error}") };
    assert_eq!((limit, found), (65_535, 65_536));
    let limits = Limits::default().timeout(std::time::Duration::ZERO);
    assert_eq!(refused(guest("path").limits(limits)).code().as_str(), "invalid_options");
}

#[test]
fn a_table_beyond_its_limit_is_rejected() {
    let limits = Limits::default().table_elements(9);
    let error = refused(wat(r#"(module (table 10 funcref) (func (export "f")))"#).limits(limits));
    assert!(matches!(error, Error::TableTooLarge { limit: 9, found: 10, .. }), "{error}");
}

#[test]
fn more_instances_than_the_definition_allows_are_rejected() {
    let wpc = pool(1);
    wpc.define_worker_dependency("dep", wat(r#"(module (func (export "g")))"#)).unwrap();
    let module = wat(r#"(module (import "dep" "g" (func)) (func (export "f")))"#);
    let limits = |instances| Limits::default().instances(instances);
    let error = wpc.define_worker_function("f", module.clone().limits(limits(1))).unwrap_err();
    let Error::TooManyInstances { needed: 2, limit: 1, option, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(option, Setting::Limits("instances".into()));
    wpc.define_worker_function("f", module.limits(limits(2))).unwrap();
    wpc.call::<()>("f", ()).unwrap();
}

#[test]
fn options_without_effect_are_rejected() {
    let wpc = stopped(Options::default());
    let module = || wat(r#"(module (func (export "f")))"#);
    assert_eq!(code(wpc.define_worker_module(module().export("f"))), "invalid_options");
    assert_eq!(code(wpc.define_worker_dependency("dep", module().export("f"))), "invalid_options");
    let limits = Limits::default().table_elements(1_000_000);
    assert_eq!(code(wpc.define_worker_function("f", module().limits(limits))), "invalid_options");
}

#[test]
fn a_rejected_module_of_several_functions_changes_nothing() {
    let wpc = pool(1);
    let good = r#"(module (func (export "a") (result i32) i32.const 1) (func (export "b") (result i32) i32.const 2))"#;
    wpc.define_worker_module(wat(good)).unwrap();
    let before = wpc.get_remote_functions();
    wpc.define_worker_dependency("dep", wat(r#"(module (func (export "g")))"#)).unwrap();
    let bad = r#"(module (import "dep" "missing" (func)) (func (export "a")) (func (export "c")))"#;
    let error = wpc.define_worker_module(wat(bad)).unwrap_err();
    let Error::DependencyExport { importer, .. } = &error else { panic!("{error}") };
    assert_eq!(importer, "functions a, c");
    assert_eq!(wpc.get_remote_functions(), before);
    assert_eq!(wpc.call::<i32>("a", ()).unwrap(), 1);
}

#[test]
fn a_section_beyond_its_limit_is_rejected() {
    let bytes = "\\00".repeat(1_100_000);
    let error = refused(wat(&format!(r#"(module (@custom "wpc" "{bytes}") (func (export "f")))"#)));
    assert_eq!(error.code().as_str(), "malformed_section");
}

#[test]
fn a_module_with_another_sha256_is_rejected() {
    let module = wat(r#"(module (func (export "f")))"#);
    let expected = Sha256Hash::of(b"other");
    assert_eq!(refused(module.clone().sha256(expected)).code().as_str(), "sha256_mismatch");
    let wpc = stopped(Options::default());
    let bytes = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    wpc.define_worker_function("f", module.sha256(Sha256Hash::of(&bytes))).unwrap();
}

#[test]
fn a_constant_that_cannot_be_encoded_is_rejected() {
    struct Refuses;
    impl serde::Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("on purpose"))
        }
    }
    let wpc = stopped(Options::default());
    wpc.define_worker_constant("A", &1).unwrap();
    assert_eq!(code(wpc.define_worker_constant("A", &Refuses)), "constant_encode");
    assert_eq!(wpc.get_worker_constants().len(), 1);
}
