//! How much an event matters.

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Details of normal operation, which logs usually omit.
    Debug,
    /// Normal operation.
    Info,
    /// A failure that is being repaired, or a suspicious condition.
    Warn,
    /// Something failed.
    Error,
}

/// The severity of the event of a failed call, by the kind of failure. A part that is missing when it is deserialized has its
/// default.
///
/// ```
/// use wpc_host::{FailureSeverities, Options, Severity};
///
/// let severities = FailureSeverities::new().guest_error(Severity::Warn);
/// let options = Options::default().failure_severities(severities);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FailureSeverities {
    /// An error that the function returned, or arguments that it could not decode. Default [`Severity::Info`], because such
    /// errors are part of normal operation, for example of a validator.
    pub guest_error: Severity,
    /// A limit that the call reached, a cancellation, or a stop. Default [`Severity::Warn`].
    pub limit: Severity,
    /// A trap, or a reply that violates the guest contract. Default [`Severity::Error`].
    pub trap: Severity,
}

impl Default for FailureSeverities {
    fn default() -> Self {
        Self { guest_error: Severity::Info, limit: Severity::Warn, trap: Severity::Error }
    }
}

impl FailureSeverities {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the severity of errors that a function returned.
    #[must_use]
    pub fn guest_error(mut self, severity: Severity) -> Self {
        self.guest_error = severity;
        self
    }

    /// Sets the severity of reached limits.
    #[must_use]
    pub fn limit(mut self, severity: Severity) -> Self {
        self.limit = severity;
        self
    }

    /// Sets the severity of traps.
    #[must_use]
    pub fn trap(mut self, severity: Severity) -> Self {
        self.trap = severity;
        self
    }

    pub(crate) fn of(&self, error: &Error) -> Severity {
        match error {
            Error::Guest { .. } | Error::BadArguments { .. } => self.guest_error,
            Error::Timeout { .. }
            | Error::OutOfFuel { .. }
            | Error::OutOfMemory { .. }
            | Error::OutOfTableElements { .. }
            | Error::StackOverflow { .. }
            | Error::LogLimit { .. }
            | Error::ResultTooLarge { .. }
            | Error::TooManyOpenFiles { .. }
            | Error::InstancesInUse { .. }
            | Error::ConstantNotDefined { .. }
            | Error::Cancelled { .. }
            | Error::Stopped { .. } => self.limit,
            _ => self.trap,
        }
    }
}
