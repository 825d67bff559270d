//! Checks which folders are trusted, and manages the key in the folder.

use crate::entry::Key;
use std::fs;
use std::io;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The file of the key. It is kept when entries are deleted.
const KEY: &str = "key";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or folder cannot be created, read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A user other than this one and root can change its contents.
    #[error("{} {problem}; its files are run as native code, so only this user and root may change them: {remedy}", path.display())]
    Untrusted {
        /// The folder, or one of its ancestors.
        path: PathBuf,
        /// Which user can change it.
        problem: String,
        /// How to solve the problem.
        remedy: String,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |error| OpenError::Io { path: path.to_owned(), error }
}

/// Creates the folder if it is missing, and checks that only this user and root can change its contents. Every ancestor
/// must belong to one of them, and must not be writable by a group or by other users unless its sticky bit prevents them
/// from replacing files that they do not own. The returned path has no symbolic links, which could be changed later.
pub(crate) fn open(folder: &Path) -> Result<PathBuf, OpenError> {
    let folder = create(folder)?;
    for folder in folder.ancestors() {
        trust(folder)?;
    }
    Ok(folder)
}

/// Creates a folder if it is missing; returns its path without symbolic links.
pub(crate) fn create(folder: &Path) -> Result<PathBuf, OpenError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder).map_err(io_error(folder))?;
    let path = fs::canonicalize(folder).map_err(io_error(folder))?;
    trust_inside(&path)?;
    Ok(path)
}

#[cfg(unix)]
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Checks that the folder itself belongs to this user or root, and that no other user can write to it.
#[cfg(unix)]
fn trust_inside(folder: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(folder).map_err(io_error(folder))?;
    check_owner(folder, metadata.uid())?;
    // The sticky bit prevents others from replacing entries, but not from adding entries.
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(writable(folder, metadata.mode()));
    }
    Ok(())
}

/// Checks that only this user and root can replace the contents of an ancestor.
#[cfg(unix)]
fn trust(folder: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::MetadataExt as _;
    const STICKY: u32 = 0o1000;
    let metadata = fs::metadata(folder).map_err(io_error(folder))?;
    check_owner(folder, metadata.uid())?;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 && metadata.mode() & STICKY == 0 {
        return Err(writable(folder, metadata.mode()));
    }
    Ok(())
}

#[cfg(unix)]
fn check_owner(folder: &Path, owner: u32) -> Result<(), OpenError> {
    const ROOT: u32 = 0;
    let user = rustix::process::geteuid().as_raw();
    if owner == user || owner == ROOT {
        return Ok(());
    }
    Err(OpenError::Untrusted {
        path: folder.to_owned(),
        problem: format!("belongs to user {owner}, and this process runs as user {user}"),
        remedy: "choose another folder".to_owned(),
    })
}

#[cfg(unix)]
fn writable(folder: &Path, mode: u32) -> OpenError {
    let (who, right) =
        if mode & 0o002 != 0 { ("every user", "go-w") } else { ("its group", "g-w") };
    OpenError::Untrusted {
        path: folder.to_owned(),
        problem: format!("can be written to by {who}"),
        remedy: format!("remove that permission with `chmod {right}`, or choose another folder"),
    }
}

#[cfg(not(unix))]
fn trust(_: &Path) -> Result<(), OpenError> {
    Ok(())
}

#[cfg(not(unix))]
fn trust_inside(_: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// The folder's key, which is created if it is missing or damaged. Entries with another key then fail verification.
pub(crate) fn key(folder: &Path) -> Result<Key, OpenError> {
    let path = folder.join(KEY);
    // If two processes create a key at the same time, both use the first one.
    for is_damaged in [false, true] {
        match read_key(&path).map_err(io_error(&path))? {
            Some(key) => return Ok(key),
            None => write_key(folder, &path, is_damaged).map_err(io_error(&path))?,
        }
    }
    let damaged =
        io::Error::new(io::ErrorKind::InvalidData, "other processes keep replacing the key");
    read_key(&path).and_then(|key| key.ok_or(damaged)).map_err(io_error(&path))
}

/// Reads the key; `None` if it is missing or damaged, or if other users could have read or written it.
fn read_key(path: &Path) -> io::Result<Option<Key>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() && is_private(&metadata) => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(Key::LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    Ok(<[u8; Key::LENGTH]>::try_from(bytes).ok().map(Key::new))
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private(_: &fs::Metadata) -> bool {
    true
}

fn write_key(folder: &Path, path: &Path, replace: bool) -> io::Result<()> {
    let mut bytes = [0; Key::LENGTH];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut file = tempfile::Builder::new().prefix(crate::store::TEMPORARY).tempfile_in(folder)?;
    file.write_all(&bytes)?;
    if replace {
        file.persist(path)?;
        return Ok(());
    }
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}
