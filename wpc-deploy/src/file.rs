//! Reads files given by path. Only regular files of a bounded size are read: a pipe or device is rejected, because
//! reading it may never end. The path `-` reads standard input.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The path that selects standard input instead of a file.
pub const STANDARD_INPUT: &str = "-";

/// An error from reading a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system returned an error.
    #[error("failed to read \"{}\": {error}", path.display())]
    System {
        /// The file's path.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        error: io::Error,
    },
    /// The path is not a regular file.
    #[error("failed to read \"{}\": expected a regular file, found {found}", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// The kind of file that was found.
        found: &'static str,
    },
    /// The file is larger than the limit.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The file, as messages name it.
        what: String,
        /// The limit in bytes.
        limit: usize,
    },
}

impl FileError {
    /// Whether the file does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::System { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the file is larger than the limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// See [`FileError`].
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError::System { path: path.to_owned(), error };
    let regular = |ty: FileType| {
        if ty.is_file() {
            Ok(())
        } else {
            Err(FileError::NotRegular { path: path.to_owned(), found: kind(ty) })
        }
    };
    // Checked before opening, because opening a device may have side effects.
    regular(std::fs::metadata(path).map_err(failed)?.file_type())?;
    let file = open(path).map_err(failed)?;
    // Checked again, because the file may have been replaced in between.
    let metadata = file.metadata().map_err(failed)?;
    regular(metadata.file_type())?;
    let too_large = || FileError::TooLarge { what: format!("\"{}\"", path.display()), limit };
    if metadata.len() > limit as u64 {
        return Err(too_large());
    }
    let capacity = usize::try_from(metadata.len()).unwrap_or_default();
    // Bounded, because the file may grow while it is read.
    read_at_most(file, capacity, limit).map_err(failed)?.ok_or_else(too_large)
}

/// Reads standard input to its end, at most `limit` bytes.
///
/// # Errors
///
/// See [`FileError`].
pub fn read_standard_input(limit: usize) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError::System { path: PathBuf::from(STANDARD_INPUT), error };
    let read = read_at_most(io::stdin().lock(), 0, limit).map_err(failed)?;
    read.ok_or_else(|| FileError::TooLarge { what: "standard input".to_owned(), limit })
}

/// Reads a file, or standard input if the path is `-`.
///
/// # Errors
///
/// See [`FileError`].
pub fn read_given(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    if path.as_os_str() == STANDARD_INPUT { read_standard_input(limit) } else { read(path, limit) }
}

/// The bytes without the byte-order mark that some editors add to UTF-8.
#[must_use]
pub fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Reads to the end; returns `None` if there are more than `limit` bytes.
///
/// # Errors
///
/// Those of the reader.
pub fn read_at_most(from: impl Read, capacity: usize, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(capacity.min(limit));
    from.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // `O_NONBLOCK`, because opening a pipe that has replaced the file would block.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

fn kind(ty: FileType) -> &'static str {
    if ty.is_dir() {
        return "a directory";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if ty.is_fifo() {
            return "a pipe; use `-` for standard input";
        } else if ty.is_char_device() {
            return "a character device; use `-` for standard input";
        } else if ty.is_block_device() {
            return "a block device";
        } else if ty.is_socket() {
            return "a socket";
        }
    }
    "an unknown file type"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        assert!(read(&path, 9).unwrap_err().is_too_large());
        assert!(read(&folder.path().join("none"), 9).unwrap_err().is_not_found());
        assert!(read(folder.path(), 9).unwrap_err().to_string().contains("found a directory"));
        // The system does not report the size of this file.
        #[cfg(target_os = "linux")]
        assert!(read(Path::new("/proc/self/status"), 9).unwrap_err().is_too_large());
    }

    #[test]
    #[cfg(unix)]
    fn pipes_and_devices_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe, 9).unwrap_err().to_string().contains("found a pipe"));
        let zero = read(Path::new("/dev/zero"), usize::MAX).unwrap_err();
        assert!(zero.to_string().contains("found a character device"), "{zero}");
        // A pipe that replaces the file after the check does not block.
        let mut opened = open(&pipe).unwrap();
        assert_eq!(opened.read(&mut [0]).unwrap(), 0);
    }
}
