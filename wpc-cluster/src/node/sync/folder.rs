//! The files of a node: modules and manifests by their SHA-256, and the number of the revision that it ran last.

use crate::registry::{Active, Known, Registry};
use bytes::Bytes;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{NamedTempFile, TempDir};
use wpc_deploy::document::module_name;
use wpc_deploy::{Source, file};
use wpc_host::Sha256Hash;

/// The folder of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Removes it in the end.
    _temporary: Option<TempDir>,
}

/// The file of the revision that the node ran last.
const ACTIVE: &str = "active.json";

/// The maximum size of that file in bytes.
const MAX_ACTIVE: usize = 64 << 10;

impl Folder {
    /// A permanent folder. It is created if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, crate::Error> {
        let failed = |error: std::io::Error| crate::Error::File {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        std::fs::create_dir_all(path).map_err(failed)?;
        let path = std::path::absolute(path).map_err(failed)?;
        Ok(Self(Arc::new(Inner { path, _temporary: None })))
    }

    /// A temporary folder, which is removed when the last clone is dropped.
    pub(crate) fn temporary() -> Result<Self, crate::Error> {
        let folder = TempDir::with_prefix("wpc-node-").map_err(|error| crate::Error::File {
            path: std::env::temp_dir().display().to_string(),
            reason: error.to_string(),
        })?;
        let path = folder.path().to_owned();
        Ok(Self(Arc::new(Inner { path, _temporary: Some(folder) })))
    }

    /// A manifest in this folder, whose modules are files of it.
    pub(super) fn source(&self, text: String) -> Source {
        Source::new(self.0.path.join(wpc_deploy::MANIFEST_NAME), text)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.0.path
    }

    /// The path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }

    /// The file with this SHA-256, if it has at most `limit` bytes.
    pub(super) fn read(&self, name: &str, hash: Sha256Hash, limit: usize) -> Option<Vec<u8>> {
        let bytes = file::read(&self.0.path.join(name), limit).ok()?;
        (Sha256Hash::of(&bytes) == hash).then_some(bytes)
    }

    /// Whether a module is there.
    pub(super) fn has_module(&self, hash: Sha256Hash, limit: usize) -> bool {
        self.read(&module_name(hash), hash, limit).is_some()
    }

    /// Writes a file atomically: afterwards it is complete or does not exist.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let write = || {
            let mut file = NamedTempFile::new_in(&self.0.path)?;
            file.write_all(bytes)?;
            file.persist(self.0.path.join(name)).map_err(|error| error.error)?;
            Ok::<(), std::io::Error>(())
        };
        write().map_err(|error| {
            format!("failed to write {}: {error}", self.0.path.join(name).display())
        })
    }

    /// The revision that the node ran last, if its activation is trusted.
    pub(crate) fn active(&self, registry: &Registry) -> Option<Active> {
        let record = file::read(&self.0.path.join(ACTIVE), MAX_ACTIVE).ok()?;
        let active = Known::default().accept(registry, &Bytes::from(record));
        active.inspect_err(|error| tracing::warn!(%error, "the local copy is not accepted")).ok()
    }

    pub(super) fn set_active(&self, active: &Active) -> Result<(), String> {
        self.write(ACTIVE, &active.record)
    }
}

/// The name of a manifest's file.
pub(super) fn document_name(hash: Sha256Hash) -> String {
    format!("{hash}.toml")
}

/// The name of the file of a list of functions.
pub(super) fn index_name(revision: Sha256Hash) -> String {
    format!("{revision}.index.json")
}
