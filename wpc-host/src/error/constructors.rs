//! Constructors for errors that code above this library reports as a pool would.

use crate::error::{CallOutcome, Error, ErrorCode, ErrorReport, Remedy};
use crate::id::FunctionHash;
use std::fmt::Display;

/// Constructors for code that checks names, constants or options before the pool does.
impl Error {
    /// An [`Error::FunctionNotDefined`].
    ///
    /// ```
    /// use wpc_host::{Error, ErrorCode};
    ///
    /// let error = Error::function_not_defined("resize");
    /// assert_eq!(error.code(), ErrorCode::FunctionNotDefined);
    /// ```
    #[must_use]
    pub fn function_not_defined(function: impl Into<String>) -> Self {
        Self::FunctionNotDefined { function: function.into() }
    }

    /// An [`Error::PinMismatch`]: the function is defined by a different module than the caller requires.
    #[must_use]
    pub fn pin_mismatch(
        function: impl Into<String>,
        expected: FunctionHash,
        found: FunctionHash,
    ) -> Self {
        Self::PinMismatch { function: function.into(), expected, found }
    }

    /// An error with the code [`Denied`](ErrorCode::Denied): the caller may not call the function, because `reason`. The call
    /// did not start.
    #[must_use]
    pub fn denied(function: &str, reason: impl Display) -> Self {
        let text = format!("the call to function \"{function}\" is not permitted: {reason}");
        ErrorReport::new(ErrorCode::Denied, CallOutcome::NotStarted, text).into()
    }

    /// An error with the code [`Unreachable`](ErrorCode::Unreachable): no process that can run the function can be reached,
    /// because `reason`. The call did not start.
    #[must_use]
    pub fn unreachable(function: &str, reason: impl Display) -> Self {
        let text = format!(
            "function \"{function}\" cannot be reached, so the call did not start: {reason}"
        );
        let report = ErrorReport::new(ErrorCode::Unreachable, CallOutcome::NotStarted, text);
        ErrorReport { remedy: Some(Remedy::Retry), ..report }.into()
    }

    /// An error with the code [`ResultTooLarge`](ErrorCode::ResultTooLarge): the function ran, and its result cannot be passed on,
    /// because `reason`.
    #[must_use]
    pub fn result_not_sent(function: &str, reason: impl Display) -> Self {
        let text = format!("the result of function \"{function}\" cannot be sent: {reason}");
        ErrorReport::new(ErrorCode::ResultTooLarge, CallOutcome::Finished, text).into()
    }

    /// An error with the code [`ConnectionLost`](ErrorCode::ConnectionLost): the process that ran the call ended, or the
    /// connection to it was lost, before it answered, because `reason`. The call may have run.
    #[must_use]
    pub fn connection_lost(function: &str, reason: impl Display) -> Self {
        let text = format!(
            "the connection to the process that ran function \"{function}\" was lost, and the call may have run: {reason}"
        );
        ErrorReport::new(ErrorCode::ConnectionLost, CallOutcome::Unknown, text).into()
    }

    /// An [`Error::ConstantEncode`]: the value of a constant is not accepted, for this reason.
    #[must_use]
    pub fn constant_encode(constant: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::ConstantEncode { constant: constant.into(), reason: reason.into() }
    }

    /// An [`Error::InvalidOptions`] with one problem for each invalid option.
    #[must_use]
    pub fn invalid_options(problems: impl IntoIterator<Item = String>) -> Self {
        Self::InvalidOptions { problems: problems.into_iter().collect() }
    }
}
