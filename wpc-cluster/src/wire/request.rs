//! A call on its way to a node.

use super::{Malformed, decode, encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A call on its way to a node. The definition that it requires is in the subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The time of the server, in milliseconds since 1970, after which the call must not start and must have ended.
    pub deadline_ms: u64,
    /// Whether the caller chose the deadline. Otherwise it follows from the function's own limit, which then applies.
    pub limits_time: bool,
    /// Whether the limits of the caller can only lower those of the function.
    pub within_limits: bool,
    /// The called function.
    pub function: String,
    /// What the body is.
    pub arguments: ArgumentsForm,
    /// Where the body is.
    pub body: Body,
    /// In which form the result is wanted.
    pub result: ArgumentsForm,
    /// How much fuel the call may use; `None` for the function's limit.
    pub fuel: Option<u64>,
    /// Calls with the same key are to run on the same worker.
    pub affinity: Option<u64>,
    /// Whether the caller reads items, and how many may be in flight.
    pub stream: Option<Window>,
    /// `traceparent` and `tracestate` of W3C Trace Context.
    pub trace: Option<(String, Option<String>)>,
    /// The caller's own identifier of the call.
    pub correlation_id: Option<String>,
}

/// The form of arguments or of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArgumentsForm {
    /// JSON: an array of arguments by position, or a result.
    Json,
    /// JSON: an object of arguments by name.
    Named,
    /// Postcard, as `docs/abi.md` describes it.
    Encoded,
    /// The content of the only argument, or of the result, which is a byte sequence or a string.
    Bytes,
}

impl ArgumentsForm {
    /// Whether it is JSON, which is converted.
    pub(crate) const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Named)
    }
}

/// Where the body of a message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body {
    /// It follows the head.
    Inline,
    /// It is an object of the store of payloads.
    Stored {
        /// The name of the object.
        name: String,
        /// Its length in bytes.
        length: u64,
        /// Its SHA-256.
        sha256: [u8; 32],
    },
}

/// How many items may be in flight to the caller. It grants more with [`Control::Credit`](super::Control).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Window {
    /// The number of items.
    pub items: u32,
    /// Their size in bytes.
    pub bytes: u32,
}

impl Window {
    /// A window of this many items and bytes.
    #[must_use]
    pub fn new(items: u32, bytes: u32) -> Self {
        Self { items, bytes }
    }
}

/// The maximum length of a function's name, as in pools.
const MAX_NAME: usize = 255;
/// The maximum lengths of texts for logs and traces.
const MAX_TEXT: usize = 1024;
/// The maximum length of an object's name.
const MAX_OBJECT: usize = 128;

impl Request {
    /// A call with this deadline, and with the function's own options.
    #[must_use]
    pub fn new(deadline_ms: u64, function: impl Into<String>) -> Self {
        Self {
            deadline_ms,
            limits_time: false,
            within_limits: false,
            function: function.into(),
            arguments: ArgumentsForm::Json,
            body: Body::Inline,
            result: ArgumentsForm::Json,
            fuel: None,
            affinity: None,
            stream: None,
            trace: None,
            correlation_id: None,
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
        let (request, body): (Self, _) = decode(message)?;
        let too_long = |text: Option<&String>, limit| text.is_some_and(|text| text.len() > limit);
        let (parent, state) = request
            .trace
            .as_ref()
            .map_or((None, None), |(parent, state)| (Some(parent), state.as_ref()));
        let object = match &request.body {
            Body::Inline => None,
            Body::Stored { name, .. } => Some(name),
        };
        for (name, text, limit) in [
            ("function", Some(&request.function), MAX_NAME),
            ("trace", parent, MAX_TEXT),
            ("trace", state, MAX_TEXT),
            ("correlation_id", request.correlation_id.as_ref(), MAX_TEXT),
            ("body", object, MAX_OBJECT),
        ] {
            if too_long(text, limit) {
                return Err(Malformed::TooLong(name));
            }
        }
        Ok((request, body))
    }
}
