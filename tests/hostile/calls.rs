//! Guests that call other functions: recursion, floods, invalid names.

use super::{Attack, attack, hostile};
use std::cell::OnceCell;
use std::rc::Rc;
use wpc_host::{WasmModule, WorkerProcedureCall};

fn may_call(name: &'static str) -> impl FnOnce(WasmModule) -> WasmModule {
    move |module| module.grant_function(name)
}

#[test]
fn calls_itself_through_the_pool() {
    attack("calls-itself-through-the-pool").granted(may_call("f")).ends_with("value");
}

#[test]
fn calls_each_other() {
    let module = |export: &str| hostile("calls-each-other").export(export);
    let pool = Rc::new(OnceCell::new());
    let to_release = Rc::clone(&pool);
    let attack =
        attack("calls-each-other").granted(|_| module("f").grant_function("g")).given(move |wpc| {
            wpc.define_worker_function("g", module("g").grant_function("f")).unwrap();
            pool.set(wpc.clone()).unwrap();
        });
    let release = Box::new(move || {
        let pool: &WorkerProcedureCall = to_release.get().unwrap();
        assert!(pool.undefine_worker_function("g"));
    });
    Attack { release, ..attack }.ends_with("value");
}

#[test]
fn call_flood() {
    attack("call-flood").granted(may_call("add")).ends_with("timeout");
}

#[test]
fn call_of_every_name() {
    attack("call-of-every-name").granted(may_call("add")).ends_with("value");
}

#[test]
fn call_name_outside() {
    attack("call-name-outside").granted(may_call("add")).ends_with("bad_reply");
}
