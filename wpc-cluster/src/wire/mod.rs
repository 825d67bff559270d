//! The messages between callers and nodes. Every message is read as if an attacker had written it: a malformed one is
//! dropped, and no length in it is trusted.
//!
//! | message | from, to | subject |
//! |---|---|---|
//! | [`Request`] | caller, node | `PREFIX.call.NODE.DEFINITION`, with the inbox of the call as the reply subject |
//! | [`Frame`] | node, caller | the inbox of the call |
//! | [`Control`] | caller, node | `PREFIX.node.NODE` |
//! | [`Heartbeat`] | node, all | `PREFIX.beat.NODE` |
//!
//! A message is a head, encoded with postcard, and a body of bytes that follows it to the message's end. A head starts with the
//! version of its form.

mod control;
mod frame;
mod heartbeat;
mod request;

pub use control::Control;
pub use frame::{Frame, Refusal, Reply};
pub use heartbeat::{Heartbeat, Stage};
pub use request::{ArgumentsForm, Body, Request, Window};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// The version of the form of all messages.
pub const VERSION: u8 = 2;

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// It has another version.
    Version(u8),
    /// Its head is malformed.
    Head,
    /// A field is longer than it may be.
    TooLong(&'static str),
    /// It is empty.
    Empty,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(found) => {
                write!(f, "the message has the version {found}, expected {VERSION}")
            }
            Self::Head => f.write_str("the head of the message is malformed"),
            Self::TooLong(field) => write!(f, "the field `{field}` of the message is too long"),
            Self::Empty => f.write_str("the message is empty"),
        }
    }
}

impl std::error::Error for Malformed {}

/// A message with this head and body.
pub(crate) fn encode(head: &impl Serialize, body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(128 + body.len());
    bytes.push(VERSION);
    // Heads have no types that postcard cannot encode.
    let mut bytes = postcard::to_extend(head, bytes).expect("heads can be encoded");
    bytes.extend_from_slice(body);
    bytes.into()
}

/// The head and the body of a message. The body shares the message's memory.
pub(crate) fn decode<H: DeserializeOwned>(message: &Bytes) -> Result<(H, Bytes), Malformed> {
    match message.first() {
        None => return Err(Malformed::Empty),
        Some(&VERSION) => {}
        Some(&other) => return Err(Malformed::Version(other)),
    }
    let (head, body) = postcard::take_from_bytes(&message[1..]).map_err(|_| Malformed::Head)?;
    let start = message.len() - body.len();
    Ok((head, message.slice(start..)))
}
