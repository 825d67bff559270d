//! What a caller sends a node about its calls there.

use super::{Malformed, decode, encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a caller sends a node about its calls there. An attempt is identified by the inbox of its answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control {
    /// The caller no longer waits for these calls; their guests are stopped.
    Cancel {
        /// The inboxes of their answers.
        inboxes: Vec<String>,
    },
    /// The caller has read items of a stream, so the node may send this many more.
    Credit {
        /// The inbox of its answers.
        inbox: String,
        /// The number of items.
        items: u32,
        /// Their size in bytes.
        bytes: u32,
    },
    /// The caller may have missed answers of these calls. Those that the node still has are sent again; a call that it does not
    /// know is answered with [`Frame::UnknownCall`](super::Frame).
    Ask {
        /// The inboxes of their answers.
        inboxes: Vec<String>,
    },
}

/// The maximum number of calls in a message, and the maximum length of an inbox.
const MAX_INBOXES: usize = 1024;
const MAX_INBOX: usize = 256;

impl Control {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(self, &[])
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Why the message cannot be read.
    pub fn decode(message: &Bytes) -> Result<Self, Malformed> {
        let (control, _): (Self, _) = decode(message)?;
        let inboxes = match &control {
            Self::Cancel { inboxes } | Self::Ask { inboxes } => inboxes.as_slice(),
            Self::Credit { inbox, .. } => std::slice::from_ref(inbox),
        };
        if inboxes.len() > MAX_INBOXES || inboxes.iter().any(|inbox| inbox.len() > MAX_INBOX) {
            return Err(Malformed::TooLong("inboxes"));
        }
        Ok(control)
    }
}
