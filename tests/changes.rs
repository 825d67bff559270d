//! Several changes that are made together.

use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use wpc_host::{
    Applied, Changes, Definable, Error, EventDetails, Options, WasmModule, WorkerProcedureCall,
};

/// A dependency whose function `get` returns `value` as a number of this type.
fn base(ty: &str, value: u32) -> WasmModule {
    wat(&format!(r#"(module (func (export "get") (result {ty}) {ty}.const {value}))"#))
}

/// A function that returns ten times the result of dependency `base`, plus `digit`, as a number of the same type.
fn user(ty: &str, digit: u32) -> WasmModule {
    wat(&format!(
        r#"(module (import "base" "get" (func $get (result {ty})))
            (func (export "f") (result {ty})
                ({ty}.add ({ty}.mul (call $get) ({ty}.const 10)) ({ty}.const {digit}))))"#
    ))
    .export("f")
}

fn refusals(result: Result<Applied, Error>) -> Vec<(usize, Definable, String, &'static str)> {
    let Err(Error::ChangesRefused { refusals, .. }) = result else {
        panic!("the changes should be refused")
    };
    let items = refusals
        .into_iter()
        .map(|refusal| (refusal.change, refusal.kind, refusal.name, refusal.error.code().as_str()));
    items.collect()
}

/// The names of everything that is defined, with the hashes of functions and dependencies.
fn state(wpc: &WorkerProcedureCall) -> Vec<String> {
    let functions = wpc.get_remote_functions().into_iter();
    let functions = functions.map(|item| format!("{} {}", item.name, item.function_hash_sha1));
    let dependencies = wpc.get_worker_dependencies().into_iter();
    let dependencies = dependencies.map(|item| format!("{} {}", item.alias, item.module_hash_sha1));
    let constants = wpc.get_worker_constants().into_iter().map(|item| item.name);
    functions.chain(dependencies).chain(constants).collect()
}

#[test]
fn a_dependency_with_another_signature_changes_together_with_its_user() {
    let wpc = pool(1);
    wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
    wpc.define_worker_function("f", user("i32", 1)).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 11);
    assert_eq!(code(wpc.define_worker_dependency("base", base("i64", 2))), "dependency_export");
    assert_eq!(code(wpc.define_worker_function("f", user("i64", 2))), "dependency_export");
    // The order does not matter, because only the state after all changes is checked.
    let changes = Changes::new()
        .define_function("f", user("i64", 2))
        .define_dependency("base", base("i64", 2));
    let applied = wpc.apply(changes).unwrap();
    assert_eq!(wpc.call::<i64>("f", ()).unwrap(), 22);
    assert_eq!(applied.functions.len(), 1);
    assert_eq!(applied.functions[0].name, "f");
}

#[test]
fn calls_never_see_a_part_of_the_changes() {
    let wpc = pool(2);
    let swap = |version: u32| {
        // The types alternate, so that no part works with the other version of another part.
        let ty = if version.is_multiple_of(2) { "i32" } else { "i64" };
        Changes::new()
            .define_dependency("base", base(ty, version % 10))
            .define_function("left", user(ty, version % 10))
            .define_function("right", user(ty, version % 10))
    };
    wpc.apply(swap(0)).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let threads = [0, 1].map(|number| {
        let (wpc, is_over) = (wpc.clone(), Arc::clone(&is_over));
        std::thread::spawn(move || {
            let mut calls = 0_u64;
            while !is_over.load(Ordering::Acquire) || calls < 100 {
                let names =
                    if calls.is_multiple_of(2) { ["left", "right"] } else { ["right", "left"] };
                for name in names {
                    let value = if number == 0 {
                        wpc.call_json(name, &[]).unwrap().as_i64().unwrap()
                    } else {
                        // Both types are encoded alike.
                        postcard::from_bytes(&call_encoded(&wpc, name, &()).unwrap()).unwrap()
                    };
                    assert_eq!(value / 10, value % 10, "both parts have the same version");
                }
                calls += 1;
            }
        })
    });
    for version in 1..=1_000 {
        wpc.apply(swap(version)).unwrap();
    }
    is_over.store(true, Ordering::Release);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_thread_that_saw_one_change_sees_all() {
    let wpc = pool(2);
    let swap = |value: i32| {
        let text = format!(r#"(module (func (export "get") (result i32) i32.const {value}))"#);
        let module = wat(&text).export("get");
        Changes::new()
            .define_function("first", module.clone())
            .define_function("second", module.clone())
            .define_function("third", module)
    };
    wpc.apply(swap(0)).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let readers = [true, false].map(|by_handle| {
        let (wpc, is_over) = (wpc.clone(), Arc::clone(&is_over));
        std::thread::spawn(move || {
            let names = ["first", "second", "third"];
            let handles = names.map(|name| wpc.function::<(), i32>(name).unwrap());
            let mut here = wpc.local_worker();
            let (mut last, mut at) = (0, 0_usize);
            while !is_over.load(Ordering::Acquire) || at < 300 {
                let (name, handle) = (names[at % 3], &handles[at % 3]);
                let value = match (by_handle, at.is_multiple_of(2)) {
                    (true, true) => handle.call(()).unwrap(),
                    (true, false) => here.call_function(handle, ()).unwrap(),
                    (false, true) => wpc.call::<i32>(name, ()).unwrap(),
                    (false, false) => here.call::<i32>(name, ()).unwrap(),
                };
                assert!(value >= last, "{name} returned {value} after {last} was seen");
                last = value;
                at += 1;
            }
        })
    });
    for value in 1..=1_000 {
        wpc.apply(swap(value)).unwrap();
    }
    is_over.store(true, Ordering::Release);
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn if_the_last_change_is_refused_nothing_changes() {
    let wpc = pool(1);
    wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
    wpc.define_worker_function("f", user("i32", 1)).unwrap();
    wpc.define_worker_constant("LIMIT", &1_u8).unwrap();
    let before = state(&wpc);
    let events = Recorder::new(&wpc);
    let changes = Changes::new()
        .define_dependency("base", base("i32", 2))
        .define_constant("LIMIT", &2_u8)
        .define_constant("NEW", &2_u8)
        .remove_function("f")
        .define_function("g", user("i32", 2))
        .define_function("broken", b"no module");
    let refused = refusals(wpc.apply(changes));
    assert_eq!(refused, [(5, Definable::Function, "broken".to_owned(), "not_wasm")]);
    assert_eq!(state(&wpc), before);
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 11);
    let event = events.wait_for_name("definition_refused");
    let EventDetails::DefinitionRefused { what, name } = event.details else {
        panic!("the event has this name")
    };
    assert_eq!((what.as_str(), name.as_str()), ("function", "broken"));
}

#[test]
fn every_refused_change_is_reported() {
    let wpc = stopped(Options::default());
    wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
    wpc.define_worker_function("f", user("i32", 1)).unwrap();
    let changes = Changes::new()
        .define_function("2nd", base("i32", 1))
        .define_constant_json("LIMIT", "u8", &serde_json::json!(300))
        .define_module(b"no module");
    let expected = [
        (0, Definable::Function, "2nd".to_owned(), "invalid_name"),
        (1, Definable::Constant, "LIMIT".to_owned(), "constant_encode"),
        (2, Definable::Function, "the module's functions".to_owned(), "not_wasm"),
    ];
    assert_eq!(refusals(wpc.apply(changes)), expected);
    // A dependency is at fault for a user that stays, and a new user for itself.
    let changes = Changes::new()
        .define_dependency("base", base("i64", 2))
        .define_function("g", user("i32", 2))
        .define_function("h", user("i64", 2));
    let expected = [
        (0, Definable::Dependency, "base".to_owned(), "dependency_export"),
        (1, Definable::Function, "g".to_owned(), "dependency_export"),
    ];
    assert_eq!(refusals(wpc.apply(changes)), expected);
}

#[test]
fn skipped_changes_leave_what_depends_on_them_as_it_was() {
    let wpc = pool(1);
    wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
    wpc.define_worker_function("f", user("i32", 1)).unwrap();
    // `f` is broken, so `base` cannot change either; `other` can.
    let changes = Changes::new()
        .define_dependency("base", base("i64", 2))
        .define_function("f", b"no module")
        .define_function("other", base("i32", 7).export("get"))
        .skip_refused();
    let applied = wpc.apply(changes).unwrap();
    let refused: Vec<_> = applied.refused.iter().map(|refusal| refusal.change).collect();
    assert_eq!(refused, [1, 0]);
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 11);
    assert_eq!(wpc.call::<i32>("other", ()).unwrap(), 7);
    // `base` is broken, so `f` cannot change either.
    let changes = Changes::new()
        .define_dependency("base", b"no module")
        .define_function("f", user("i64", 2))
        .skip_refused();
    assert_eq!(wpc.apply(changes).unwrap().refused.len(), 2);
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 11);
    // A compatible dependency changes without its broken user.
    let changes = Changes::new()
        .define_dependency("base", base("i32", 3))
        .define_function("f", b"no module")
        .skip_refused();
    let applied = wpc.apply(changes).unwrap();
    assert_eq!((applied.refused.len(), applied.relinked), (1, vec!["f".to_owned()]));
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 31);
}

#[test]
fn a_dependency_and_its_users_are_removed_together() {
    let wpc = pool(1);
    wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
    wpc.define_worker_function("f", user("i32", 1)).unwrap();
    wpc.define_worker_constant("LIMIT", &1_u8).unwrap();
    wpc.call::<i32>("f", ()).unwrap();
    let changes = Changes::new()
        .remove_dependency("base")
        .remove_function("f")
        .remove_constant("LIMIT")
        .remove_host_function("missing");
    let mut removed = wpc.apply(changes).unwrap().removed;
    removed.sort_by(|(_, one), (_, other)| one.cmp(other));
    let expected = [
        (Definable::Constant, "LIMIT".to_owned()),
        (Definable::Dependency, "base".to_owned()),
        (Definable::Function, "f".to_owned()),
    ];
    assert_eq!(removed, expected);
    assert_eq!(state(&wpc), Vec::<String>::new());
    assert_eq!(code(wpc.call::<i32>("f", ())), "function_not_defined");
}

#[test]
fn a_later_change_of_an_item_replaces_an_earlier_one() {
    let wpc = pool(1);
    wpc.define_worker_function("f", base("i32", 1).export("get")).unwrap();
    let changes = Changes::new()
        .remove_function("f")
        .define_function("f", base("i32", 2).export("get"))
        .define_function("g", base("i32", 3).export("get"))
        .remove_function("g")
        .define_function("f", base("i32", 4).export("get"));
    let applied = wpc.apply(changes).unwrap();
    assert_eq!((applied.functions.len(), applied.removed.len()), (1, 0));
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 4);
    assert_eq!(state(&wpc).len(), 1);
}

#[test]
fn a_module_replaces_the_functions_of_its_previous_version() {
    let wpc = pool(1);
    let module = |names: &[&str]| {
        let functions = names.iter().map(|name| format!(r#"(func (export "{name}"))"#));
        wat(&format!("(module {})", functions.collect::<String>()))
    };
    wpc.define_worker_module(module(&["one", "two"])).unwrap();
    let previous = || vec!["one".to_owned(), "two".to_owned()];
    let changes = Changes::new().replace_module(previous(), b"no module").skip_refused();
    assert_eq!(wpc.apply(changes).unwrap().refused.len(), 1);
    assert_eq!(state(&wpc).len(), 2, "a refused module removes nothing");
    let applied =
        wpc.apply(Changes::new().replace_module(previous(), module(&["two", "three"]))).unwrap();
    assert_eq!(applied.removed, [(Definable::Function, "one".to_owned())]);
    let names: Vec<_> = wpc.get_remote_functions().into_iter().map(|item| item.name).collect();
    assert_eq!(names, ["three", "two"]);
}

#[test]
fn an_item_whose_new_definition_is_refused_is_not_removed() {
    let wpc = pool(1);
    let get = |value: u32| base("i32", value).export("get");
    wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
    wpc.define_worker_function("f", get(1)).unwrap();
    wpc.define_worker_function("g", get(2)).unwrap();
    wpc.define_worker_constant("LIMIT", &1_u8).unwrap();
    let refused = |changes: Changes| -> Vec<usize> {
        let applied = wpc.apply(changes.skip_refused()).unwrap();
        assert_eq!(applied.removed, []);
        let mut refused: Vec<_> = applied.refused.iter().map(|refusal| refusal.change).collect();
        refused.sort_unstable();
        refused
    };
    let before = state(&wpc);
    let removals = || Changes::new().remove_function("f").remove_function("g");
    // Refused before and while they are linked.
    let changes =
        removals().define_function("f", b"no module").define_function("g", user("i64", 2));
    assert_eq!(refused(changes), [0, 1, 2, 3]);
    let module = wat(
        r#"(module (import "base" "get" (func (result i64))) (func (export "f")) (func (export "g")))"#,
    );
    assert_eq!(refused(removals().define_module(module)), [0, 1, 2]);
    let changes = Changes::new()
        .remove_constant("LIMIT")
        .remove_dependency("base")
        .define_constant_json("LIMIT", "u8", &serde_json::json!(300))
        .define_dependency("base", b"no module");
    assert_eq!(refused(changes), [0, 1, 2, 3]);
    assert_eq!(state(&wpc), before);
    // The module that no longer has `f` changes, and `f` stays.
    let module = wat(r#"(module (func (export "h")))"#);
    let changes = Changes::new()
        .replace_module(vec!["f".to_owned()], module)
        .define_function("f", b"no module");
    assert_eq!(refused(changes), [1]);
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 1);
    // A removal after the definition is made.
    let changes =
        Changes::new().define_function("f", b"no module").remove_function("f").skip_refused();
    assert_eq!(wpc.apply(changes).unwrap().removed, [(Definable::Function, "f".to_owned())]);
}

#[test]
fn concurrent_changes_and_definitions_are_all_made() {
    let wpc = pool(1);
    let writers = [0, 1, 2].map(|writer| {
        let wpc = wpc.clone();
        std::thread::spawn(move || {
            for round in 0..50 {
                let name = |kind: &str| format!("{kind}_{writer}_{round}");
                let module = base("i32", round).export("get");
                if writer == 0 {
                    wpc.define_worker_function(&name("f"), module.clone()).unwrap();
                    wpc.define_worker_function(&name("g"), module).unwrap();
                } else {
                    let changes = Changes::new()
                        .define_function(name("f"), module.clone())
                        .define_constant(&name("C"), &round)
                        .define_function(name("g"), module);
                    wpc.apply(changes).unwrap();
                }
            }
        })
    });
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(wpc.get_remote_functions().len(), 300);
    assert_eq!(wpc.get_worker_constants().len(), 100);
    assert_eq!(wpc.call::<i32>("g_2_49", ()).unwrap(), 49);
}

#[test]
fn a_dependency_that_changes_during_the_check_is_checked_again() {
    // Both are valid alone: `base` with another type, and a user of the first type.
    for _ in 0..50 {
        let wpc = stopped(Options::default());
        wpc.define_worker_dependency("base", base("i32", 1)).unwrap();
        let definer = {
            let wpc = wpc.clone();
            std::thread::spawn(move || wpc.define_worker_function("f", user("i32", 1)).is_ok())
        };
        let changes = Changes::new().define_dependency("base", base("i64", 1));
        let (changed, defined) = (wpc.apply(changes).is_ok(), definer.join().unwrap());
        assert!(changed != defined, "exactly one of them is refused");
    }
}

#[test]
fn a_running_call_keeps_the_constants_of_its_definition() {
    let wpc = pool(1);
    let (gate, running) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (own_gate, runs) = (gate.clone(), Arc::clone(&running));
    wpc.define_host_function("waits", move |_, (): ()| {
        runs.store(true, Ordering::Release);
        own_gate.wait();
        Ok::<_, String>(())
    })
    .unwrap();
    // Calls `waits`, and then returns the constant `word`.
    let reads = |version: u32| {
        wat(&format!(r#"(module
            (import "wpc-host" "waits" (func $waits (param i32 i32 i32 i32) (result i64)))
            (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (data (i32.const 16) "word") (data (i32.const 128) "{version}") (data (i32.const 64) "\00\ff")
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            (func (export "f") (param i32 i32) (result i64)
                (drop (call $waits (i32.const 0) (i32.const 0) (i32.const 32) (i32.const 8)))
                (drop (call $constant (i32.const 16) (i32.const 4) (i32.const 65) (i32.const 1)))
                (pack 64 2)))"#))
        .grant_host_function("waits")
    };
    let swap = |version: u8| {
        Changes::new().define_constant("word", &version).define_function("f", reads(version.into()))
    };
    wpc.apply(swap(1)).unwrap();
    let call = wpc.submit::<u8>("f", ()).unwrap();
    eventually(|| running.load(Ordering::Acquire));
    wpc.apply(swap(2)).unwrap();
    gate.open();
    assert_eq!(call.wait().unwrap(), 1, "as it was when the definition was replaced");
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 2);
}

#[test]
fn a_running_call_sees_all_or_none_of_the_changes_of_what_it_uses() {
    let wpc = pool(1);
    let offer = |version: u8| {
        Changes::new()
            .define_constant("word", &version)
            .define_host_function("version", move |_, (): ()| Ok::<_, String>(version))
    };
    wpc.apply(offer(1)).unwrap();
    let handle = Mutex::new(Some(wpc.clone()));
    wpc.define_host_function("change", move |_, (): ()| {
        let changed = handle.lock().unwrap().take().map(|wpc| wpc.apply(offer(2)).unwrap());
        Ok::<_, String>(changed.is_some())
    })
    .unwrap();
    // Reads `word`, calls `change`, then `version`, and returns the version and the word.
    let uses_both = wat(r#"(module
        (import "wpc-host" "change" (func $change (param i32 i32 i32 i32) (result i64)))
        (import "wpc-host" "version" (func $version (param i32 i32 i32 i32) (result i64)))
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 16) "word")
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (drop (call $constant (i32.const 16) (i32.const 4) (i32.const 66) (i32.const 1)))
            (drop (call $change (i32.const 0) (i32.const 0) (i32.const 32) (i32.const 8)))
            (drop (call $version (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 2)))
            (pack 64 3)))"#)
    .grant_host_function("change")
    .grant_host_function("version");
    wpc.define_worker_function("f", uses_both).unwrap();
    assert_eq!(wpc.call::<(u8, u8)>("f", ()).unwrap(), (1, 1), "as the call found them first");
    assert_eq!(wpc.call::<(u8, u8)>("f", ()).unwrap(), (2, 2));
}

#[test]
fn changes_are_made_by_async_tasks_too() {
    let wpc = pool(1);
    pollster::block_on(async {
        let changes = Changes::new()
            .define_dependency("base", base("i32", 4))
            .define_function("f", user("i32", 2));
        let applied = wpc.apply_async(changes).await.unwrap();
        assert_eq!(applied.functions[0].required_dependencies, ["base"]);
        assert_eq!(wpc.call_async::<i32>("f", ()).await.unwrap(), 42);
    });
}
