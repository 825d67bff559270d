//! The file of a Unix socket: only its user can connect, and it does not outlive its listener.

use std::fs::{Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// The file of a listening socket. It is removed when this is dropped, unless another process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Creates a socket that only the user of this process and root can connect to. A socket on which no process listens is replaced.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    refuse_occupied(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if !parent.is_dir() {
        let reason = format!("the folder \"{}\" does not exist", parent.display());
        return Err(io::Error::new(ErrorKind::NotFound, reason));
    }
    // Sockets are created with the permissions of the process's mask. In a folder of this user, no other user can connect
    // before they are restricted.
    let folder = tempfile::Builder::new().prefix(".wpc").rand_bytes(4).tempdir_in(parent)?;
    let created = folder.path().join("s");
    let listener = UnixListener::bind(&created)?;
    std::fs::set_permissions(&created, Permissions::from_mode(0o600))?;
    let identity = identity(&std::fs::symlink_metadata(&created)?);
    std::fs::rename(&created, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

/// Refuses a path at which a process listens, or at which something other than a socket is.
fn refuse_occupied(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "the file exists, and is not a socket",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path) {
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
        {
            Ok(())
        }
        // This includes a socket whose queue is full or that belongs to another user: a process may be listening on it.
        Ok(_) | Err(_) => {
            Err(io::Error::new(ErrorKind::AddrInUse, "another process listens on the socket"))
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| identity(&found) == self.identity)
        {
            // The next start replaces a file that cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
