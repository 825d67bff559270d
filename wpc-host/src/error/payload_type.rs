//! The type that a function declares for its errors.

use postcard_schema::schema::owned::OwnedNamedType;
use std::fmt;
use std::sync::Arc;
use wpc_abi::text::type_text;

/// The type that a function declares for its errors, see [`Error::Guest`](crate::Error::Guest).
#[derive(Debug, Clone)]
pub struct PayloadType(Arc<OwnedNamedType>);

impl PayloadType {
    pub(crate) fn new(ty: OwnedNamedType) -> Self {
        Self(Arc::new(ty))
    }

    pub(crate) fn ty(&self) -> &OwnedNamedType {
        &self.0
    }
}

/// Its name or its definition, as in signatures.
impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&type_text(&self.0))
    }
}
