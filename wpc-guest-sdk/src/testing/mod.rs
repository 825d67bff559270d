//! A host for native tests: constants, dependencies, host functions, randomness and clocks that a
//! test chooses, and the log lines that the guest wrote.
//!
//! ```
//! wpc::import! {
//!     mod path_dep {
//!         fn basename(path: &str) -> String;
//!     }
//! }
//!
//! #[wpc::function]
//! fn label(path: &str) -> Result<String, wpc::GuestError> {
//!     let prefix = wpc::constant!("SERVICE_PREFIX": String)?;
//!     wpc::info!("labelling {path}");
//!     Ok(format!("{prefix}:{}", path_dep::basename(path)?))
//! }
//!
//! # /*
//! #[test]
//! fn a_label_has_the_prefix_and_the_files_name() {
//! # */
//!     let host = wpc::testing::Host::new()
//!         .constant("SERVICE_PREFIX", "api")
//!         .dependency("path_dep", "basename", |(path,): (String,)| {
//!             Ok(path.rsplit('/').next().unwrap_or_default().to_owned())
//!         })
//!         .install();
//!     assert_eq!(label("/srv/a.txt").unwrap(), "api:a.txt");
//!     assert_eq!(host.logs(), [(wpc::Level::Info, "labelling /srv/a.txt".to_owned())]);
//! # /*
//! }
//! # */
//! ```
//!
//! Everything passes through the bytes of the contract, as in a sandbox: a fake that takes or gives
//! another type than the guest declares is a `BadArguments` or a `DecodeError`.
//!
//! What a sandbox would never be made without panics where it is missing, and says what to add: a
//! dependency's function, a host function, a capability. A constant that is missing is the error it
//! is there.
//!
//! What a caller sees of an error that derives [`macro@crate::Error`] is [`GuestError::from`] of it. A dependency's or a host
//! function's error arrives without variant and payload, as it does there.
//!
//! A host is its thread's own, so tests that run at the same time do not meet. Where one is installed
//! while another is, the last one serves until it is dropped, whole: nothing is looked up in the one
//! below.

pub(crate) mod import;

use crate::entry::{decode_arguments, plain_error_reply, strings_reply, value_reply};
use crate::host::Level;
use crate::text::joined;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::ToOwned as _;
use std::string::String;
use std::thread_local;
use std::vec::Vec;
use wpc_abi::GuestError;
use wpc_abi::names::{HOST_FUNCTIONS_MODULE, TYPED_DEPENDENCY_PREFIX, is_valid};
use wpc_abi::reply::TAG_BAD_ARGUMENTS;

/// From the arguments' bytes to the reply's.
type Fake = Rc<dyn Fn(&[u8]) -> Vec<u8>>;

/// What a test's host offers, to be [installed](Host::install).
///
/// ```
/// let _host = wpc::testing::Host::new().constant("LIMIT", 3_u32).install();
/// assert_eq!(wpc::constant::<u32>("LIMIT").unwrap(), 3);
/// ```
#[derive(Default)]
#[must_use = "a host is there once it is installed"]
pub struct Host(State);

/// What is there while a host is installed.
#[derive(Default)]
struct State {
    constants: BTreeMap<String, Vec<u8>>,
    /// By import module and name.
    functions: BTreeMap<(String, String), Fake>,
    /// A reply that did not fit the guest's room.
    kept: RefCell<Vec<u8>>,
    logs: RefCell<Vec<(Level, String)>>,
    random: Cell<Option<u64>>,
    /// The time since 1970, and since the host was made.
    clock: Cell<Option<(Duration, Duration)>>,
}

thread_local! {
    /// The last one serves.
    static INSTALLED: RefCell<Vec<Rc<State>>> = const { RefCell::new(Vec::new()) };
}

impl Host {
    /// A host that offers nothing.
    ///
    /// ```
    /// let _host = wpc::testing::Host::new().install();
    /// assert_eq!(wpc::constant::<u32>("LIMIT").unwrap_err().name, "ConstantNotDefined");
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a constant, anew where there is one of the name.
    ///
    /// ```
    /// let _host = wpc::testing::Host::new().constant("NAMES", vec!["tea", "jam"]).install();
    /// assert_eq!(wpc::constant::<Vec<String>>("NAMES").unwrap(), ["tea", "jam"]);
    /// assert_eq!(wpc::constant::<[bool; 2]>("NAMES").unwrap_err().name, "DecodeError");
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name cannot name a constant, or the value does not encode.
    pub fn constant(mut self, name: &str, value: impl Serialize) -> Self {
        check_name("constant", name);
        let value = postcard::to_allocvec(&value)
            .unwrap_or_else(|error| panic!("constant `{name}` does not encode: {error}"));
        self.0.constants.insert(name.to_owned(), value);
        self
    }

    /// Fakes a function of the dependency `alias`. The closure takes the arguments as one tuple.
    ///
    /// ```
    /// wpc::import! {
    ///     mod store {
    ///         fn price(item: &str, count: u32) -> u64;
    ///     }
    /// }
    ///
    /// let _host = wpc::testing::Host::new()
    ///     .dependency("store", "price", |(item, count): (String, u32)| match item.as_str() {
    ///         "tea" => Ok(u64::from(count) * 3),
    ///         other => Err(wpc::GuestError::new("NoPrice", other)),
    ///     })
    ///     .install();
    /// assert_eq!(store::price("tea", 2).unwrap(), 6);
    /// assert_eq!(store::price("ham", 1).unwrap_err().name, "NoPrice");
    /// ```
    ///
    /// # Panics
    ///
    /// Where the alias or the function's name cannot be one.
    pub fn dependency<A, T>(
        self,
        alias: &str,
        function: &str,
        fake: impl Fn(A) -> Result<T, GuestError> + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        T: Serialize,
    {
        check_name("dependency", alias);
        self.function(joined(&[TYPED_DEPENDENCY_PREFIX, alias]), function, fake)
    }

    /// Fakes a function of the embedder, as [`host!`](crate::host!) declares it. The closure takes
    /// the arguments as one tuple.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// wpc::host! {
    ///     fn store(key: &str, value: &str);
    /// }
    ///
    /// let stored = Rc::new(RefCell::new(Vec::new()));
    /// let into = stored.clone();
    /// let _host = wpc::testing::Host::new()
    ///     .host_function("store", move |pair: (String, String)| {
    ///         into.borrow_mut().push(pair);
    ///         Ok(())
    ///     })
    ///     .install();
    /// store("tea", "3").unwrap();
    /// assert_eq!(*stored.borrow(), [("tea".to_owned(), "3".to_owned())]);
    /// ```
    ///
    /// # Panics
    ///
    /// Where the name cannot be a function's.
    pub fn host_function<A, T>(
        self,
        name: &str,
        fake: impl Fn(A) -> Result<T, GuestError> + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        T: Serialize,
    {
        self.function(HOST_FUNCTIONS_MODULE.to_owned(), name, fake)
    }

    fn function<A: DeserializeOwned, T: Serialize>(
        mut self,
        module: String,
        name: &str,
        fake: impl Fn(A) -> Result<T, GuestError> + 'static,
    ) -> Self {
        check_name("function", name);
        let fake: Fake = Rc::new(move |bytes| match decode_arguments(bytes).map(&fake) {
            Ok(Ok(value)) => value_reply(Vec::new(), &value),
            Ok(Err(error)) => plain_error_reply(Vec::new(), &error),
            Err(why) => strings_reply(Vec::new(), TAG_BAD_ARGUMENTS, &[&why]),
        });
        self.0.functions.insert((module, name.to_owned()), fake);
        self
    }

    /// Grants randomness: bytes that are the same for the same seed.
    ///
    /// ```
    /// let bytes = |seed| {
    ///     let _host = wpc::testing::Host::new().random_seed(seed).install();
    ///     wpc::random::<16>()
    /// };
    /// assert_eq!(bytes(1), bytes(1));
    /// assert_ne!(bytes(1), bytes(2));
    /// ```
    pub fn random_seed(self, seed: u64) -> Self {
        self.0.random.set(Some(seed));
        self
    }

    /// Grants clocks. The wall clock stands at this time since 1970, the monotonic one at zero, until
    /// the test [moves them](Installed::advance_clock).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let _host = wpc::testing::Host::new().clock(Duration::from_secs(1)).install();
    /// assert_eq!(wpc::wall_clock(), Duration::from_secs(1));
    /// assert_eq!(wpc::monotonic_clock(), Duration::ZERO);
    /// ```
    pub fn clock(self, since_1970: Duration) -> Self {
        self.0.clock.set(Some((since_1970, Duration::ZERO)));
        self
    }

    /// Makes this the thread's host until what it returns is dropped.
    ///
    /// ```
    /// let limit = || wpc::constant::<u32>("LIMIT");
    /// {
    ///     let _host = wpc::testing::Host::new().constant("LIMIT", 3_u32).install();
    ///     assert_eq!(limit().unwrap(), 3);
    ///     {
    ///         let _other = wpc::testing::Host::new().constant("LIMIT", 4_u32).install();
    ///         assert_eq!(limit().unwrap(), 4);
    ///     }
    ///     assert_eq!(limit().unwrap(), 3);
    /// }
    /// assert_eq!(limit().unwrap_err().name, "OutsideSandbox");
    /// ```
    #[must_use = "the host goes when this is dropped; give it a name: `let _host = …`"]
    pub fn install(self) -> Installed {
        let state = Rc::new(self.0);
        INSTALLED.with_borrow_mut(|installed| installed.push(Rc::clone(&state)));
        Installed(state)
    }
}

/// A host that is there, until this is dropped.
///
/// ```
/// let host = wpc::testing::Host::new().install();
/// wpc::warn!("it is cold");
/// assert_eq!(host.logs(), [(wpc::Level::Warn, "it is cold".to_owned())]);
/// ```
pub struct Installed(Rc<State>);

impl Installed {
    /// The lines the guest logged while this was the thread's host, in order.
    ///
    /// ```
    /// let host = wpc::testing::Host::new().install();
    /// wpc::info!("one");
    /// wpc::debug!("and {}", "two");
    /// let texts: Vec<_> = host.logs().into_iter().map(|(_, text)| text).collect();
    /// assert_eq!(texts, ["one", "and two"]);
    /// ```
    #[must_use]
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.0.logs.borrow().clone()
    }

    /// Moves both clocks.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let host = wpc::testing::Host::new().clock(Duration::from_secs(10)).install();
    /// host.advance_clock(Duration::from_secs(5));
    /// assert_eq!(wpc::wall_clock(), Duration::from_secs(15));
    /// assert_eq!(wpc::monotonic_clock(), Duration::from_secs(5));
    /// ```
    ///
    /// # Panics
    ///
    /// Where the host has no [clock](Host::clock), or the time goes beyond what a [`Duration`] holds.
    pub fn advance_clock(&self, by: Duration) {
        let Some((wall, monotonic)) = self.0.clock.get() else {
            panic!("the test's host has no clock; add `.clock(…)` to it");
        };
        self.0.clock.set(Some((wall + by, monotonic + by)));
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // A host may go before one that was installed later. At the thread's end nothing is left.
        let _ = INSTALLED.try_with(|installed| {
            installed.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.0));
        });
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("constants", &self.constants.keys())
            .field("functions", &self.functions.keys())
            .field("logs", &self.logs)
            .finish_non_exhaustive()
    }
}

/// A real host refuses the same.
fn check_name(what: &str, name: &str) {
    assert!(
        is_valid(name),
        "`{name}` cannot name a {what}: a name is {}",
        wpc_abi::names::NAME_RULE
    );
}
