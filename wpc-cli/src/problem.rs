//! Something that is wrong in a file, and where.

use std::fmt;
use std::path::PathBuf;

/// The code of what is the machine's.
pub(crate) const MACHINE: &str = "machine";

/// The code of what a manifest says wrongly.
pub(crate) const MANIFEST: &str = "manifest";

/// The code of a test that failed.
pub(crate) const TEST: &str = "test";

/// One of the things that are wrong with what was given: they are told together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Problem {
    pub(crate) file: Option<PathBuf>,
    /// From 1.
    pub(crate) line: Option<usize>,
    /// What kind it is of: one of the host's codes, [`MANIFEST`], [`MACHINE`] or [`TEST`].
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Problem {
    /// Something of the machine's.
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
