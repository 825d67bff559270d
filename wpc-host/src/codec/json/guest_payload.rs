//! Decodes the error that a function returned, as JSON.

use super::decode;
use crate::codec::guest_payload::refused;
use crate::error::Error;
use serde_json::Value;

impl Error {
    /// The error that a function returned, as JSON by the type that its module declares. `None` if this is not a guest
    /// error, or one without a payload or a declared type; see [`guest_payload`](Self::guest_payload).
    /// Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::PayloadDecode`] if the payload is not a value of the declared type.
    pub fn guest_payload_json(&self) -> Result<Option<Value>, Self> {
        let Self::Guest { function, error, payload_type: Some(declared) } = self else {
            return Ok(None);
        };
        let Some(payload) = &error.payload else { return Ok(None) };
        let decoded = decode(declared.ty(), payload);
        decoded.map(Some).map_err(|reason| refused(function, &declared.to_string(), reason))
    }
}
