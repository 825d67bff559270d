//! Which imports each grant allows, and what a guest receives of them.

use super::{Folder, everything, imports, pool_of_tools};
use crate::support::{code, pool, stopped, wat};
use wpc_host::{Capability, Error, Grant, Options, Wasi};

#[test]
fn each_import_is_rejected_with_the_missing_grant() {
    let wpc = stopped(Options::default());
    let two = "(param i32 i32) (result i32)";
    let four = "(param i32 i32 i32 i32) (result i32)";
    let wasi = |method: &'static str| Grant::Wasi(method.into());
    for (import, ty, lacks) in [
        ("proc_exit", "(param i32)", wasi("new")),
        ("args_get", two, wasi("arguments")),
        ("environ_sizes_get", two, wasi("environment")),
        ("fd_read", four, wasi("stdin")),
        ("fd_write", four, wasi("stdout")),
        ("fd_close", "(param i32) (result i32)", wasi("minimal")),
        ("path_unlink_file", "(param i32 i32 i32) (result i32)", wasi("read_directory")),
        (
            "clock_time_get",
            "(param i32 i64 i32) (result i32)",
            Grant::Capability(Capability::Clock),
        ),
        ("poll_oneoff", four, Grant::Capability(Capability::Clock)),
        ("random_get", two, Grant::Capability(Capability::Random)),
    ] {
        let error = wpc.define_worker_function("f", imports(import, ty)).unwrap_err();
        let Error::NotGranted { name, grant, .. } = &error else { panic!("{error}") };
        assert_eq!((name.as_str(), grant), (import, &lacks));
    }
}

#[test]
fn a_granted_import_is_listed_and_others_are_rejected() {
    let wpc = pool(1);
    let two = "(param i32 i32) (result i32)";
    let module = imports("args_get", two).grant_wasi(Wasi::new().arguments(["f"]));
    let information = wpc.define_worker_function("f", module).unwrap();
    assert_eq!(information.required_wasi_imports, ["args_get"]);
    wpc.call::<()>("f", ()).unwrap();
    let module = imports("environ_get", two).grant_wasi(Wasi::new().arguments(["f"]));
    assert_eq!(code(wpc.define_worker_function("f", module)), "not_granted");
    let random = imports("random_get", two).grant(Capability::Random);
    let information = wpc.define_worker_function("f", random).unwrap();
    assert_eq!(information.required_capabilities, [Capability::Random]);
    wpc.call::<()>("f", ()).unwrap();
}

#[test]
fn sockets_and_other_versions_of_wasi_are_rejected() {
    let wpc = stopped(Options::default());
    let module =
        imports("sock_shutdown", "(param i32 i32) (result i32)").grant_wasi(Wasi::minimal());
    assert_eq!(code(wpc.define_worker_function("f", module)), "unknown_import");
    let module = wat(
        r#"(module (import "wasi_unstable" "fd_close" (func (param i32) (result i32))) (func (export "f")))"#,
    );
    let error = wpc.define_worker_function("f", module).unwrap_err();
    let Error::UnknownImport { module, reason, .. } = &error else { panic!("{error}") };
    assert_eq!(module, "wasi_unstable");
    assert!(reason.contains("wasm32-wasip1"), "{reason}");
    let wrong = imports("random_get", "(param i64)").grant(Capability::Random);
    assert_eq!(code(wpc.define_worker_function("f", wrong)), "invalid_module");
}

#[test]
fn every_invalid_grant_is_reported_at_once() {
    let wpc = stopped(Options::default());
    let wasi = Wasi::new()
        .arguments(["a\0b"])
        .environment([("A=B", "c")])
        .read_directory("/nowhere/at/all", "/data")
        .read_directory(file!(), "/file");
    let error =
        wpc.define_worker_function("f", imports("proc_exit", "(param i32)").grant_wasi(wasi));
    let Err(Error::InvalidOptions { problems, .. }) = error else { panic!("{error:?}") };
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[2].contains("/nowhere/at/all"), "{problems:?}");
}

#[test]
fn a_guest_sees_only_granted_arguments_environment_and_input() {
    let folder = Folder::new("granted");
    let wpc = pool_of_tools(
        everything(&folder)
            .arguments(["tool", "--fast"])
            .environment([("COLOUR", "green")])
            .stdin(b"one two".to_vec()),
    );
    assert_eq!(wpc.call::<Vec<String>>("given_arguments", ()).unwrap(), ["tool", "--fast"]);
    assert_eq!(wpc.call::<Option<String>>("variable", ("COLOUR",)).unwrap().unwrap(), "green");
    assert_eq!(wpc.call::<Option<String>>("variable", ("PATH",)).unwrap(), None);
    assert_eq!(wpc.call::<String>("read_input", (3_u32,)).unwrap(), "one");
    assert_eq!(
        wpc.call::<String>("read_input", (100_u32,)).unwrap(),
        " two",
        "a kept sandbox continues to read"
    );
    assert_eq!(wpc.call::<String>("read_input", (100_u32,)).unwrap(), "");
}

#[test]
fn a_dependency_has_its_own_grants() {
    let wpc = pool(1);
    let dependency = wat(
        r#"(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "count") (result i32)
                (drop (call $sizes (i32.const 0) (i32.const 4))) (i32.load (i32.const 0))))"#,
    );
    let function = wat(
        r#"(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "counter" "count" (func $count (result i32)))
            (memory (export "memory") 1)
            (func (export "f") (result i32)
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (i32.add (i32.mul (i32.const 10) (i32.load (i32.const 0))) (call $count))))"#,
    );
    let arguments = |count| Wasi::new().arguments(vec!["x"; count]);
    wpc.define_worker_dependency("counter", dependency.grant_wasi(arguments(3))).unwrap();
    wpc.define_worker_function("f", function.grant_wasi(arguments(2))).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 23);
}
