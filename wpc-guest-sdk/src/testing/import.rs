//! The functions of `crate::import`, served by the thread's test host.

use super::{INSTALLED, Item, State};
use crate::entry::plain_error_reply;
use crate::text::joined;
use alloc::rc::Rc;
use core::time::Duration;
use std::borrow::ToOwned as _;
use std::eprintln;
use std::string::String;
use std::vec::Vec;
use wpc_abi::GuestError;
use wpc_abi::names::{
    CALLED_FUNCTIONS_MODULE, ClockKind, LogLevel, NOT_DEFINED, TYPED_DEPENDENCY_PREFIX,
};

/// The host that answers this thread's requests. It is cloned because a fake may log or install another host.
fn host() -> Option<Rc<State>> {
    INSTALLED.with_borrow(|installed| installed.last().cloned())
}

/// Panics if a capability is missing, because a real host would not create the sandbox.
fn granted<T>(granted: Option<T>, what: &str, by: &str) -> T {
    match granted {
        Some(granted) => granted,
        None if host().is_some() => {
            panic!("the test host does not grant {what}; add `.{by}(…)` to it")
        }
        None => panic!(
            "{what} needs a sandbox with that capability; in a test, use `wpc::testing::Host::new().{by}(…)`"
        ),
    }
}

/// Checks that a host is installed.
///
/// # Errors
///
/// `OutsideSandbox`, which names what needs a host.
pub(crate) fn require_host(what: &str) -> Result<(), GuestError> {
    if host().is_some() {
        return Ok(());
    }
    let why = " is only available inside a sandbox; in a test, install a `wpc::testing::Host`";
    Err(GuestError::new("OutsideSandbox", joined(&[what, why])))
}

pub(crate) fn constant(name: &str, buffer: &mut [u8]) -> i64 {
    let host = host();
    let value = host.as_ref().and_then(|host| host.constants.get(name));
    value.map_or(NOT_DEFINED, |value| answer(&value.bytes, buffer))
}

/// Adds the type with which the test defined a constant to the message of a decoding error.
pub(crate) fn with_defined_type(name: &str, message: String) -> String {
    match host().as_ref().and_then(|host| host.constants.get(name)) {
        Some(constant) => {
            joined(&[&message, "; the test defines it as `", constant.type_name, "`"])
        }
        None => message,
    }
}

/// Calls the fake of a function of the pool by its name.
pub(crate) fn call(name: &str, arguments: &[u8], buffer: &mut [u8]) -> i64 {
    let function = (CALLED_FUNCTIONS_MODULE.to_owned(), name.to_owned());
    match host() {
        Some(host) if !host.functions.contains_key(&function) => {
            let why = [
                "the test host has no function `",
                name,
                "`; add `.function(\"",
                name,
                "\", …)` to it",
            ];
            host.answer(
                plain_error_reply(Vec::new(), &GuestError::new("NotGranted", joined(&why))),
                buffer,
            )
        }
        _ => faked(CALLED_FUNCTIONS_MODULE, name, arguments, buffer),
    }
}

/// Calls the fake of a function that `import!`, `host!` or `functions!` declared.
pub fn faked(module: &str, function: &str, arguments: &[u8], buffer: &mut [u8]) -> i64 {
    let host = granted(host(), "a function of another module", "dependency");
    let Some(fake) = host.functions.get(&(module.to_owned(), function.to_owned())) else {
        let missing = match module.strip_prefix(TYPED_DEPENDENCY_PREFIX) {
            Some(alias) => joined(&["dependency(\"", alias, "\", \"", function, "\", …)"]),
            None if module == CALLED_FUNCTIONS_MODULE => {
                joined(&["function(\"", function, "\", …)"])
            }
            None => joined(&["host_function(\"", function, "\", …)"]),
        };
        panic!("the test host has no such function `{function}`; add `.{missing}` to it");
    };
    let reply = fake(arguments);
    host.answer(reply, buffer)
}

impl State {
    /// Copies a reply if it fits the buffer, and otherwise keeps it; returns its length.
    fn answer(&self, reply: Vec<u8>, buffer: &mut [u8]) -> i64 {
        let len = answer(&reply, buffer);
        if reply.len() > buffer.len() {
            self.pending_reply.replace(reply);
        }
        len
    }
}

/// Keeps an item for the test.
pub(crate) fn yield_item(bytes: Vec<u8>, fingerprint: u32, type_name: &'static str) {
    if let Some(host) = host() {
        host.items.borrow_mut().push(Item { bytes, fingerprint, type_name });
    }
}

pub(crate) fn take(buffer: &mut [u8]) {
    let reply = host().map(|host| host.pending_reply.take()).unwrap_or_default();
    buffer.copy_from_slice(&reply);
}

/// Copies an answer if it fits the buffer, and returns its length.
fn answer(bytes: &[u8], buffer: &mut [u8]) -> i64 {
    if let Some(out) = buffer.get_mut(..bytes.len()) {
        out.copy_from_slice(bytes);
    }
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

pub(crate) fn log(level: LogLevel, text: &str) {
    if let Some(host) = host() {
        host.logs.borrow_mut().push((level, String::from(text)));
    }
    // The test harness shows it if the test fails.
    eprintln!("{level:?}: {text}");
}

pub(crate) fn random(buffer: &mut [u8]) {
    let host = host();
    let seed = host.as_ref().and_then(|host| host.random.get());
    let mut state = granted(seed, "randomness", "random_seed");
    for byte in buffer {
        // A linear congruential generator with Knuth's constants; its high bits are the most random.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = state.to_be_bytes()[0];
    }
    if let Some(host) = host {
        host.random.set(Some(state));
    }
}

pub(crate) fn clock(kind: ClockKind) -> i64 {
    let time = host().and_then(|host| host.clock.get());
    let (wall, monotonic) = granted(time, "a clock", "clock");
    let time: Duration = match kind {
        ClockKind::Wall => wall,
        ClockKind::Monotonic => monotonic,
    };
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
