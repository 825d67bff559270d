//! What a node states about itself.

use super::{Malformed, decode, encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a node states about itself, several times a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Heartbeat {
    /// A random number of this start of the node. A node that starts again has a different one, so its earlier calls are lost.
    pub epoch: u64,
    /// Its state.
    pub stage: Stage,
    /// The version of its program.
    pub version: String,
    /// The revision that it runs.
    pub revision: Option<u64>,
    /// The SHA-256 of the list of its functions, see [`Index`](crate::Index); zeros if it runs none.
    pub index: [u8; 32],
    /// Its workers that accept calls.
    pub workers: u32,
    /// How many calls it accepts at once.
    pub call_limit: u32,
    /// The calls that it has accepted and not answered, those of its own process included.
    pub in_flight: u32,
    /// The calls from other processes that it has accepted since its start.
    pub accepted: u64,
    /// The calls from other processes that it has refused since its start.
    pub refused: u64,
    /// Why other processes cannot call it reliably, or why it does not run the active revision; empty if it has no problem.
    pub problem: String,
}

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stage {
    /// It accepts calls.
    Serving,
    /// It finishes its calls and accepts no others.
    Draining,
    /// It has finished its calls, and its process ends.
    Left,
}

/// The maximum lengths of texts.
const MAX_VERSION: usize = 64;
const MAX_PROBLEM: usize = 4096;

impl Heartbeat {
    /// A heartbeat of a node that serves nothing.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            stage: Stage::Serving,
            version: String::new(),
            revision: None,
            index: [0; 32],
            workers: 0,
            call_limit: 0,
            in_flight: 0,
            accepted: 0,
            refused: 0,
            problem: String::new(),
        }
    }

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
        let (heartbeat, _): (Self, _) = decode(message)?;
        if heartbeat.version.len() > MAX_VERSION {
            return Err(Malformed::TooLong("version"));
        }
        if heartbeat.problem.len() > MAX_PROBLEM {
            return Err(Malformed::TooLong("problem"));
        }
        Ok(heartbeat)
    }
}
