//! How long sandboxes and their state live.

use crate::support::*;
use wpc_host::Limits;

#[test]
fn functions_defined_together_share_state_and_functions_defined_separately_do_not() {
    let counter = r#"(module
        (global $n (mut i32) (i32.const 0))
        (func (export "increment") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) global.get $n)
        (func (export "read") (result i32) global.get $n))"#;
    let wpc = pool(1);
    wpc.define_worker_module(wat(counter)).unwrap();
    assert_eq!(wpc.call::<i32>("increment", ()).unwrap(), 1);
    assert_eq!(wpc.call::<i32>("increment", ()).unwrap(), 2);
    assert_eq!(wpc.call::<i32>("read", ()).unwrap(), 2);

    wpc.define_worker_function("apart", wat(counter).export("read")).unwrap();
    assert_eq!(wpc.call::<i32>("apart", ()).unwrap(), 0);
}

#[test]
fn a_redefinition_starts_with_fresh_state() {
    let wpc = pool(1);
    define_sdk(&wpc, &["count"]);
    for expected in 1..=3 {
        assert_eq!(wpc.call::<u64>("count", ()).unwrap(), expected);
    }
    define_sdk(&wpc, &["count"]);
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 1);
}

#[test]
fn calls_can_be_isolated_and_sandboxes_recycled() {
    let wpc = pool(1);
    let counts = |times: usize| {
        (0..times).map(|_| wpc.call::<u64>("count", ()).unwrap()).collect::<Vec<_>>()
    };
    wpc.define_worker_function("count", guest("sdk").isolate_calls()).unwrap();
    assert_eq!(counts(3), [1, 1, 1]);
    let limits = Limits::default().recycle_after_calls(2);
    wpc.define_worker_function("count", guest("sdk").limits(limits)).unwrap();
    assert_eq!(counts(5), [1, 2, 1, 2, 1]);
    let limits = Limits::default().recycle_after_calls(0);
    assert_eq!(
        code(wpc.define_worker_function("count", guest("sdk").limits(limits))),
        "invalid_options"
    );
}

#[test]
fn a_sandbox_that_grew_past_its_threshold_is_recycled() {
    let wpc = pool(1);
    let limits = Limits::default().recycle_past_memory(2 << 20);
    let module = wat(r#"(module (memory 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) memory.size))"#);
    wpc.define_worker_module(module.limits(limits)).unwrap();
    assert_eq!(wpc.call::<i32>("grow", (10,)).unwrap(), 1);
    assert_eq!(
        wpc.call::<i32>("size", ()).unwrap(),
        11,
        "below its threshold the sandbox keeps its memory"
    );
    assert_eq!(wpc.call::<i32>("grow", (100,)).unwrap(), 11);
    assert_eq!(wpc.call::<i32>("size", ()).unwrap(), 1);
}

#[test]
fn isolation_and_limits_can_be_chosen_in_any_order() {
    let module = || guest("sdk");
    let limits = || Limits::default().memory(2 << 20);
    let wpc = pool(1);
    wpc.define_worker_function("first", module().export("count").isolate_calls().limits(limits()))
        .unwrap();
    wpc.define_worker_function("last", module().export("count").limits(limits()).isolate_calls())
        .unwrap();
    for name in ["first", "last", "first", "last"] {
        assert_eq!(wpc.call::<u64>(name, ()).unwrap(), 1, "{name}");
    }
}
