//! Write WebAssembly functions for wpc in Rust.
//!
//! A guest is a `cdylib` for `wasm32-unknown-unknown` whose functions carry one attribute:
//!
//! ```
//! /// Greets in the words of the constant `GREETING`.
//! #[wpc::function]
//! fn greet(name: &str) -> Result<String, wpc::GuestError> {
//!     let greeting: String = wpc::constant!("GREETING")?;
//!     wpc::info!("greeting {name}");
//!     Ok(format!("{greeting}, {name}"))
//! }
//! ```
//!
//! # Words
//!
//! * A *function* is what the host calls by name. Its arguments and its result are any serde types;
//!   arguments may borrow (`&str`, `&[u8]`) from the buffer the host filled.
//! * A *guest error* is a failure returned as a value: the `E` of a `Result<T, E>`, which needs
//!   [`Display`](std::fmt::Display) only. The sandbox keeps its state.
//! * A *panic* ends the sandbox; the caller reads its message and its place.
//! * A *constant* is a named value of the host: [`constant!`], or [`constant()`] for a name made at
//!   run time.
//! * A *dependency* is another module, reached by its alias: [`import!`].
//! * A *capability* is something the host has to grant: [`random`], [`wall_clock`],
//!   [`monotonic_clock`], and functions of its own: [`host!`].
//!
//! Types that derive [`Schema`] beside serde's traits tell the host what they look like, so that a
//! typed handle there is checked once, when it is made. Everything else works without.
//!
//! # WASI
//!
//! `wasm32-wasip1` works as a target too, where the definition is granted the pieces that the standard
//! library imports. An export is a symbol like any other there: a function named as one of the C
//! library's, `read`, `write` or `exit`, takes that one's place, and what calls it breaks.
//!
//! # Outside a sandbox
//!
//! A guest crate compiles and tests natively too. What needs a host fails there with a
//! [`GuestError`] named `OutsideSandbox`; what cannot return one panics; log lines go to standard
//! error.

mod entry;
mod failure;
mod host;

pub use host::{Level, constant, log, monotonic_clock, random, wall_clock};
pub use postcard_schema::Schema;
pub use wpc_abi::GuestError;

/// Makes a function callable through the pool.
///
/// The export has the function's name, or another one: `#[wpc::function(name = "other")]`. The
/// function itself stays as it is and can be called and tested like any other.
///
/// Arguments are at most twelve, each of a type that serde can deserialize; the result's type can be
/// serialized. A result type named `Result` tells that its error becomes a guest error: its
/// name is the error type's, its message is what it displays, its stack tells the function's place
/// and what caused the error.
///
/// ```
/// #[derive(Debug)]
/// struct DivisionByZero;
/// impl std::fmt::Display for DivisionByZero {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("nothing can be divided by zero")
///     }
/// }
///
/// #[wpc::function]
/// fn divide(a: i64, b: i64) -> Result<i64, DivisionByZero> {
///     a.checked_div(b).ok_or(DivisionByZero)
/// }
/// assert_eq!(divide(6, 3).unwrap(), 2);
/// ```
pub use wpc_guest_macros::function;

/// Declares functions of dependencies, which the host links by their alias.
///
/// Each declaration becomes a function of a module named like the alias. It returns a
/// `Result<T, GuestError>`, since the other function may return an error.
///
/// ```
/// wpc::import! {
///     mod path_dep {
///         fn basename(path: &str) -> String;
///     }
/// }
///
/// #[wpc::function]
/// fn shorten(path: &str) -> Result<String, wpc::GuestError> {
///     path_dep::basename(path)
/// }
/// ```
pub use wpc_guest_macros::import;

/// Makes a function the sandbox's init hook: it runs once before the first call, within that call's
/// deadline and limits. Where it returns an error the sandbox is not made, and the call fails with
/// its reason. It takes no arguments and returns `()` or a `Result`; a module has one at most.
///
/// ```
/// #[wpc::init]
/// fn prepare() -> Result<(), wpc::GuestError> {
///     let path: String = wpc::constant!("TABLE")?;
///     // Build what every call will use.
///     Ok(())
/// }
/// ```
pub use wpc_guest_macros::init;

/// Declares functions of the host, which the embedder defined and the definition was granted.
///
/// Each declaration becomes a function that returns a `Result<T, GuestError>`: the host's function
/// may fail.
///
/// ```
/// wpc::host! {
///     /// What the store has under `key`.
///     fn lookup(key: &str) -> Option<String>;
/// }
///
/// #[wpc::function]
/// fn known(key: &str) -> Result<bool, wpc::GuestError> {
///     Ok(lookup(key)?.is_some())
/// }
/// ```
pub use wpc_guest_macros::host;

/// The value of a constant the module cannot do without.
///
/// The name is told in the module, so that the host refuses calls while the constant is not
/// defined. [`constant()`] is for names that are made at run time or that may be missing.
///
/// ```
/// fn limit() -> Result<u32, wpc::GuestError> {
///     wpc::constant!("LIMIT")
/// }
/// ```
#[macro_export]
macro_rules! constant {
    ($name:literal) => {{
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const RECORD: $crate::__private::Record<'static> =
                $crate::__private::Record::Constant { name: $name };
            #[used]
            #[unsafe(link_section = "wpc")]
            static BYTES: [u8; RECORD.encoded_len()] = RECORD.encode();
        };
        const _: () = assert!($crate::__private::is_valid_name($name), "a constant's name is a letter or underscore, then letters, digits or underscores, at most 255 bytes");
        $crate::constant($name)
    }};
}

/// Logs at [`Level::Error`], with the arguments of `format!`.
#[macro_export]
macro_rules! error {
    ($($arguments:tt)+) => { $crate::log($crate::Level::Error, &::std::format!($($arguments)+)) };
}

/// Logs at [`Level::Warn`], with the arguments of `format!`.
#[macro_export]
macro_rules! warn {
    ($($arguments:tt)+) => { $crate::log($crate::Level::Warn, &::std::format!($($arguments)+)) };
}

/// Logs at [`Level::Info`], with the arguments of `format!`.
#[macro_export]
macro_rules! info {
    ($($arguments:tt)+) => { $crate::log($crate::Level::Info, &::std::format!($($arguments)+)) };
}

/// Logs at [`Level::Debug`], with the arguments of `format!`.
#[macro_export]
macro_rules! debug {
    ($($arguments:tt)+) => { $crate::log($crate::Level::Debug, &::std::format!($($arguments)+)) };
}

/// Logs at [`Level::Trace`], with the arguments of `format!`.
#[macro_export]
macro_rules! trace {
    ($($arguments:tt)+) => { $crate::log($crate::Level::Trace, &::std::format!($($arguments)+)) };
}

/// What the macros' expansions call; no part of the public surface.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::{
        NoSchema, NotAResult, Probe, arguments, decode, is_argument, is_result, reply_error,
        reply_value,
    };
    pub use crate::failure::{Caught, ChainOfAny, ChainOfError, Failure, is_failure};
    pub use crate::host::{call_dependency, outside_a_sandbox};
    pub use wpc_abi::names::is_valid as is_valid_name;
    pub use wpc_abi::section::Record;
}
