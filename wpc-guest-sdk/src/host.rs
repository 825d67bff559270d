//! What a guest may ask its host: constants, dependencies, the log, randomness and clocks.

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

/// How much room an answer of the host is given at first. Most constants and small replies fit,
/// and a larger one costs one more crossing.
const FIRST_ROOM: usize = 512;

/// The value of the constant `name`.
///
/// [`constant!`](crate::constant!) is the better way for a name known when the guest is written.
/// This one is for a name made at run time, and for a constant that may be missing. The module does not record its
/// type, so the host cannot check it: a constant of another integer type may decode to a different value.
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
/// `ConstantNotDefined` where the host has none of the name; `DecodeError` where its value is of
/// another type.
pub fn constant<T: DeserializeOwned>(name: &str) -> Result<T, GuestError> {
    let bytes = constant_bytes(name)?;
    decode(&bytes).map_err(|why| no_such_constant(name, core::any::type_name::<T>(), &why))
}

#[cold]
fn no_such_constant(name: &str, ty: &str, why: &str) -> GuestError {
    GuestError::new("DecodeError", text::joined(&["constant `", name, "` is no `", ty, "`: ", why]))
}

fn constant_bytes(name: &str) -> Result<Vec<u8>, GuestError> {
    #[cfg(not(target_arch = "wasm32"))]
    import::require_host(&text::joined(&["constant `", name, "`"]))?;
    let mut room = vec![0; FIRST_ROOM];
    loop {
        let len = import::constant(name, &mut room);
        let Ok(len) = usize::try_from(len) else {
            return Err(GuestError::new(
                CONSTANT_NOT_DEFINED,
                text::joined(&["constant `", name, "` is not defined"]),
            ));
        };
        let fits = len <= room.len();
        room.resize(len, 0);
        if fits {
            return Ok(room);
        }
    }
}

/// A value that is all there is in `bytes`.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(text::trailing(rest.len())),
        Err(error) => Err(text::decode_reason(&error).into()),
    }
}

/// A function elsewhere, as errors name it.
#[derive(Debug, Clone, Copy)]
struct Elsewhere<'a> {
    alias: &'a str,
    function: &'a str,
}

impl Elsewhere<'_> {
    #[cold]
    fn failed(self, name: &str, why: &str) -> GuestError {
        let Self { alias, function } = self;
        GuestError::new(name, text::joined(&["function `", alias, "::", function, "`: ", why]))
    }

    /// Passes the arguments, and gives the bytes of the value that comes back.
    fn exchange(
        self,
        arguments: &[u8],
        import: &mut dyn FnMut(&[u8], &mut [u8]) -> i64,
    ) -> Result<Vec<u8>, GuestError> {
        let mut room = vec![0; FIRST_ROOM];
        let len = usize::try_from(import(arguments, &mut room))
            .map_err(|_| self.failed("DecodeError", "the host gave no reply"))?;
        let fits = len <= room.len();
        room.resize(len, 0);
        if !fits {
            import::take(&mut room);
        }
        match Reply::split(&room) {
            Some(Reply::Value(_)) => Ok(room),
            Some(Reply::Error(error)) => {
                Err(decode(error).unwrap_or_else(|why| self.failed("DecodeError", &why)))
            }
            Some(Reply::BadArguments(why)) => Err(self.failed(
                "BadArguments",
                postcard::from_bytes(why).unwrap_or("its arguments did not decode"),
            )),
            // The host tells no places: it writes values into the room.
            Some(Reply::Elsewhere { .. }) | None => {
                Err(self.failed("DecodeError", "the reply has no kind"))
            }
        }
    }
}

/// Calls a function elsewhere through `import`, which passes the arguments and gives room for the
/// reply.
///
/// # Errors
///
/// The function's own error; `BadArguments` where it could not decode the arguments, `DecodeError`
/// where its reply is of another type.
pub fn call_dependency<T: DeserializeOwned>(
    alias: &str,
    function: &str,
    arguments: &impl Serialize,
    mut import: impl FnMut(&[u8], &mut [u8]) -> i64,
) -> Result<T, GuestError> {
    let elsewhere = Elsewhere { alias, function };
    #[cfg(not(target_arch = "wasm32"))]
    import::require_host(&text::joined(&["function `", alias, "::", function, "`"]))?;
    let arguments = postcard::to_allocvec(arguments)
        .map_err(|error| elsewhere.failed("EncodeError", text::encode_reason(&error)))?;
    let reply = elsewhere.exchange(&arguments, &mut import)?;
    // The first byte told that a value follows.
    decode(&reply[1..]).map_err(|why| elsewhere.failed("DecodeError", &why))
}

/// Writes a line to the host's log: it reaches the host's `tracing` and its events. What is beyond
/// 16 KiB is cut off.
///
/// The macros [`error!`](crate::error!), [`warn!`](crate::warn!), [`info!`](crate::info!),
/// [`debug!`](crate::debug!) and [`trace!`](crate::trace!) format the line; this is for a text that
/// is there, or a level that is chosen at run time.
///
/// ```
/// use wpc::Level;
///
/// fn told(text: &str, urgent: bool) {
///     wpc::log(if urgent { Level::Warn } else { Level::Debug }, text);
/// }
///
/// let host = wpc::testing::Host::new().install();
/// told("the store is full", true);
/// assert_eq!(host.logs(), [(Level::Warn, "the store is full".to_owned())]);
/// ```
pub fn log(level: Level, text: &str) {
    import::log(level, text);
}

/// What the log macros call. A text without arguments is not copied.
pub fn log_formatted(level: Level, arguments: fmt::Arguments<'_>) {
    match arguments.as_str() {
        Some(text) => log(level, text),
        None => log(level, &alloc::fmt::format(arguments)),
    }
}

/// Random bytes, fit for keys; needs the capability `random`.
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
/// Outside a sandbox, unless a test gives a [seed](crate::testing::Host::random_seed).
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut room = [0; N];
    import::random(&mut room);
    room
}

/// The time since 1970-01-01 00:00 UTC; needs the capability `clock`.
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
/// Outside a sandbox, unless a test gives a [clock](crate::testing::Host::clock).
#[must_use]
pub fn wall_clock() -> Duration {
    clock(ClockKind::Wall)
}

/// The time since some fixed moment; never goes backwards. Needs the capability `clock`.
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
/// Outside a sandbox, unless a test gives a [clock](crate::testing::Host::clock).
#[must_use]
pub fn monotonic_clock() -> Duration {
    clock(ClockKind::Monotonic)
}

fn clock(kind: ClockKind) -> Duration {
    Duration::from_nanos(u64::try_from(import::clock(kind)).unwrap_or(0))
}
