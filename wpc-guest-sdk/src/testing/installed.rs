//! The handle of an installed host.

use super::{INSTALLED, State};
use crate::host::Level;
use alloc::rc::Rc;
use core::fmt;
use core::time::Duration;
use serde::de::DeserializeOwned;
use std::string::String;
use std::vec::Vec;
use wpc_abi::describe::Schema;
use wpc_abi::schema::fingerprint;

/// The handle of an installed host, which is removed when this is dropped.
///
/// ```
/// let host = wpc::testing::Host::new().install();
/// wpc::warn!("low temperature");
/// assert_eq!(host.logs(), [(wpc::Level::Warn, "low temperature".to_owned())]);
/// ```
pub struct Installed(pub(super) Rc<State>);

impl Installed {
    /// The lines that the guest logged while this host was serving, in order.
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

    /// The items that the guest yielded while this host was serving, in order.
    ///
    /// ```
    /// let host = wpc::testing::Host::new().install();
    /// wpc::yield_item("tea").unwrap();
    /// assert_eq!(host.items::<String>(), ["tea"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the guest yielded an item of another type.
    #[must_use]
    pub fn items<T: DeserializeOwned + Schema>(&self) -> Vec<T> {
        let items = self.0.items.borrow();
        let items = items.iter().map(|item| {
            let wanted = core::any::type_name::<T>();
            let found = item.type_name;
            assert!(
                item.fingerprint == fingerprint(T::SCHEMA),
                "the guest yielded an item of type `{found}`, but the test reads `{wanted}`"
            );
            postcard::from_bytes(&item.bytes)
                .unwrap_or_else(|error| panic!("failed to decode an item as `{wanted}`: {error}"))
        });
        items.collect()
    }

    /// Advances both clocks.
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
    /// If the host has no [clock](super::Host::clock) or the time overflows [`Duration`].
    pub fn advance_clock(&self, by: Duration) {
        let Some((wall, monotonic)) = self.0.clock.get() else {
            panic!("the test host has no clock; add `.clock(…)` to it");
        };
        self.0.clock.set(Some((wall + by, monotonic + by)));
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // Hosts may be dropped in any order. The list is gone when the thread ends.
        let _ = INSTALLED.try_with(|installed| {
            installed.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.0));
        });
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
