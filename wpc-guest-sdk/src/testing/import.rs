//! What `crate::import` has in a sandbox, answered by the thread's host.

use super::{INSTALLED, State};
use crate::text::joined;
use alloc::rc::Rc;
use core::time::Duration;
use std::borrow::ToOwned as _;
use std::eprintln;
use std::string::String;
use wpc_abi::GuestError;
use wpc_abi::names::{ClockKind, LogLevel, NOT_DEFINED, TYPED_DEPENDENCY_PREFIX};

/// The host is not borrowed while it serves: a fake may log, or install another one.
fn host() -> Option<Rc<State>> {
    INSTALLED.with_borrow(|installed| installed.last().cloned())
}

/// What a capability that is not there means: a sandbox would not have been made.
fn granted<T>(granted: Option<T>, what: &str, by: &str) -> T {
    match granted {
        Some(granted) => granted,
        None if host().is_some() => {
            panic!("the test's host grants no {what}; add `.{by}(…)` to it")
        }
        None => panic!(
            "{what} needs a sandbox that was granted it; in a test, `wpc::testing::Host::new().{by}(…)`"
        ),
    }
}

/// That there is a host.
///
/// # Errors
///
/// `OutsideSandbox`, naming what needs one.
pub(crate) fn require_host(what: &str) -> Result<(), GuestError> {
    if host().is_some() {
        return Ok(());
    }
    let why =
        " can be reached inside a sandbox only; in a test, `wpc::testing::Host` takes its place";
    Err(GuestError::new("OutsideSandbox", joined(&[what, why])))
}

pub(crate) fn constant(name: &str, room: &mut [u8]) -> i64 {
    let host = host();
    let value = host.as_ref().and_then(|host| host.constants.get(name));
    value.map_or(NOT_DEFINED, |value| answer(value, room))
}

/// Calls the fake of what `import!` or `host!` declared.
pub fn faked(module: &str, function: &str, arguments: &[u8], room: &mut [u8]) -> i64 {
    let host = granted(host(), "a function of another module", "dependency");
    let Some(fake) = host.functions.get(&(module.to_owned(), function.to_owned())) else {
        let missing = match module.strip_prefix(TYPED_DEPENDENCY_PREFIX) {
            Some(alias) => joined(&["dependency(\"", alias, "\", \"", function, "\", …)"]),
            None => joined(&["host_function(\"", function, "\", …)"]),
        };
        panic!("the test's host has no function `{function}` of that kind; add `.{missing}` to it");
    };
    let reply = fake(arguments);
    let len = answer(&reply, room);
    if reply.len() > room.len() {
        host.kept.replace(reply);
    }
    len
}

pub(crate) fn take(room: &mut [u8]) {
    let kept = host().map(|host| host.kept.take()).unwrap_or_default();
    room.copy_from_slice(&kept);
}

/// An answer into a room: all of it, or its length alone.
fn answer(bytes: &[u8], room: &mut [u8]) -> i64 {
    if let Some(place) = room.get_mut(..bytes.len()) {
        place.copy_from_slice(bytes);
    }
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

pub(crate) fn log(level: LogLevel, text: &str) {
    if let Some(host) = host() {
        host.logs.borrow_mut().push((level, String::from(text)));
    }
    // The test harness shows it where the test fails.
    eprintln!("{level:?}: {text}");
}

pub(crate) fn random(room: &mut [u8]) {
    let host = host();
    let seed = host.as_ref().and_then(|host| host.random.get());
    let mut state = granted(seed, "randomness", "random_seed");
    for place in room {
        // A linear congruential generator with Knuth's numbers; its high bits are the better ones.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *place = state.to_be_bytes()[0];
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
