//! Directories that a guest can access.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of the host that a guest can access.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) is_writable: bool,
    /// Opened when the definition was created. A directory that later replaces it at the same path was not granted.
    pub(super) handle: Option<Arc<File>>,
}

impl Directory {
    /// The path at which a sandbox opens it.
    pub(crate) fn path(&self) -> PathBuf {
        #[cfg(target_os = "linux")]
        if let Some(handle) = &self.handle {
            use std::os::fd::AsRawFd as _;
            let by_handle = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
            if by_handle.exists() {
                return by_handle;
            }
        }
        self.host.clone()
    }
}

/// Opens a directory if [`Directory::path`] can use the handle.
pub(super) fn open_directory(host: &Path) -> std::io::Result<Option<File>> {
    if cfg!(target_os = "linux") { File::open(host).map(Some) } else { Ok(None) }
}

/// The maximum number of directories in a grant.
pub(super) const MAX_DIRECTORIES: usize = 64;
