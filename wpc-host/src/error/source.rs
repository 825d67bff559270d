//! The table of sources, by error.

use crate::error::Error;

impl std::error::Error for Error {
    /// The cause if it is an error, see [the module](crate::error#sources). The text contains it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::CircuitOpen { last_failure: Some(cause), .. }
            | Self::Timeout { cause: Some(cause), .. } => Some(&**cause),
            Self::ChangesRefused { refusals } => Some(&refusals.first()?.error),
            Self::Guest { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
