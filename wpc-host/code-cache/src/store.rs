//! Reads, replaces and deletes files. Files are replaced atomically; verification detects a file that a crash of the
//! machine has damaged.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The path of the entries in the cache's folder. `wpc cache --clear` deletes the inner folder.
pub(crate) const FOLDER: [&str; 2] = ["modules", "wpc-1"];

/// The prefix of the names of files that are being written.
pub(crate) const TEMPORARY: &str = "writing-";

/// The maximum total size of the entries, in bytes.
const MAX_TOTAL: u64 = 512 << 20;

/// The maximum total size after the least recently used entries were deleted. It is smaller than [`MAX_TOTAL`], so that
/// not every further entry requires a scan of the folder.
const KEPT_TOTAL: u64 = MAX_TOTAL / 4 * 3;

/// After how many written entries the folder is scanned even if this process wrote little: other processes write there too.
const SCAN_AFTER: u32 = 64;

/// The age after which an unfinished file of another process is deleted.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The resolution of the time of the last use, so that not every use requires a write.
const USE_RESOLUTION: Duration = Duration::from_secs(60 * 60);

#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    size: Mutex<Size>,
}

/// The estimated size of the folder.
#[derive(Debug, Default)]
struct Size {
    /// The size at the last scan, plus the bytes that this process has written since.
    bytes: u64,
    /// How many entries this process may write until the next scan.
    until_scan: u32,
}

/// The result of looking up a name.
pub(crate) enum Found {
    Nothing,
    Entry(Vec<u8>),
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, size: Mutex::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Found> {
        let path = self.path(name);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        // Opening a named pipe could block forever.
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
        }
        if metadata.len() > MAX_TOTAL {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        match fs::File::open(&path) {
            Ok(file) => file.take(MAX_TOTAL).read_to_end(&mut bytes)?,
            // Another process deleted the entry meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        Ok(Found::Entry(bytes))
    }

    /// Records that the entry was used. If that fails, the entry is deleted earlier.
    pub(crate) fn mark_used(&self, name: &str) {
        let mark = || -> io::Result<()> {
            let file = fs::File::open(self.path(name))?;
            let now = SystemTime::now();
            let is_recent = file.metadata()?.modified()? > now - USE_RESOLUTION;
            if is_recent { Ok(()) } else { file.set_modified(now) }
        };
        let _ = mark();
    }

    pub(crate) fn write(&self, name: &str, entry: &[u8]) -> io::Result<()> {
        let length = entry.len() as u64;
        if length > KEPT_TOTAL {
            let reason = format!(
                "it has {length} bytes, but the limit of all entries is {KEPT_TOTAL} bytes"
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.folder)?;
        file.write_all(entry)?;
        let path = self.path(name);
        if let Err(error) = file.persist(&path) {
            // `persist` cannot replace a folder.
            if !path.is_dir() {
                return Err(error.error);
            }
            fs::remove_dir_all(&path)?;
            error.file.persist(&path)?;
        }
        self.clean_up(length);
        Ok(())
    }

    /// Deletes the least recently used entries if the folder is too large.
    fn clean_up(&self, written: u64) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.bytes += written;
        let is_due = size.until_scan == 0 || size.bytes > MAX_TOTAL;
        if is_due {
            // If the folder cannot be read, no entry can be deleted either.
            *size = Size {
                bytes: prune(&self.folder, MAX_TOTAL, KEPT_TOTAL).unwrap_or(0),
                until_scan: SCAN_AFTER,
            };
        }
        size.until_scan -= 1;
    }
}

/// Deletes the least recently used entries if there are more than `max` bytes, until there are at most `kept`; returns the
/// remaining bytes. Entries that other processes delete at the same time are skipped.
fn prune(folder: &Path, max: u64, kept: u64) -> io::Result<u64> {
    let now = SystemTime::now();
    let mut entries = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let Ok(metadata) = file.metadata() else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if file.file_name().to_string_lossy().starts_with(TEMPORARY) {
            if now.duration_since(used).is_ok_and(|age| age > ABANDONED_AFTER) {
                let _ = fs::remove_file(file.path());
            }
        } else if metadata.is_file() {
            entries.push((used, metadata.len(), file.path()));
        }
    }
    let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
    if total > max {
        entries.sort();
        for (_, length, path) in entries {
            if total <= kept {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= length;
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_entries_and_abandoned_files_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let write = |name: &str, hours: u64| {
            let path = folder.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(now - Duration::from_secs(hours * 3600)).unwrap();
        };
        let left = || {
            let names = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> =
                names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        write("old", 3);
        write("older", 4);
        write("new", 0);
        write("writing-old", 2);
        write("writing-new", 0);
        assert_eq!(prune(folder.path(), 30, 20).unwrap(), 30);
        assert_eq!(left(), ["new", "old", "older", "writing-new"]);
        assert_eq!(prune(folder.path(), 29, 15).unwrap(), 10);
        assert_eq!(left(), ["new", "writing-new"]);
    }

    #[test]
    fn using_an_entry_updates_its_time_of_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        store.write("a", b"entry").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(86_400);
        let file = fs::File::options().write(true).open(store.path("a")).unwrap();
        file.set_modified(long_ago).unwrap();
        store.mark_used("a");
        assert!(fs::metadata(store.path("a")).unwrap().modified().unwrap() > long_ago);
    }
}
