//! WASI commands and reactors: start, exit status and exports.

use super::{Channel, Folder, everything, pool_of_tools};
use crate::support::{TEST_TIMEOUT, guest, immediate_restarts, pool, pool_with, wat};
use std::sync::mpsc::channel;
use wpc_host::{Error, Output, Wasi, WasmModule};

#[test]
fn exiting_is_a_failure_with_a_status() {
    let folder = Folder::new("exit");
    let wpc = pool_of_tools(everything(&folder));
    for status in [0, 3, 255, -1] {
        let error = wpc.call::<()>("exit_with", (status,)).unwrap_err();
        assert!(matches!(error, Error::Exited { status: found, .. } if found == status), "{error}");
        wpc.call::<Vec<String>>("given_arguments", ()).unwrap();
    }
}

#[test]
fn a_command_runs_from_its_start_for_each_call() {
    let (sender, written) = channel();
    let program = |arguments: &[&str]| {
        let wasi = Wasi::minimal()
            .arguments(arguments.iter().copied())
            .stdin(b"some words".to_vec())
            .stdout(Output::writer(Channel(sender.clone())));
        guest("program").grant_wasi(wasi)
    };
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_function("shout", program(&["shout"])).unwrap();
    assert_eq!(crate::support::signature(&wpc, "shout"), "() -> ()");
    for _ in 0..2 {
        wpc.call::<()>("shout", ()).unwrap();
        assert_eq!(written.recv_timeout(TEST_TIMEOUT).unwrap(), b"SOME WORDS");
    }
    wpc.define_worker_function("shout", program(&["shout", "0"])).unwrap();
    wpc.call::<()>("shout", ()).unwrap();
    wpc.define_worker_function("shout", program(&["shout", "4"])).unwrap();
    let error = wpc.call::<()>("shout", ()).unwrap_err();
    assert!(matches!(error, Error::Exited { status: 4, .. }), "{error}");
}

#[test]
fn the_exit_of_a_dependency_fails_the_command() {
    let wpc = pool_with(1, immediate_restarts());
    let exits =
        wat(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "leave") (call $exit (i32.const 0))))"#);
    wpc.define_worker_dependency("exits", exits.grant_wasi(Wasi::new())).unwrap();
    let program =
        wat(r#"(module (import "exits" "leave" (func $leave)) (memory (export "memory") 1)
            (func (export "_start") (call $leave)))"#);
    wpc.define_worker_function("program", program.clone()).unwrap();
    let error = wpc.call::<()>("program", ()).unwrap_err();
    assert!(matches!(error, Error::Exited { status: 0, .. }), "{error}");

    wpc.define_worker_dependency("program", program).unwrap();
    let imports = wat(
        r#"(module (import "wpc:program" "_start" (func (param i32 i32 i32 i32) (result i64))) (func (export "f")))"#,
    );
    let error = wpc.define_worker_function("f", imports).unwrap_err();
    let Error::DependencyExport { alias, export, reason, .. } = &error else { panic!("{error}") };
    assert_eq!((alias.as_str(), export.as_str()), ("program", "_start"));
    assert!(reason.contains("WASI command"), "{reason}");
}

/// A command with exports that toolchains add.
fn program_with_exports() -> WasmModule {
    wat(r#"(module
        (global $ready (mut i32) (i32.const 0))
        (memory (export "memory") 1)
        (func (export "_start")
            (if (global.get $ready) (then unreachable))
            (global.set $ready (i32.const 1)))
        (func (export "stackSave") (result i32) global.get $ready)
        (func (export "malloc") (param i32) (result i32) global.get $ready))"#)
}

#[test]
fn only_the_start_of_a_command_is_defined() {
    let wpc = pool(1);
    for (name, module) in [
        ("_start", program_with_exports()),
        ("_start", program_with_exports().export("_start")),
        ("program", program_with_exports()),
    ] {
        wpc.define_worker_function(name, module).unwrap();
        assert_eq!(crate::support::signature(&wpc, name), "() -> ()");
        // Each call has a fresh sandbox.
        for _ in 0..2 {
            wpc.call::<()>(name, ()).unwrap();
        }
    }
    let defined = wpc.define_worker_module(program_with_exports()).unwrap();
    let names: Vec<_> = defined.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["_start"]);
}

#[test]
fn other_exports_of_a_command_cannot_be_called_or_linked() {
    let wpc = pool(1);
    for chosen in ["stackSave", "malloc"] {
        for result in [
            wpc.define_worker_function(chosen, program_with_exports()),
            wpc.define_worker_function("f", program_with_exports().export(chosen)),
        ] {
            let error = result.unwrap_err();
            assert!(
                matches!(&error, Error::ExportOfCommand { export, .. } if export == chosen),
                "{error}"
            );
        }
    }
    // Neither by a direct link nor by a typed call.
    wpc.define_worker_dependency("program", program_with_exports()).unwrap();
    for imports in [
        r#"(module (import "program" "stackSave" (func (result i32))) (func (export "f")))"#,
        r#"(module (import "program" "memory" (memory 1)) (func (export "f")))"#,
        r#"(module (import "wpc:program" "malloc" (func (param i32 i32 i32 i32) (result i64))) (func (export "f")))"#,
    ] {
        let error = wpc.define_worker_function("f", wat(imports)).unwrap_err();
        let Error::DependencyExport { alias, reason, .. } = &error else { panic!("{error}") };
        assert_eq!(alias, "program");
        assert!(reason.contains("WASI command"), "{reason}");
    }
    let information = program_with_exports().inspect().unwrap();
    let names: Vec<_> =
        information.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["_start"]);
    assert!(information.other_exports.iter().any(|export| export.starts_with("malloc: ")));
}

#[test]
fn a_reactor_is_initialised_before_its_exports_are_called() {
    let wpc = pool(1);
    let reactor = wat(r#"(module
        (global $ready (mut i32) (i32.const 0))
        (memory (export "memory") 1)
        (func (export "_initialize") (global.set $ready (i32.const 1)))
        (func (export "_start") unreachable)
        (func (export "ready") (result i32) global.get $ready))"#);
    wpc.define_worker_function("ready", reactor).unwrap();
    assert_eq!(wpc.call::<i32>("ready", ()).unwrap(), 1);
}
