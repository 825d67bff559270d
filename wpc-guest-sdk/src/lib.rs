//! Write WebAssembly functions for wpc in Rust.
//!
//! A guest is a `cdylib` for `wasm32-unknown-unknown` whose functions carry one attribute:
//!
//! ```
//! /// Greets in the words of the constant `GREETING`.
//! #[wpc::function]
//! fn greet(name: &str) -> Result<String, wpc::GuestError> {
//!     let greeting = wpc::constant!("GREETING": String)?;
//!     wpc::info!("greeting {name}");
//!     Ok(format!("{greeting}, {name}"))
//! }
//! ```
//!
//! # Words
//!
//! * A *function* is what the host calls by name. Its arguments and its result are any serde types;
//!   arguments may borrow (`&str`, `&[u8]`) from the buffer the host filled. A `String`, a `&str`, a `Vec<u8>` or
//!   a `&[u8]` that is the whole result stays where it is: the host copies it from there.
//! * A *guest error* is a failure returned as a value: the `E` of a `Result<T, E>`, which needs
//!   [`Display`](core::fmt::Display) only; [`macro@Error`] lets callers tell its variants apart and read its fields. The
//!   sandbox keeps its state.
//! * A *panic* ends the sandbox; the caller reads its message and its place.
//! * A *constant* is a named value of the host: [`constant!`], or [`constant()`] for a name made at
//!   run time.
//! * A *dependency* is another module, reached by its alias: [`import!`].
//! * A *capability* is something the host has to grant: [`random`], [`wall_clock`],
//!   [`monotonic_clock`], and functions of its own: [`host!`].
//!
//! # Types of your own
//!
//! Whatever derives serde's traits can be an argument or a result. A type that derives [`Schema`] too
//! tells the host what it looks like: the host lists it, checks a typed handle once, when it is made,
//! and takes it as JSON. Everything else works without.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, wpc::Schema)]
//! struct Order {
//!     item: String,
//!     count: u32,
//! }
//!
//! #[derive(Serialize, Deserialize, wpc::Schema)]
//! # #[derive(Debug, PartialEq)]
//! enum Answer {
//!     Accepted { total: u64 },
//!     Refused(String),
//! }
//!
//! #[wpc::function]
//! fn order(orders: Vec<Order>) -> Answer {
//!     let mut total = 0;
//!     for Order { item, count } in orders {
//!         match item.as_str() {
//!             "tea" => total += u64::from(count) * 3,
//!             _ => return Answer::Refused(format!("there is no {item}")),
//!         }
//!     }
//!     Answer::Accepted { total }
//! }
//! # let tea = Order { item: "tea".to_owned(), count: 2 };
//! # assert_eq!(order(vec![tea]), Answer::Accepted { total: 6 });
//! ```
//!
//! # Testing
//!
//! A guest crate compiles natively too, and its functions stay ordinary ones: `cargo test` calls them.
//! What they ask of their host is answered by [`testing::Host`]:
//!
//! ```
//! # #[wpc::function]
//! # fn greet(name: &str) -> Result<String, wpc::GuestError> {
//! #     let greeting = wpc::constant!("GREETING": String)?;
//! #     wpc::info!("greeting {name}");
//! #     Ok(format!("{greeting}, {name}"))
//! # }
//! let host = wpc::testing::Host::new().constant("GREETING", "Hello").install();
//! assert_eq!(greet("Ada").unwrap(), "Hello, Ada");
//! assert_eq!(host.logs(), [(wpc::Level::Info, "greeting Ada".to_owned())]);
//! ```
//!
//! Without one, what needs a host fails with a [`GuestError`] named `OutsideSandbox`; what cannot
//! return one panics; log lines go to standard error.
//!
//! # Without the standard library
//!
//! The feature `std` is on by default. Without it the crate needs `alloc` alone, and the author gives
//! what `std` gave: an allocator, of a crate such as `dlmalloc` with its feature `global`, and a panic
//! handler, which [`panic_handler!`] makes. Both are of wasm only, so that tests keep running natively:
//!
//! ```toml
//! [dependencies]
//! wpc-guest-sdk = { version = "0.1", default-features = false }
//! dlmalloc = { version = "0.2", features = ["global"] }
//! ```
//!
//! ```
//! #![cfg_attr(target_arch = "wasm32", no_std)]
//! extern crate alloc;
//!
//! use alloc::string::String;
//!
//! #[cfg(target_arch = "wasm32")]
//! #[global_allocator]
//! static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
//!
//! wpc::panic_handler!();
//!
//! #[wpc::function]
//! fn shout(text: &str) -> String {
//!     text.to_ascii_uppercase()
//! }
//! # fn main() {}
//! ```
//!
//! Everything of this crate is there in both. A guest that links `std` through another crate keeps the
//! feature: `std` has a panic handler, and without the feature nobody would tell of panics.
//!
//! # Size
//!
//! What small guests weigh, in KB of 1000 bytes, with `lto`, one codegen unit, `panic = "abort"` and
//! `strip`. First the whole file, then the SDK's share: what it is larger than a twin that keeps the
//! contract by hand. The rest is the allocator and the standard library's panics.
//!
//! | `opt-level` | `3` | `"s"` | `"z"` |
//! |---|---|---|---|
//! | `fn nothing()` | 17.5, 8.9 | 16.6, 8.7 | 16.4, 8.5 |
//! | `fn echo(text: &str) -> String` | 19.1, 6.5 | 18.3, 7.1 | 17.7, 6.6 |
//! | a struct to a struct, with `Schema` | 21.9, 7.8 | 20.1, 6.4 | 20.1, 5.9 |
//! | `echo` without the standard library | 19.0 | 15.3 | 14.0 |
//!
//! Measured with rustc 1.95.0 on 2026-11-25. The sources are `fixtures/guests/size_*`,
//! `cargo xtask sizes` measures anew, and a test fails where a share reaches 10 KB. What a guest formats
//! itself comes on top: a `format!` with numbers or a log line with arguments takes a few KB once.
//!
//! # WASI
//!
//! `wasm32-wasip1` works as a target too, where the definition is granted the pieces that the standard
//! library imports.
//!
//! # Features
//!
//! * `std`, on by default: panics are told by a hook, which a guest need not make, and `HashMap` and
//!   its like may be arguments and results.
#![no_std]

extern crate alloc;
// Natively there are tests, whatever the feature says.
#[cfg(any(feature = "std", not(target_arch = "wasm32")))]
extern crate std;

mod entry;
mod failure;
mod host;
#[cfg(target_arch = "wasm32")]
mod import;
#[cfg(target_arch = "wasm32")]
mod one_thread;
mod panics;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod text;

#[cfg(not(target_arch = "wasm32"))]
use testing::import;

pub use host::{Level, constant, log, monotonic_clock, random, wall_clock};
pub use panics::panic;
#[doc(inline)]
pub use wpc_abi::GuestError;

/// Describes how a type is encoded: a trait, and its derive.
///
/// The derive takes structs and enums, also generic ones. It is the trait and the derive of [`wpc_abi::Schema`], where
/// serde's attributes are listed. A crate of types that host and plug-in share derives `wpc_abi::Schema` and does not
/// depend on this crate.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wpc::Schema;
///
/// #[derive(Serialize, Deserialize, Schema)]
/// struct Page<T> {
///     items: Vec<T>,
///     #[serde(rename = "nextPage")]
///     next: Option<u32>,
/// }
///
/// #[wpc::function]
/// fn first() -> Page<String> {
///     Page { items: vec!["tea".to_owned()], next: Some(2) }
/// }
/// # assert_eq!(<Page<String>>::SCHEMA.name, "Page");
/// ```
pub use wpc_abi::describe::Schema;
pub use wpc_schema_macros::GuestSchema as Schema;

/// Makes a function callable through the pool.
///
/// Callers use the function's name, or another one: `#[wpc::function(name = "other")]`. The
/// function itself stays as it is and can be called and tested like any other. Its linker symbol is `wpc:fn:` and
/// the name, so a function may have the name of any other symbol, such as `log`, `read` or `memory`; only names that
/// start with `wpc_` are reserved.
///
/// Arguments are at most twelve, each of a type that serde can deserialize; the result's type can be
/// serialized. The error of a result type named `Result` becomes a guest error: its
/// name is the error type's, its message is what it displays, its stack lists the function's place
/// and what caused the error. [`macro@Error`] adds the variant and the fields.
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

/// Reports an error's variant to callers: `Why::Empty` arrives as the name `Why` and the variant `Empty`.
///
/// It is derived beside `Display`, such as that of `thiserror`. It also makes a [`GuestError`] of the error, so that `?`
/// works in functions that return one, and a native test sees what a caller would.
///
/// An error that derives `Serialize` and [`Schema`] reports its variant without this. Its fields reach the caller
/// too: `Error::guest_payload` of the host decodes them, and answers in JSON show them by the declared type. They take
/// up to 64 KiB; of a larger error only name, variant and message arrive. What an [imported](import!) function returned
/// has none of it.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, wpc::Error, wpc::Schema, Serialize, Deserialize)]
/// enum Why {
///     Empty,
///     TooLong { limit: u32 },
/// }
/// impl std::fmt::Display for Why {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         match self {
///             Self::Empty => f.write_str("the text is empty"),
///             Self::TooLong { limit } => write!(f, "the text has more than {limit} bytes"),
///         }
///     }
/// }
///
/// #[wpc::function]
/// fn check(text: &str) -> Result<(), Why> {
///     match text.len() {
///         0 => Err(Why::Empty),
///         1..=10 => Ok(()),
///         _ => Err(Why::TooLong { limit: 10 }),
///     }
/// }
///
/// let error = wpc::GuestError::from(check("").unwrap_err());
/// assert_eq!(error.to_string(), "Why::Empty: the text is empty");
/// ```
pub use wpc_guest_macros::Error;

/// Declares functions of dependencies, which the host links by their alias.
///
/// Each declaration becomes a function of a module named like the alias. It returns a
/// `Result<T, GuestError>`, since the other function may return an error. The declared types are recorded in the
/// module, and the host refuses to link a dependency whose function has other types. Types without
/// [`Schema`](trait@Schema) are not compared.
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
///     let path = wpc::constant!("TABLE": String)?;
///     // Build what every call will use.
///     Ok(())
/// }
/// ```
pub use wpc_guest_macros::init;

/// Declares functions of the host, which the embedder defined and the definition was granted.
///
/// Each declaration becomes a function that returns a `Result<T, GuestError>`: the host's function
/// may fail. The declared types are compared as those of [`import!`](crate::import!) are.
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

/// The value of a constant the module cannot do without, as a `Result<T, GuestError>`.
///
/// Its name and its type are recorded in the module, so that the host lists them. The host refuses a constant of another
/// type when it is defined, and a module that declares another type for a constant that is there. A call that reads the
/// constant while it is not defined, and returns the error, ends with `constant_not_defined`, which names function and
/// constant; other functions of the module are not affected. A type without [`Schema`](trait@Schema) is not checked.
/// [`constant()`] is for names that are made at run time or that may be missing.
///
/// ```
/// fn limit() -> Result<u32, wpc::GuestError> {
///     wpc::constant!("LIMIT": u32)
/// }
/// ```
#[macro_export]
macro_rules! constant {
    ($name:literal : $ty:ty) => {{
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unused_imports, reason = "the type may have a schema")]
            use $crate::__private::NoSchema as _;
            const __WPC_RECORD: $crate::__private::Record<'static> =
                $crate::__private::Record::Constant {
                    name: $name,
                    ty: $crate::__private::Probe::<$ty>::SCHEMA,
                };
            #[used]
            #[unsafe(link_section = "wpc")]
            static __WPC_BYTES: [u8; __WPC_RECORD.encoded_len()] = __WPC_RECORD.encode();
        };
        const _: () = assert!($crate::__private::is_valid_name($name), "a constant's name is a letter or underscore, then letters, digits or underscores, at most 255 bytes");
        $crate::constant::<$ty>($name)
    }};
    ($name:literal) => {
        ::core::compile_error!(::core::concat!(
            "the constant needs its type, which the host checks: `wpc::constant!(\"",
            $name,
            "\": String)`"
        ))
    };
}

/// Makes the panic handler of a guest without the standard library: the caller reads the message and
/// its place. Natively it makes none, since tests bring their own.
///
/// ```
/// wpc::panic_handler!();
/// # fn main() {}
/// ```
#[cfg(any(not(feature = "std"), not(target_arch = "wasm32")))]
#[macro_export]
macro_rules! panic_handler {
    () => {
        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn __wpc_panic_handler(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::panic(info)
        }
    };
}

/// With the standard library, which has a handler of its own.
#[cfg(all(feature = "std", target_arch = "wasm32"))]
#[macro_export]
macro_rules! panic_handler {
    () => {
        ::core::compile_error!(
            "the standard library has a panic handler; build `wpc-guest-sdk` with `default-features = false`"
        );
    };
}

/// Logs at [`Level::Error`], with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::error!("{item} cannot be sold");
/// # assert_eq!(host.logs(), [(wpc::Level::Error, "tea cannot be sold".to_owned())]);
/// ```
#[macro_export]
macro_rules! error {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Error, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Warn`], with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::warn!("there is little {item}: {count}");
/// # assert_eq!(host.logs(), [(wpc::Level::Warn, "there is little tea: 3".to_owned())]);
/// ```
#[macro_export]
macro_rules! warn {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Warn, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Info`], with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::info!("sold {count} of {}", item.to_uppercase());
/// # assert_eq!(host.logs(), [(wpc::Level::Info, "sold 3 of TEA".to_owned())]);
/// ```
#[macro_export]
macro_rules! info {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Info, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Debug`], with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::debug!("looking for {item:?}");
/// # assert_eq!(host.logs(), [(wpc::Level::Debug, "looking for \"tea\"".to_owned())]);
/// ```
#[macro_export]
macro_rules! debug {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Debug, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Trace`], with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::trace!("in the cellar");
/// # assert_eq!(host.logs(), [(wpc::Level::Trace, "in the cellar".to_owned())]);
/// ```
#[macro_export]
macro_rules! trace {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Trace, ::core::format_args!($($arguments)+))
    };
}

/// The guest error of an error whose type is known where this stands: the methods are found by what the type can do.
#[doc(hidden)]
#[macro_export]
macro_rules! guest_error {
    ($error:expr, $place:expr) => {{
        #[allow(unused_imports, reason = "one of them is meant")]
        use $crate::__private::{
            ChainOfAny as _, ChainOfError as _, DetailOfSchema as _, DetailOfVariant as _,
            NoDetail as _,
        };
        let mut guest_error = ($crate::__private::Caught(&$error)).into_guest_error($place);
        (&$crate::__private::Detail(&$error)).add_to(&mut guest_error);
        guest_error
    }};
}

/// What the macros' expansions call; no part of the public surface.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::error_schema;
    pub use crate::entry::{NoSchema, NotAResult, Probe, TakeAny, is_argument, is_result};
    #[cfg(target_arch = "wasm32")]
    pub use crate::entry::{
        ReplyOfAny, Value, arguments, reply_bad_arguments, reply_error, reply_left_over,
    };
    pub use crate::failure::{
        Caught, ChainOfAny, ChainOfError, Detail, DetailOfSchema, DetailOfVariant, Failure,
        NoDetail, Variant, is_failure,
    };
    pub use crate::guest_error;
    pub use crate::host::{call_dependency, log_formatted};
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::testing::import::faked;
    pub use wpc_abi::__private::{DEFAULTED, schema};
    pub use wpc_abi::names::is_valid as is_valid_name;
    pub use wpc_abi::section::Record;
}
