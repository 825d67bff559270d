//! The failure that an event reports.

use crate::error::{Error, ErrorCode};
use serde::{Deserialize, Serialize};

/// The longest text of a guest that an event carries, in bytes. It is bounded because thousands of events may wait for a
/// listener.
const MAX_TEXT: usize = 16 * 1024;

/// The failure that an event reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventError {
    /// The error's stable code.
    pub code: ErrorCode,
    /// The name that the guest gave its error; for other errors the code as text.
    pub name: String,
    /// The error's text.
    pub message: String,
    /// The guest's stack; empty if it is not known.
    pub stack: String,
}

impl EventError {
    /// A failure without a stack, whose name is the code. The other fields can be set.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let name = code.as_str().to_owned();
        Self { code, name, message: message.into(), stack: String::new() }
    }
}

impl From<&Error> for EventError {
    fn from(error: &Error) -> Self {
        let code = error.code();
        let (name, stack) = match error {
            Error::Guest { error, .. } => (error.name.clone(), error.stack.clone()),
            Error::Trap { stack, .. } | Error::UncaughtException { stack, .. } => {
                (code.as_str().to_owned(), stack.clone())
            }
            _ => (code.as_str().to_owned(), String::new()),
        };
        let [name, message, stack] = [name, error.to_string(), stack].map(cut);
        Self { code, name, message, stack }
    }
}

/// Truncates the text to [`MAX_TEXT`].
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::every_error;

    #[test]
    fn every_error_reads_back_from_json_as_events_carry_it() {
        for error in every_error() {
            let error = EventError::from(&error);
            let json = serde_json::to_string(&error).unwrap();
            assert_eq!(serde_json::from_str::<EventError>(&json).unwrap(), error, "{json}");
        }
    }
}
