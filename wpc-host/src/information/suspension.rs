//! Why calls to a function can be suspended.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What lets the calls to a function be suspended, so that their worker runs others meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SuspensionCause {
    /// An async or blocking host function of this name, which the function's module or one of its dependencies imports.
    HostFunction(String),
    /// A call to the function of this name, which its module or one of its dependencies makes.
    FunctionCall(String),
    /// An import of WASI of this name in which its module or one of its dependencies may wait, such as `poll_oneoff`.
    WasiImport(String),
    /// Items that it or one of its dependencies yields: their caller may be slower.
    Items,
    /// The [time slice](crate::Limits::time_slice) of its limits.
    TimeSlice(Duration),
}

impl fmt::Display for SuspensionCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostFunction(name) => write!(f, "the host function \"{name}\""),
            Self::FunctionCall(name) => write!(f, "the call to function \"{name}\""),
            Self::WasiImport(name) => write!(f, "the WASI import \"{name}\""),
            Self::Items => f.write_str("the items that it yields"),
            Self::TimeSlice(length) => write!(f, "its time slice of {length:?}"),
        }
    }
}
