//! Write WebAssembly functions for wpc in Rust.
//!
//! A guest is a `cdylib` for `wasm32-unknown-unknown` whose functions have one attribute:
//!
//! ```
//! /// Greets with the constant `GREETING`.
//! #[wpc::function]
//! fn greet(name: &str) -> Result<String, wpc::GuestError> {
//!     let greeting = wpc::constant!("GREETING": String)?;
//!     wpc::info!("greeting {name}");
//!     Ok(format!("{greeting}, {name}"))
//! }
//! ```
//!
//! # Terms
//!
//! * A *function* is called by the host by name. Its arguments and its result can have any serde type; arguments may borrow
//!   (`&str`, `&[u8]`) from the buffer that the host filled. A result of type `String`, `&str`, `Vec<u8>` or `&[u8]` is
//!   not copied in the guest: the host reads it directly from the guest's memory.
//! * A *guest error* is a failure returned as a value: the `E` of a `Result<T, E>`, which only needs
//!   [`Display`](core::fmt::Display). [`macro@Error`] reports its variant to callers. The sandbox keeps its state.
//! * A *panic* ends the sandbox; the caller receives its message and location.
//! * A *constant* is a named value of the host: [`constant!`], or [`constant()`] for a name that is computed at run time.
//! * A *dependency* is another module, imported by its alias: [`import!`]. It shares the sandbox of the function that uses
//!   it.
//! * A *called function* is another function of the pool, which keeps its own sandbox and limits: [`functions!`], or
//!   [`call()`](call) for a name that is computed at run time.
//! * A function can yield *items* before its result, which its caller reads while it runs: [`yield_item`].
//! * A *capability* must be granted by the host: [`random`], [`wall_clock`], [`monotonic_clock`], the embedder's
//!   functions: [`host!`], and called functions.
//!
//! # Custom types
//!
//! Types that derive serde's traits can be arguments and results. A type that also derives [`Schema`] is declared to the
//! host, which then lists it, checks typed handles when they are created, and accepts it as JSON. Everything else works
//! without a schema.
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
//!             _ => return Answer::Refused(format!("unknown item {item}")),
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
//! A guest crate also compiles natively and its functions stay ordinary functions, so `cargo test` can call them.
//! [`testing::Host`] takes the place of their host:
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
//! Without one, functions that need a host return a [`GuestError`] named `OutsideSandbox`, or panic if they cannot return
//! an error. Log lines go to standard error.
//!
//! # Without the standard library
//!
//! The feature `std` is on by default. Without it the crate needs only `alloc`, and the guest must define an allocator,
//! such as the crate `dlmalloc` with its feature `global`, and a panic handler, which [`panic_handler!`] defines. Both are
//! for wasm only, so that tests keep running natively:
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
//! The whole API is available without the feature. A guest that links `std` through another crate must keep the feature:
//! `std` brings its own panic handler, and without the feature the host would not receive panic messages.
//!
//! # Size
//!
//! Sizes of small guests in KB (1000 bytes), with `lto`, one codegen unit, `panic = "abort"` and `strip`. The first number
//! is the whole file. The second is the SDK's share: the difference to an equal guest that implements the contract by
//! hand. The rest is the allocator and the standard library's panics.
//!
//! | `opt-level` | `3` | `"s"` | `"z"` |
//! |---|---|---|---|
//! | `fn nothing()` | 17.5, 8.9 | 16.6, 8.7 | 16.4, 8.5 |
//! | `fn echo(text: &str) -> String` | 19.1, 6.5 | 18.3, 7.1 | 17.7, 6.6 |
//! | a struct to a struct, with `Schema` | 21.9, 7.8 | 20.1, 6.4 | 20.1, 5.9 |
//! | `echo` without the standard library | 19.0 | 15.3 | 14.0 |
//!
//! Measured with rustc 1.95.0 on 2026-11-25. The sources are `fixtures/guests/size_*`; `cargo xtask sizes` repeats the
//! measurement, and a test fails if a share reaches 10 KB. Formatting adds to that: the first `format!` with numbers or
//! log line with arguments adds a few KB.
//!
//! # WASI
//!
//! The target `wasm32-wasip1` is supported. The definition must be granted the parts of WASI that the standard library
//! imports.
//!
//! # Features
//!
//! * `std`, on by default: a panic hook reports panics to the host without a panic handler in the guest, and types such
//!   as `HashMap` have schemas.
#![no_std]

extern crate alloc;
// Native builds are for tests, which need `std` even without the feature.
#[cfg(any(feature = "std", not(target_arch = "wasm32")))]
extern crate std;

mod entry;
mod failure;
mod host;
#[cfg(target_arch = "wasm32")]
mod import;
mod items;
mod macros;
#[cfg(target_arch = "wasm32")]
mod one_thread;
mod panics;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod text;

#[cfg(not(target_arch = "wasm32"))]
use testing::import;

pub use host::{Level, call, constant, log, monotonic_clock, random, wall_clock};
pub use items::yield_item;
pub use panics::panic;
#[doc(inline)]
pub use wpc_abi::GuestError;

/// Describes how a type is encoded: a trait, and its derive.
///
/// The derive accepts structs and enums, including generic ones. Trait and derive are those of [`wpc_abi::Schema`], which
/// lists the supported attributes of serde. A crate of types that host and plug-in share derives `wpc_abi::Schema` and
/// does not depend on this crate.
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

/// Exports a function to the host.
///
/// Callers use the function's name, or another one: `#[wpc::function(name = "other")]`. The function itself does not
/// change and can be called and tested like any other. Its linker symbol is `wpc:fn:` and the name, so it may have the
/// name of any other symbol, such as `log`, `read` or `memory`; only names that start with `wpc_` are reserved.
///
/// A function that [yields items](yield_item) before its result declares their type: `#[wpc::function(yields = String)]`.
///
/// A function takes at most twelve arguments of types that serde can deserialize, and returns a type that serde can
/// serialize. If the result's type is named `Result`, its error becomes a guest error with the name of the error's type,
/// its `Display` text as the message, and a stack with the function's location and the error's sources.
/// [`macro@Error`] adds the variant, and a schema adds the fields.
///
/// The function's doc comment, and those of its types that derive [`Schema`](derive@Schema), are recorded in the module
/// and shown by `wpc inspect`: at most 4,096 bytes each, without the lines beyond that.
///
/// ```
/// #[derive(Debug)]
/// struct DivisionByZero;
/// impl std::fmt::Display for DivisionByZero {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("division by zero")
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
/// The error must also implement `Display`, for example with `thiserror`. The derive implements the conversion into
/// [`GuestError`], so that `?` works in functions that return one, and a native test receives the same error as a caller.
///
/// An error that derives `Serialize` and [`Schema`] reports its variant without this derive. The caller also receives its
/// fields: `Error::guest_payload` of the host decodes them, and JSON replies show them by the declared type. The limit is
/// 64 KiB; of a larger error only name, variant and message arrive. Errors of [imported](import!) functions arrive
/// without variant and fields.
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
/// Each declaration becomes a function of a module named like the alias. It returns a `Result<T, GuestError>`, because the
/// dependency's function may return an error. The declared types are recorded in the module, and the host rejects a
/// dependency whose function has other types. Types without [`Schema`](trait@Schema) are not compared.
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

/// Makes a function the sandbox's init hook, which runs once before the first call, within that call's deadline and limits.
///
/// If it returns an error, the sandbox is not created and the call fails with that reason. The hook takes no arguments and
/// returns `()` or a `Result`. A module has at most one.
///
/// ```
/// #[wpc::init]
/// fn prepare() -> Result<(), wpc::GuestError> {
///     let path = wpc::constant!("TABLE": String)?;
///     // Prepare state for all calls.
///     Ok(())
/// }
/// ```
pub use wpc_guest_macros::init;

/// Declares functions that the embedder defined and granted to the module's definition.
///
/// Each declaration becomes a function that returns a `Result<T, GuestError>`, because the embedder's function may fail.
/// The host compares the declared types as those of [`import!`](crate::import!).
///
/// ```
/// wpc::host! {
///     /// The value of `key` in the store.
///     fn lookup(key: &str) -> Option<String>;
/// }
///
/// #[wpc::function]
/// fn known(key: &str) -> Result<bool, wpc::GuestError> {
///     Ok(lookup(key)?.is_some())
/// }
/// ```
pub use wpc_guest_macros::host;

/// Declares functions of the pool, which the module's definition must be granted by their names.
///
/// Each declaration becomes a function that returns a `Result<T, GuestError>`. The called function runs in its own sandbox,
/// with its own limits and grants; if it traps, this guest receives an error. The call ends at the latest when this guest's
/// call must end, and occupies no worker. Use [`import!`](crate::import!) for code that is to share this guest's sandbox,
/// which takes less time to call.
///
/// The host compares the declared types with those of the function, when this module is defined and whenever the function
/// was redefined. A function cannot call itself, directly or through others, and at most 16 calls can be nested.
/// [`call()`](crate::call) lists the errors.
///
/// ```
/// wpc::functions! {
///     fn price(item: &str) -> u32;
/// }
///
/// #[wpc::function]
/// fn total(items: Vec<String>) -> Result<u32, wpc::GuestError> {
///     items.iter().map(|item| price(item)).sum()
/// }
///
/// let _host = wpc::testing::Host::new().function("price", |(_,): (String,)| Ok(3_u32)).install();
/// assert_eq!(total(vec!["tea".to_owned(), "jam".to_owned()]).unwrap(), 6);
/// ```
pub use wpc_guest_macros::functions;

/// Used by the expansions of the macros; not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::error_schema;
    pub use crate::entry::{NoSchema, NotAResult, Probe, TakeAny, is_argument, is_item, is_result};
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
    #[cfg(target_arch = "wasm32")]
    pub use crate::items::yielding;
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::testing::import::faked;
    pub use wpc_abi::__private::{Comments, DEFAULTED, schema};
    pub use wpc_abi::documentation::FunctionComments;
    pub use wpc_abi::names::is_valid as is_valid_name;
    pub use wpc_abi::section::Record;
}
