//! Items that a function yields before its result.

use crate::entry::encode;
use crate::{import, text};
use alloc::vec::Vec;
use serde::Serialize;
use wpc_abi::GuestError;
use wpc_abi::describe::Schema;
use wpc_abi::schema::fingerprint;

#[cfg(target_arch = "wasm32")]
pub use declared::yielding;

/// Yields an item to the caller of a stream, before the function's result.
///
/// The function declares the type of its items: `#[wpc::function(yields = T)]`. The caller reads them while the function
/// runs. If it is slower, the function is suspended until the caller has read some items; if it drops the stream, the
/// function ends.
///
/// ```
/// #[wpc::function(yields = String)]
/// fn lines(text: &str) -> Result<u32, wpc::GuestError> {
///     let mut count = 0;
///     for line in text.lines() {
///         wpc::yield_item(&line)?;
///         count += 1;
///     }
///     Ok(count)
/// }
///
/// let host = wpc::testing::Host::new().install();
/// assert_eq!(lines("tea\njam").unwrap(), 2);
/// assert_eq!(host.items::<String>(), ["tea", "jam"]);
/// ```
///
/// # Errors
///
/// `WrongItemType` if the function declares no items or another type; `EncodeError` if the item does not encode. If its
/// caller does not read items, the function ends.
pub fn yield_item<T: Serialize + Schema + ?Sized>(item: &T) -> Result<(), GuestError> {
    #[cfg(not(target_arch = "wasm32"))]
    import::require_host("an item's reader")?;
    let fingerprint = const { fingerprint(T::SCHEMA) };
    let type_name = core::any::type_name::<T>();
    #[cfg(target_arch = "wasm32")]
    declared::check(fingerprint, type_name)?;
    let buffer = encode(take_buffer(), item).map_err(|error| {
        let why = text::encode_reason(&error);
        GuestError::new("EncodeError", text::joined(&["failed to encode an item: ", why]))
    })?;
    #[cfg(target_arch = "wasm32")]
    {
        import::yield_item(&buffer);
        declared::keep_buffer(buffer);
    }
    #[cfg(not(target_arch = "wasm32"))]
    import::yield_item(buffer, fingerprint, type_name);
    Ok(())
}

fn take_buffer() -> Vec<u8> {
    #[cfg(target_arch = "wasm32")]
    return declared::take_buffer();
    #[cfg(not(target_arch = "wasm32"))]
    Vec::new()
}

/// What the running function declares.
#[cfg(target_arch = "wasm32")]
mod declared {
    use crate::one_thread::OneThread;
    use crate::text;
    use alloc::vec::Vec;
    use core::cell::Cell;
    use wpc_abi::GuestError;
    use wpc_abi::describe::Schema;
    use wpc_abi::schema::fingerprint;

    /// The fingerprint and the name of the type.
    static DECLARED: OneThread<Cell<Option<(u32, &str)>>> = OneThread(Cell::new(None));

    /// Reused for each item.
    static BUFFER: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

    /// Runs a function that declares items of type `T`.
    pub fn yielding<T: Schema, R>(function: impl FnOnce() -> R) -> R {
        let fingerprint = const { fingerprint(T::SCHEMA) };
        DECLARED.0.set(Some((fingerprint, core::any::type_name::<T>())));
        let result = function();
        DECLARED.0.set(None);
        result
    }

    pub(super) fn check(fingerprint: u32, type_name: &str) -> Result<(), GuestError> {
        match DECLARED.0.get() {
            Some((declared, _)) if declared == fingerprint => Ok(()),
            declared => Err(wrong_type(declared.map(|(_, name)| name), type_name)),
        }
    }

    #[cold]
    fn wrong_type(declared: Option<&str>, found: &str) -> GuestError {
        let message = match declared {
            Some(declared) => text::joined(&[
                "the function yields an item of type `",
                found,
                "`, but declares items of type `",
                declared,
                "`",
            ]),
            None => text::joined(&[
                "the function yields an item of type `",
                found,
                "`, but declares none; add `yields = …` to its attribute `#[wpc::function]`",
            ]),
        };
        GuestError::new("WrongItemType", message)
    }

    pub(super) fn take_buffer() -> Vec<u8> {
        BUFFER.0.take()
    }

    pub(super) fn keep_buffer(buffer: Vec<u8>) {
        BUFFER.0.set(buffer);
    }
}
