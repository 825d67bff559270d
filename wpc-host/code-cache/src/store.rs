//! Files that are read, replaced and cleaned up. They appear whole or not at all; what a crash leaves of one is found
//! when it is read.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Where the entries lie, in the cache's folder: a folder in another. `wpc cache --clear` deletes the inner one.
pub(crate) const FOLDER: [&str; 2] = ["modules", "wpc-1"];

/// What the names of files begin with that are being written.
pub(crate) const TEMPORARY: &str = "writing-";

/// How many bytes the entries may have together.
const MAX_TOTAL: u64 = 512 << 20;

/// How many are left after the least recently used were deleted, so that not each further entry costs a look at all.
const KEPT_TOTAL: u64 = MAX_TOTAL / 4 * 3;

/// After how many entries the folder is looked through whatever this process wrote: others write there as well.
const LOOK_AFTER: u32 = 64;

/// How old a file is that another process began and did not finish.
const GIVEN_UP: Duration = Duration::from_secs(60 * 60);

/// How exactly it is known when an entry was last used: not each use costs a write.
const USE_RESOLUTION: Duration = Duration::from_secs(60 * 60);

#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    size: Mutex<Size>,
}

/// What is known of the folder's size.
#[derive(Debug, Default)]
struct Size {
    /// At the last look, and what this process wrote since.
    bytes: u64,
    /// How many entries this process may write until the next look.
    until_look: u32,
}

/// What lies under a name.
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
        // To open a named pipe could take for ever.
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
        }
        if metadata.len() > MAX_TOTAL {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        match fs::File::open(&path) {
            Ok(file) => file.take(MAX_TOTAL).read_to_end(&mut bytes)?,
            // Another process cleaned up meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        Ok(Found::Entry(bytes))
    }

    /// Notes that the entry was used, for the clean-up; where that fails, it is deleted earlier.
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
            let reason =
                format!("it has {length} bytes, and all entries have {KEPT_TOTAL} at most");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.folder)?;
        file.write_all(entry)?;
        let path = self.path(name);
        if let Err(error) = file.persist(&path) {
            // A folder in its place would stay there for good.
            if !path.is_dir() {
                return Err(error.error);
            }
            fs::remove_dir_all(&path)?;
            error.file.persist(&path)?;
        }
        self.clean_up(length);
        Ok(())
    }

    /// Deletes what was not used for longest once there is too much.
    fn clean_up(&self, written: u64) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.bytes += written;
        let is_due = size.until_look == 0 || size.bytes > MAX_TOTAL;
        if is_due {
            // Where the folder cannot be read, nothing can be deleted either.
            *size = Size {
                bytes: prune(&self.folder, MAX_TOTAL, KEPT_TOTAL).unwrap_or(0),
                until_look: LOOK_AFTER,
            };
        }
        size.until_look -= 1;
    }
}

/// Deletes the least recently used entries if there are more than `most` bytes, until there are at most `kept`; returns
/// how many are left. What other processes delete at the same time is gone, and that is all that was wanted.
fn prune(folder: &Path, most: u64, kept: u64) -> io::Result<u64> {
    let now = SystemTime::now();
    let mut entries = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let Ok(metadata) = file.metadata() else { continue };
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if file.file_name().to_string_lossy().starts_with(TEMPORARY) {
            if now.duration_since(used).is_ok_and(|age| age > GIVEN_UP) {
                let _ = fs::remove_file(file.path());
            }
        } else if metadata.is_file() {
            entries.push((used, metadata.len(), file.path()));
        }
    }
    let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
    if total > most {
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
    fn the_least_recently_used_are_deleted_and_files_that_were_given_up() {
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
    fn using_an_entry_keeps_it() {
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
