//! Problems found in files, with their positions.

use std::fmt;
use std::path::PathBuf;

/// The code of a system error.
pub(crate) const MACHINE: &str = "machine";

/// The code of an error in a manifest.
pub(crate) const MANIFEST: &str = "manifest";

/// The code of a failed test.
pub(crate) const TEST: &str = "test";

/// One of the problems in the user's files, which are reported together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Problem {
    pub(crate) file: Option<PathBuf>,
    /// Starts at 1.
    pub(crate) line: Option<usize>,
    /// One of the host's error codes, or [`MANIFEST`], [`MACHINE`] or [`TEST`].
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Problem {
    /// A system error.
    pub(crate) fn machine(message: String) -> Self {
        Self { file: None, line: None, code: MACHINE, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        let space = if self.file.is_some() || self.line.is_some() { " " } else { "" };
        write!(f, "{space}{} ({})", self.message, self.code)
    }
}
