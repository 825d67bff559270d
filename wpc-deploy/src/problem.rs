//! Problems found in files, with their positions.

use std::fmt;
use std::path::PathBuf;

/// The code of a system error.
pub const ENVIRONMENT: &str = "environment";

/// The code of an error in a manifest.
pub const MANIFEST: &str = "manifest";

/// The code of a grant or secret that a [`Policy`](crate::Policy) does not allow.
pub const NOT_ALLOWED: &str = "not_allowed";

/// One of the problems in the user's files, which are reported together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The file, if the problem is in one.
    pub file: Option<PathBuf>,
    /// The line; starts at 1.
    pub line: Option<usize>,
    /// One of the host's error codes, or [`MANIFEST`], [`ENVIRONMENT`] or a code of the program.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A system error.
    #[must_use]
    pub fn environment(message: String) -> Self {
        Self { file: None, line: None, code: ENVIRONMENT, message }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display()),
            (Some(file), None) => write!(f, "{}: ", file.display()),
            (None, Some(line)) => write!(f, "line {line}: "),
            (None, None) => Ok(()),
        }?;
        write!(f, "{} ({})", self.message, self.code)
    }
}
