//! What a guest may ask its host: constants, dependencies, the log, randomness and clocks.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use wpc_abi::GuestError;
use wpc_abi::names::ClockKind;
use wpc_abi::reply::Reply;

pub use wpc_abi::names::LogLevel as Level;

/// How much room an answer of the host is given at first. Most constants and small replies fit,
/// and a larger one costs one more crossing.
const FIRST_ROOM: usize = 512;

#[cfg(target_arch = "wasm32")]
mod import {
    #[link(wasm_import_module = "wpc")]
    unsafe extern "C" {
        pub(super) fn wpc_constant(
            name: *const u8,
            len: usize,
            room: *mut u8,
            capacity: usize,
        ) -> i64;
        pub(super) fn wpc_take(room: *mut u8, capacity: usize) -> i64;
        pub(super) fn wpc_log(level: i32, text: *const u8, len: usize);
        pub(super) fn wpc_panic(text: *const u8, len: usize);
        pub(super) fn wpc_random(room: *mut u8, len: usize);
        pub(super) fn wpc_clock(kind: i32) -> i64;
    }
}

/// The value of the constant `name`.
///
/// [`constant!`](crate::constant!) is the better way for a name known when the guest is written.
///
/// # Errors
///
/// `ConstantNotDefined` where the host has none of the name; `DecodeError` where its value is of
/// another type.
pub fn constant<T: DeserializeOwned>(name: &str) -> Result<T, GuestError> {
    let bytes = constant_bytes(name)?;
    decode(&bytes).map_err(|error| {
        GuestError::new(
            "DecodeError",
            format!("constant `{name}` is no `{}`: {error}", std::any::type_name::<T>()),
        )
    })
}

#[cfg(target_arch = "wasm32")]
fn constant_bytes(name: &str) -> Result<Vec<u8>, GuestError> {
    let mut room = vec![0; FIRST_ROOM];
    loop {
        // SAFETY: both places are the slices' own.
        let len = unsafe {
            import::wpc_constant(name.as_ptr(), name.len(), room.as_mut_ptr(), room.len())
        };
        let Ok(len) = usize::try_from(len) else {
            return Err(GuestError::new(
                "ConstantNotDefined",
                format!("constant `{name}` is not defined"),
            ));
        };
        let fits = len <= room.len();
        room.resize(len, 0);
        if fits {
            return Ok(room);
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn constant_bytes(name: &str) -> Result<Vec<u8>, GuestError> {
    outside_a_sandbox(&format!("constant `{name}`"))
}

/// A value that is all there is in `bytes`.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls a dependency's function through `import`, which passes the arguments and gives room for
/// the reply.
///
/// # Errors
///
/// The function's own error; `BadArguments` where it could not decode the arguments, `DecodeError`
/// where its reply is of another type.
pub fn call_dependency<T: DeserializeOwned>(
    alias: &str,
    function: &str,
    arguments: &impl Serialize,
    import: impl FnOnce(&[u8], &mut [u8]) -> i64,
) -> Result<T, GuestError> {
    let failed = |name: &str, why: &dyn std::fmt::Display| {
        GuestError::new(name, format!("function `{alias}::{function}`: {why}"))
    };
    let arguments =
        postcard::to_allocvec(arguments).map_err(|error| failed("EncodeError", &error))?;
    let mut room = vec![0; FIRST_ROOM];
    let len = import(&arguments, &mut room);
    let len = usize::try_from(len).map_err(|_| failed("DecodeError", &"the host gave no reply"))?;
    let fits = len <= room.len();
    room.resize(len, 0);
    if !fits {
        take(&mut room);
    }
    match Reply::split(&room) {
        Some(Reply::Value(value)) => decode(value).map_err(|error| failed("DecodeError", &error)),
        Some(Reply::Error(error)) => {
            Err(postcard::from_bytes(error).map_err(|error| failed("DecodeError", &error))?)
        }
        Some(Reply::BadArguments(why)) => Err(failed(
            "BadArguments",
            &postcard::from_bytes::<&str>(why).unwrap_or("its arguments did not decode"),
        )),
        None => Err(failed("DecodeError", &"the reply has no kind")),
    }
}

fn take(room: &mut [u8]) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the place is the slice's own.
    unsafe {
        import::wpc_take(room.as_mut_ptr(), room.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = room;
}

/// Writes a line to the host's log: it reaches the host's `tracing` and its events. What is beyond
/// 16 KiB is cut off.
pub fn log(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the place is the text's own.
    unsafe {
        import::wpc_log(level as i32, text.as_ptr(), text.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {text}");
}

/// Random bytes, fit for keys; needs the capability `random`.
///
/// ```no_run
/// let id: [u8; 16] = wpc::random();
/// ```
///
/// # Panics
///
/// Outside a sandbox.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    #[cfg(target_arch = "wasm32")]
    {
        let mut room = [0; N];
        // SAFETY: the place is the array's own.
        unsafe { import::wpc_random(room.as_mut_ptr(), N) };
        room
    }
    #[cfg(not(target_arch = "wasm32"))]
    panic!("`wpc::random` needs a sandbox that was granted randomness")
}

/// The time since 1970-01-01 00:00 UTC; needs the capability `clock`.
///
/// # Panics
///
/// Outside a sandbox.
#[must_use]
pub fn wall_clock() -> Duration {
    clock(ClockKind::Wall)
}

/// The time since some fixed moment; never goes backwards. Needs the capability `clock`.
///
/// # Panics
///
/// Outside a sandbox.
#[must_use]
pub fn monotonic_clock() -> Duration {
    clock(ClockKind::Monotonic)
}

fn clock(kind: ClockKind) -> Duration {
    #[cfg(target_arch = "wasm32")]
    {
        // SAFETY: the import takes a plain number.
        let nanos = unsafe { import::wpc_clock(kind as i32) };
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
    #[cfg(not(target_arch = "wasm32"))]
    panic!("the {kind:?} clock needs a sandbox that was granted clocks")
}

/// Makes panics tell the host their message and place before they trap. Called before every first
/// call; once is enough.
#[cfg(target_arch = "wasm32")]
pub(crate) fn tell_of_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.to_string();
            // SAFETY: the place is the text's own.
            unsafe { import::wpc_panic(text.as_ptr(), text.len()) };
        }));
    });
}

/// The error of what only a host can do.
///
/// # Errors
///
/// Always.
pub fn outside_a_sandbox<T>(what: &str) -> Result<T, GuestError> {
    Err(GuestError::new("OutsideSandbox", format!("{what} can be reached inside a sandbox only")))
}
