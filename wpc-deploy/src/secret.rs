//! Secrets: constants whose values a manifest only refers to.

use crate::file::{self, FileError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// `env:NAME`, a variable of the process.
    Variable(String),
    /// `file:PATH`.
    File(PathBuf),
}

/// The value of a secret. It is not shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The maximum size of a secret in bytes: enough for a chain of certificates.
const MAX_SECRET: usize = 64 << 10;

impl Reference {
    /// The secret with an absolute path, if `folder` is absolute.
    pub(crate) fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            variable @ Self::Variable(_) => variable,
        }
    }

    /// The current value. The last line break of a file is not part of it.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Variable(name) => match std::env::var(name) {
                Ok(value) => Ok(Secret(value)),
                Err(std::env::VarError::NotPresent) => {
                    Err(format!("the environment variable \"{name}\" is not set"))
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(format!("the environment variable \"{name}\" is not UTF-8"))
                }
            },
            Self::File(path) => {
                let bytes =
                    file::read(path, MAX_SECRET).map_err(|error: FileError| error.to_string())?;
                let text = String::from_utf8(bytes);
                // The error of the conversion would contain the secret.
                let mut text = text.map_err(|_| format!("\"{}\" is not UTF-8", path.display()))?;
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                Ok(Secret(text))
            }
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Self::Variable(name.to_owned()))
            }
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(format!("the secret `{text}`: expected env:NAME or file:PATH")),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_last_line_break_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hunter2\r\n").unwrap();
        let reference: Reference = "file:token".parse().unwrap();
        let secret = reference.within(folder.path()).read().unwrap();
        assert_eq!(secret.text(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("binary"), b"hunter2\xff").unwrap();
        for (reference, expected) in [
            ("env:WPC_TEST_NOT_SET", "\"WPC_TEST_NOT_SET\" is not set"),
            ("file:missing", "missing"),
            ("file:binary", "is not UTF-8"),
        ] {
            let reference: Reference = reference.parse().unwrap();
            let error = reference.within(folder.path()).read().unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        for text in ["", "env:", "file:", "vault:x", "env:A=B"] {
            assert!(text.parse::<Reference>().unwrap_err().contains("expected env:NAME"));
        }
    }
}
