//! Constructors for errors that code above this library reports as a pool would.

use crate::error::Error;

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
