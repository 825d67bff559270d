//! `_initialize` and init hooks.

use crate::support::*;
use wpc_host::{CallOptions, Error};

#[test]
fn an_init_hook_runs_before_the_first_call_and_its_failure_is_reported() {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_dependency("dep", guest("sdk")).unwrap();
    wpc.define_worker_constant("PREFIX", "refuse").unwrap();
    wpc.define_worker_module(guest("needy")).unwrap();
    let reason = |result: Result<bool, Error>| match result {
        Err(Error::Initialisation { reason, .. }) => reason,
        other => panic!("instantiation should fail: {other:?}"),
    };
    let refused = reason(wpc.call("is_prepared", ()));
    assert!(refused.ends_with("its init hook returned Error: the prefix is refused"), "{refused}");
    wpc.define_worker_constant("PREFIX", "panic").unwrap();
    let panicked = reason(wpc.call("is_prepared", ()));
    assert!(panicked.contains("the prefix panics"), "{panicked}");
    wpc.define_worker_constant("PREFIX", "fine").unwrap();
    assert!(wpc.call::<bool>("is_prepared", ()).unwrap());
}

#[test]
fn init_hooks_have_limits_and_checks_like_calls() {
    let wpc = pool_with(1, immediate_restarts());
    let init = |ty: &str, body: &str| {
        contract(&format!(
            r#"(func (export "wpc_init") {ty} {body}) (func (export "f") (param i32 i32) (result i64) i64.const 1)"#
        ))
    };
    let options = CallOptions::new().timeout(std::time::Duration::from_millis(20));
    wpc.define_worker_function("f", init("(result i64)", "(loop br 0) i64.const 0")).unwrap();
    assert_eq!(code(wpc.call_with::<()>("f", (), &options)), "timeout");
    wpc.define_worker_function("f", init("(result i64)", "i64.const 0")).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "bad_reply");
    assert_eq!(code(wpc.define_worker_function("f", init("", ""))), "export_type");
}
