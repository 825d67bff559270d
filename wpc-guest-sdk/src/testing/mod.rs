//! A host for native tests. The test chooses constants, dependencies, host functions, other functions of the pool, randomness
//! and clocks, and reads the guest's log lines.
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
//! fn a_label_is_the_prefix_and_the_file_name() {
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
//! All values are encoded as in a sandbox. If a fake has other types than the guest declares, its call returns the error
//! `BadArguments` or `DecodeError`.
//!
//! A missing dependency, host function or capability panics with a message that names what to add, because a real host
//! would not create the sandbox. A missing constant is an error, as in a sandbox.
//!
//! A call by a [name that is computed](crate::call) is an error if no such function is faked, as in a sandbox.
//!
//! `GuestError::from` converts an error that derives [`macro@crate::Error`] into what a caller would see. The error of a
//! dependency or a host function arrives without variant and payload, as in a sandbox.
//!
//! A host is installed for the current thread, so tests that run in parallel do not affect each other. If several are
//! installed, the last one serves all requests until it is dropped; earlier ones are not searched.

pub(crate) mod import;
mod installed;

use crate::entry::{decode_arguments, error_reply, plain_error_reply, strings_reply, value_reply};
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
use wpc_abi::names::{
    CALLED_FUNCTIONS_MODULE, HOST_FUNCTIONS_MODULE, TYPED_DEPENDENCY_PREFIX, is_valid,
};
use wpc_abi::reply::TAG_BAD_ARGUMENTS;

pub use installed::Installed;

/// Maps encoded arguments to an encoded reply.
type Fake = Rc<dyn Fn(&[u8]) -> Vec<u8>>;

/// A host for a test, to be [installed](Host::install).
///
/// ```
/// let _host = wpc::testing::Host::new().constant("LIMIT", 3_u32).install();
/// assert_eq!(wpc::constant::<u32>("LIMIT").unwrap(), 3);
/// ```
#[derive(Default)]
#[must_use = "a host has no effect until it is installed"]
pub struct Host(State);

/// The values and functions that a host provides, and the log lines and items that it has recorded.
#[derive(Default)]
struct State {
    constants: BTreeMap<String, Constant>,
    /// Fakes by import module and name.
    functions: BTreeMap<(String, String), Fake>,
    /// A reply that did not fit the guest's buffer.
    pending_reply: RefCell<Vec<u8>>,
    logs: RefCell<Vec<(Level, String)>>,
    items: RefCell<Vec<Item>>,
    random: Cell<Option<u64>>,
    /// The time since 1970, and since the host was created.
    clock: Cell<Option<(Duration, Duration)>>,
}

/// A constant as the test defined it.
struct Constant {
    bytes: Vec<u8>,
    type_name: &'static str,
}

/// An item that the guest yielded.
struct Item {
    bytes: Vec<u8>,
    fingerprint: u32,
    type_name: &'static str,
}

thread_local! {
    /// The installed hosts; the last one serves.
    static INSTALLED: RefCell<Vec<Rc<State>>> = const { RefCell::new(Vec::new()) };
}

impl Host {
    /// A host that provides nothing.
    ///
    /// ```
    /// let _host = wpc::testing::Host::new().install();
    /// assert_eq!(wpc::constant::<u32>("LIMIT").unwrap_err().name, "ConstantNotDefined");
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a constant, and replaces an earlier one of that name.
    ///
    /// The value must be encoded like the type that the guest reads: a `Vec` for a `Vec`, because serde encodes an array
    /// as a tuple, without its length.
    ///
    /// ```
    /// let _host = wpc::testing::Host::new().constant("NAMES", vec!["tea", "jam"]).install();
    /// assert_eq!(wpc::constant::<Vec<String>>("NAMES").unwrap(), ["tea", "jam"]);
    /// assert_eq!(wpc::constant::<[bool; 2]>("NAMES").unwrap_err().name, "DecodeError");
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is not valid or the value does not encode.
    pub fn constant(mut self, name: &str, value: impl Serialize) -> Self {
        check_name("constant", name);
        let bytes = postcard::to_allocvec(&value)
            .unwrap_or_else(|error| panic!("failed to encode constant `{name}`: {error}"));
        let type_name = core::any::type_name_of_val(&value);
        self.0.constants.insert(name.to_owned(), Constant { bytes, type_name });
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
    /// If the alias or the function's name is not valid.
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
        self.fake(joined(&[TYPED_DEPENDENCY_PREFIX, alias]), function, fake, plain_error_reply)
    }

    /// Fakes a function of the embedder that [`host!`](crate::host!) declares. The closure takes the arguments as one
    /// tuple.
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
    /// If the function's name is not valid.
    pub fn host_function<A, T>(
        self,
        name: &str,
        fake: impl Fn(A) -> Result<T, GuestError> + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        T: Serialize,
    {
        self.fake(HOST_FUNCTIONS_MODULE.to_owned(), name, fake, plain_error_reply)
    }

    /// Fakes a function of the pool that the guest calls with [`functions!`](crate::functions!) or
    /// [`call`](crate::call). The closure takes the arguments as one tuple. Its error arrives with variant and payload, as
    /// in a sandbox.
    ///
    /// ```
    /// wpc::functions! {
    ///     fn price(item: &str) -> u32;
    /// }
    ///
    /// let _host = wpc::testing::Host::new()
    ///     .function("price", |(item,): (String,)| match item.as_str() {
    ///         "tea" => Ok(3_u32),
    ///         other => Err(wpc::GuestError::new("NoPrice", other)),
    ///     })
    ///     .install();
    /// assert_eq!(price("tea").unwrap(), 3);
    /// assert_eq!(wpc::call::<u32>("price", &("ham",)).unwrap_err().name, "NoPrice");
    /// ```
    ///
    /// # Panics
    ///
    /// If the function's name is not valid.
    pub fn function<A, T>(
        self,
        name: &str,
        fake: impl Fn(A) -> Result<T, GuestError> + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        T: Serialize,
    {
        self.fake(CALLED_FUNCTIONS_MODULE.to_owned(), name, fake, error_reply)
    }

    fn fake<A: DeserializeOwned, T: Serialize>(
        mut self,
        module: String,
        name: &str,
        fake: impl Fn(A) -> Result<T, GuestError> + 'static,
        error_reply: impl Fn(Vec<u8>, &GuestError) -> Vec<u8> + 'static,
    ) -> Self {
        check_name("function", name);
        let fake: Fake = Rc::new(move |bytes| match decode_arguments(bytes).map(&fake) {
            Ok(Ok(value)) => value_reply(Vec::new(), &value),
            Ok(Err(error)) => error_reply(Vec::new(), &error),
            Err(why) => strings_reply(Vec::new(), TAG_BAD_ARGUMENTS, &[&why]),
        });
        self.0.functions.insert((module, name.to_owned()), fake);
        self
    }

    /// Grants randomness. Equal seeds produce equal bytes.
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

    /// Grants clocks. Wall-clock time starts at `since_1970` and monotonic time at zero; both change only when the test
    /// [advances them](Installed::advance_clock).
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

    /// Installs this host for the current thread until the returned handle is dropped.
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
    #[must_use = "the host is removed when this is dropped; bind it to a name: `let _host = …`"]
    pub fn install(self) -> Installed {
        let state = Rc::new(self.0);
        INSTALLED.with_borrow_mut(|installed| installed.push(Rc::clone(&state)));
        Installed(state)
    }
}

impl fmt::Debug for Host {
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

/// A real host rejects the same names.
fn check_name(what: &str, name: &str) {
    assert!(
        is_valid(name),
        "`{name}` is not a valid name for a {what}; a name must {}",
        wpc_abi::names::NAME_RULE
    );
}
