//! The host's functions for guests: constants, dependencies, other functions, the log, randomness and clocks.

use crate::{import, text};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wpc_abi::GuestError;
use wpc_abi::names::ClockKind;
use wpc_abi::reply::{CONSTANT_NOT_DEFINED, Reply};

#[doc(inline)]
pub use wpc_abi::names::LogLevel as Level;

/// The initial capacity of a buffer for the host's answer, in bytes. Most constants and small replies fit; a larger one
/// needs a second call of the host.
const FIRST_CAPACITY: usize = 512;

/// Reads the constant `name`.
///
/// Prefer [`constant!`](crate::constant!) for a name that is known at compile time. Use this function for a name that is
/// computed at run time and for a constant that may be missing. The module does not record the type, so the host cannot
/// check it: a constant of another integer type may decode to a different value.
///
/// ```
/// fn greeting(language: &str) -> String {
///     wpc::constant(&format!("GREETING_{language}")).unwrap_or_else(|_| "Hello".to_owned())
/// }
///
/// let _host = wpc::testing::Host::new().constant("GREETING_fr", "Bonjour").install();
/// assert_eq!(greeting("fr"), "Bonjour");
/// assert_eq!(greeting("la"), "Hello");
/// ```
///
/// # Errors
///
/// `ConstantNotDefined` if the host does not define the constant; `DecodeError` if its value does not decode.
pub fn constant<T: DeserializeOwned>(name: &str) -> Result<T, GuestError> {
    let bytes = constant_bytes(name)?;
    decode(&bytes).map_err(|why| constant_decode_error(name, core::any::type_name::<T>(), &why))
}

#[cold]
fn constant_decode_error(name: &str, ty: &str, why: &str) -> GuestError {
    let message = text::joined(&["failed to decode constant `", name, "` as `", ty, "`: ", why]);
    #[cfg(not(target_arch = "wasm32"))]
    let message = import::with_defined_type(name, message);
    GuestError::new("DecodeError", message)
}

fn constant_bytes(name: &str) -> Result<Vec<u8>, GuestError> {
    #[cfg(not(target_arch = "wasm32"))]
    import::require_host(&text::joined(&["constant `", name, "`"]))?;
    let mut buffer = vec![0; FIRST_CAPACITY];
    loop {
        let len = import::constant(name, &mut buffer);
        let Ok(len) = usize::try_from(len) else {
            return Err(GuestError::new(
                CONSTANT_NOT_DEFINED,
                text::joined(&["constant `", name, "` is not defined"]),
            ));
        };
        let fits = len <= buffer.len();
        buffer.resize(len, 0);
        if fits {
            return Ok(buffer);
        }
    }
}

/// Decodes a value from all of `bytes`.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(text::trailing(rest.len())),
        Err(error) => Err(text::decode_reason(&error).into()),
    }
}

/// An imported function, as errors name it. A function of the pool has no alias.
#[derive(Debug, Clone, Copy)]
struct Imported<'a> {
    alias: &'a str,
    function: &'a str,
}

impl Imported<'_> {
    #[cold]
    fn failed(self, name: &str, why: &str) -> GuestError {
        let Self { alias, function } = self;
        let colons = if alias.is_empty() { "" } else { "::" };
        GuestError::new(name, text::joined(&["function `", alias, colons, function, "`: ", why]))
    }

    /// Calls the function with encoded arguments and returns its encoded reply.
    fn exchange(
        self,
        arguments: &[u8],
        import: &mut dyn FnMut(&[u8], &mut [u8]) -> i64,
    ) -> Result<Vec<u8>, GuestError> {
        let mut buffer = vec![0; FIRST_CAPACITY];
        let len = usize::try_from(import(arguments, &mut buffer))
            .map_err(|_| self.failed("DecodeError", "the host returned no reply"))?;
        let fits = len <= buffer.len();
        buffer.resize(len, 0);
        if !fits {
            import::take(&mut buffer);
        }
        match Reply::split(&buffer) {
            Some(Reply::Value(_)) => Ok(buffer),
            Some(Reply::Error(error)) => Err(GuestError::decode(error)
                .unwrap_or_else(|why| self.failed("DecodeError", text::decode_reason(&why)))),
            Some(Reply::BadArguments(why)) => Err(self.failed(
                "BadArguments",
                postcard::from_bytes(why).unwrap_or("failed to decode the arguments"),
            )),
            // The host does not return references: it writes the value into the buffer.
            Some(Reply::Elsewhere { .. }) | None => {
                Err(self.failed("DecodeError", "the reply has an unknown kind"))
            }
        }
    }
}

/// Calls an imported function by `import`, which takes the arguments and a buffer for the reply.
///
/// # Errors
///
/// The function's own error; `BadArguments` if it could not decode the arguments; `DecodeError` if its reply does not
/// decode.
pub fn call_dependency<T: DeserializeOwned>(
    alias: &str,
    function: &str,
    arguments: &impl Serialize,
    mut import: impl FnMut(&[u8], &mut [u8]) -> i64,
) -> Result<T, GuestError> {
    let imported = Imported { alias, function };
    #[cfg(not(target_arch = "wasm32"))]
    {
        let colons = if alias.is_empty() { "" } else { "::" };
        import::require_host(&text::joined(&["function `", alias, colons, function, "`"]))?;
    }
    let arguments = postcard::to_allocvec(arguments)
        .map_err(|error| imported.failed("EncodeError", text::encode_reason(&error)))?;
    let reply = imported.exchange(&arguments, &mut import)?;
    // `exchange` checked that the first byte is the kind of a value.
    decode(&reply[1..]).map_err(|why| imported.failed("DecodeError", &why))
}

/// Calls the function `name` of the pool, which runs in its own sandbox with its own limits. `arguments` is a tuple:
/// `&(a, b)`, `&(a,)`, `&()`.
///
/// Prefer [`functions!`](crate::functions!) for a name that is known at compile time. Use this function for a name that is
/// computed at run time. The module does not record the types, so the host cannot check them: an integer of another type
/// may decode to a different value.
///
/// ```
/// fn run(plugin: &str, text: &str) -> Result<String, wpc::GuestError> {
///     wpc::call(&format!("plugin_{plugin}"), &(text,))
/// }
///
/// let _host = wpc::testing::Host::new()
///     .function("plugin_upper", |(text,): (String,)| Ok(text.to_uppercase()))
///     .install();
/// assert_eq!(run("upper", "tea").unwrap(), "TEA");
/// assert_eq!(run("lower", "tea").unwrap_err().name, "NotGranted");
/// ```
///
/// # Errors
///
/// The error that the function returned, with its variant and its payload; `BadArguments` or `DecodeError` if the types
/// differ; `NotGranted` if the definition was not granted the function. If the call failed otherwise, the error is named
/// after the reason: `FunctionNotDefined`, `Timeout`, `Trap`, `CircuitOpen`, `Saturated`, `RecursiveCall` if the function is
/// one of the callers, `CallDepth` if too many calls are nested, and so on.
pub fn call<R: DeserializeOwned>(name: &str, arguments: &impl Serialize) -> Result<R, GuestError> {
    call_dependency("", name, arguments, |arguments, buffer| import::call(name, arguments, buffer))
}

/// Writes a line to the host's log, which forwards it to `tracing` and to its events. The line is truncated to 16 KiB.
///
/// The macros [`error!`](crate::error!), [`warn!`](crate::warn!), [`info!`](crate::info!),
/// [`debug!`](crate::debug!) and [`trace!`](crate::trace!) format the line. Use this function for an existing string or a
/// level that is chosen at run time.
///
/// ```
/// use wpc::Level;
///
/// fn notify(text: &str, urgent: bool) {
///     wpc::log(if urgent { Level::Warn } else { Level::Debug }, text);
/// }
///
/// let host = wpc::testing::Host::new().install();
/// notify("the store is full", true);
/// assert_eq!(host.logs(), [(Level::Warn, "the store is full".to_owned())]);
/// ```
pub fn log(level: Level, text: &str) {
    import::log(level, text);
}

/// Called by the log macros. A text without arguments is not copied.
pub fn log_formatted(level: Level, arguments: fmt::Arguments<'_>) {
    match arguments.as_str() {
        Some(text) => log(level, text),
        None => log(level, &alloc::fmt::format(arguments)),
    }
}

/// Returns random bytes that are suitable for keys; needs the capability `random`.
///
/// ```
/// fn token() -> u64 {
///     u64::from_le_bytes(wpc::random())
/// }
///
/// let _host = wpc::testing::Host::new().random_seed(1).install();
/// assert_ne!(token(), token());
/// ```
///
/// # Panics
///
/// Outside a sandbox, unless a test sets a [seed](crate::testing::Host::random_seed).
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    import::random(&mut bytes);
    bytes
}

/// Returns the time since 1970-01-01 00:00 UTC; needs the capability `clock`.
///
/// ```
/// use std::time::Duration;
///
/// fn is_past(seconds_since_1970: u64) -> bool {
///     wpc::wall_clock() > Duration::from_secs(seconds_since_1970)
/// }
///
/// let _host = wpc::testing::Host::new().clock(Duration::from_secs(1000)).install();
/// assert!(is_past(999) && !is_past(1000));
/// ```
///
/// # Panics
///
/// Outside a sandbox, unless a test sets a [clock](crate::testing::Host::clock).
#[must_use]
pub fn wall_clock() -> Duration {
    clock(ClockKind::Wall)
}

/// Returns the time since a fixed moment, which never goes backwards; needs the capability `clock`.
///
/// ```
/// use std::time::Duration;
///
/// fn timed(work: impl FnOnce()) -> Duration {
///     let start = wpc::monotonic_clock();
///     work();
///     wpc::monotonic_clock() - start
/// }
///
/// let host = wpc::testing::Host::new().clock(Duration::ZERO).install();
/// let took = timed(|| host.advance_clock(Duration::from_secs(3)));
/// assert_eq!(took, Duration::from_secs(3));
/// ```
///
/// # Panics
///
/// Outside a sandbox, unless a test sets a [clock](crate::testing::Host::clock).
#[must_use]
pub fn monotonic_clock() -> Duration {
    clock(ClockKind::Monotonic)
}

fn clock(kind: ClockKind) -> Duration {
    Duration::from_nanos(u64::try_from(import::clock(kind)).unwrap_or(0))
}
