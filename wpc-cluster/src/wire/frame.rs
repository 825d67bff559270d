//! What a node answers to a call.

use super::{Body, Malformed, decode, encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wpc_host::ErrorReport;

/// What a node answers to a call. Items are followed by others, and [`Stopped`](Self::Stopped) follows the last one of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Frame {
    /// The call did not start.
    Refused(Refusal),
    /// An item of a stream, as JSON in the body. Items are numbered from 0.
    Item(u64),
    /// The call returned. Its result is in the body.
    Reply(Box<Reply>),
    /// The node does not know the call, which it may have run before.
    UnknownCall,
    /// The call ended with an error.
    Failed {
        /// The error.
        report: Box<ErrorReport>,
        /// How many items were sent before.
        items: u64,
        /// The fuel that it used. `None` if it is not metered, and if its guest has not stopped yet: then
        /// [`Stopped`](Self::Stopped) follows.
        fuel_used: Option<u64>,
    },
    /// The guest of a metered call that failed, or that its caller cancelled, has stopped.
    Stopped {
        /// The fuel that it used.
        fuel_used: u64,
    },
}

/// Why a node refuses a call. The call has not started in any case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// It has as many calls as it accepts.
    Busy,
    /// It finishes its calls and accepts no others.
    Draining,
    /// It does not have the definition.
    NotHere,
    /// The deadline had passed when the message arrived.
    Expired,
    /// The message is malformed.
    Malformed(String),
    /// The arguments are larger than the node accepts, or their object cannot be read.
    Payload(String),
    /// The pool refused the call.
    Pool(Box<ErrorReport>),
}

/// Which definition gave a result, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reply {
    /// The SHA-256 of the definition that ran.
    pub definition: [u8; 32],
    /// The worker of the node that ran it.
    pub worker: u64,
    /// The fuel that it used, if it was metered.
    pub fuel_used: Option<u64>,
    /// Where the result is.
    pub body: Body,
    /// How many items were sent before.
    pub items: u64,
}

impl Reply {
    /// A reply of this definition and worker whose result follows in the message.
    #[must_use]
    pub fn new(definition: [u8; 32], worker: u64) -> Self {
        Self { definition, worker, fuel_used: None, body: Body::Inline, items: 0 }
    }
}

impl Frame {
    /// The fuel that the call used, if it is known.
    #[must_use]
    pub fn fuel_used(&self) -> Option<u64> {
        match self {
            Self::Reply(answer) => answer.fuel_used,
            Self::Failed { fuel_used, .. } => *fuel_used,
            Self::Stopped { fuel_used } => Some(*fuel_used),
            Self::Refused(_) | Self::Item(_) | Self::UnknownCall => None,
        }
    }

    /// The message with this body.
    #[must_use]
    pub fn encode(&self, body: &[u8]) -> Bytes {
        encode(self, body)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Why the message cannot be read.
    pub fn decode(message: &Bytes) -> Result<(Self, Bytes), Malformed> {
        decode(message)
    }
}
