//! Bad arguments to the functions that the host provides: constants, log lines, randomness, WASI and host functions.

use super::{attack, long_constant};
use crate::support::Gate;
use std::time::Duration;
use wpc_host::{Capability, Limits, Output, Wasi, WorkerProcedureCall};

#[test]
fn constant_name_is_not_utf_8() {
    attack("constant-name-is-not-utf-8").ends_with("value");
}

#[test]
fn constant_name_outside() {
    attack("constant-name-outside").ends_with("bad_reply");
}

#[test]
fn constant_buffer_outside() {
    attack("constant-buffer-outside").given(long_constant).ends_with("bad_reply");
}

#[test]
fn take_without_a_reply() {
    attack("take-without-a-reply").ends_with("value");
}

#[test]
fn log_outside() {
    attack("log-outside").ends_with("bad_reply");
}

#[test]
fn panic_with_garbage() {
    attack("panic-with-garbage").ends_with("trap");
}

#[test]
fn random_outside() {
    attack("random-outside")
        .granted(|module| module.grant(Capability::Random))
        .ends_with("bad_reply");
}

#[test]
fn pointers_without_a_memory() {
    attack("pointers-without-a-memory").ends_with("bad_reply");
}

#[test]
fn wasi_pointers_outside() {
    attack("wasi-pointers-outside")
        .granted(|module| module.grant_wasi(Wasi::new().stdout(Output::events())))
        .ends_with("trap");
}

#[test]
fn wasi_exits() {
    attack("wasi-exits").granted(|module| module.grant_wasi(Wasi::new())).ends_with("exited");
}

#[test]
fn host_function_never_returns() {
    let gate = Gate::default();
    let opening = gate.clone();
    // A worker is abandoned if it does not react after the limit of the function.
    let limits = Limits::default().timeout(Duration::from_millis(50));
    let mut attack = attack("host-function-never-returns")
        .granted(|module| module.grant_host_function("stuck").limits(limits))
        .given(move |wpc| {
            let gate = gate.clone();
            let stuck = move |_: &_, (): ()| {
                gate.wait();
                Ok::<_, String>(())
            };
            wpc.define_host_function("stuck", stuck).unwrap();
        });
    attack.loses_its_worker = true;
    attack.release = Box::new(move || opening.open());
    attack.ends_with("timeout");
}

fn panics(wpc: &WorkerProcedureCall) {
    let panics = |_: &_, (): ()| -> Result<(), String> { panic!("intended by the test") };
    wpc.define_host_function("panics", panics).unwrap();
}

#[test]
fn host_function_panics() {
    attack("host-function-panics")
        .granted(|module| module.grant_host_function("panics"))
        .given(panics)
        .ends_with("guest_error");
}

#[test]
fn host_function_pointers_outside() {
    attack("host-function-pointers-outside")
        .granted(|module| module.grant_host_function("panics"))
        .given(panics)
        .ends_with("bad_reply");
}
