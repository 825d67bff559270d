//! Decodes the error that a function returned, as a value of its type.

use crate::codec::decode::decode_owned;
use crate::error::Error;
use serde::de::DeserializeOwned;
use wpc_abi::Schema;
use wpc_abi::schema::agree;
use wpc_abi::text::type_text;

impl Error {
    /// The error that a function returned, as a value of the type `E`. `None` if this is not a guest error, or one without a
    /// payload: because its type has no schema, it was too large, or the guest's SDK does not support payloads.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use wpc_host::{Error, Schema};
    ///
    /// #[derive(Debug, PartialEq, Deserialize, Schema)]
    /// enum Why {
    ///     Empty,
    ///     TooLong { limit: u32 },
    /// }
    ///
    /// fn explain(error: &Error) -> Result<String, Error> {
    ///     Ok(match error.guest_payload::<Why>()? {
    ///         Some(Why::Empty) => "write something".to_owned(),
    ///         Some(Why::TooLong { limit }) => format!("write at most {limit} bytes"),
    ///         None => error.to_string(),
    ///     })
    /// }
    /// # assert_eq!(explain(&Error::NotRunning)?, Error::NotRunning.to_string());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PayloadDecode`] if the function declares another type, or the payload is not a value of `E`.
    pub fn guest_payload<E: DeserializeOwned + Schema + 'static>(&self) -> Result<Option<E>, Self> {
        let Self::Guest { function, error, payload_type } = self else { return Ok(None) };
        let Some(payload) = &error.payload else { return Ok(None) };
        let refused = |reason| refused(function, &type_text(&E::SCHEMA.into()), reason);
        match payload_type {
            Some(declared) if !agree(&E::SCHEMA.into(), declared.ty()) => {
                Err(refused(format!("the module declares `{declared}`")))
            }
            _ => decode_owned(payload).map(Some).map_err(refused),
        }
    }
}

pub(super) fn refused(function: &str, wanted: &str, reason: String) -> Error {
    let (function, wanted) = (function.to_owned(), wanted.to_owned());
    Error::PayloadDecode { function, wanted, reason }
}
