//! The modules of a data folder, by their content: the file `modules/<SHA-256>.wasm`, and in the store what the module declares.
//!
//! A module exists if the store lists it. Before that, its file is completed: it is written under another name, synchronised
//! and renamed, and then its folder is synchronised. When a module is removed, the store forgets it before its file is removed.
//!
//! A file's modification time is that of the last request that uploaded or named the module.

use crate::store::{Store, StoreError, sync_folder};
use redb::TableDefinition;
use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;
use wpc_deploy::document::{module_name, named_content};
use wpc_host::{Error, Limits, ModuleInformation, Options, Sha256Hash, WasmModule};

/// What each module declares as JSON, by its SHA-256.
const MODULES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("modules");

/// The maximum size of a module in bytes: the largest that the default limits of an entry allow.
pub(crate) fn max_size() -> u64 {
    Limits::default().module_size as u64
}

#[derive(Debug, Clone)]
pub(crate) struct Modules {
    folder: PathBuf,
    store: Store,
    /// How modules are compiled.
    options: Options,
    /// Held while it is decided whether files are kept.
    keeping: Arc<Mutex<()>>,
}

/// Why a module is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    #[error("failed to write the module: {0}")]
    Disk(#[from] std::io::Error),
    #[error("expected a module with the SHA-256 {expected}, received one with {found}")]
    Digest { expected: Sha256Hash, found: Sha256Hash },
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Compile(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A module that is being uploaded. Dropping it removes what was written.
#[derive(Debug)]
pub(crate) struct Upload(NamedTempFile);

impl Upload {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ModuleError> {
        Ok(self.0.write_all(bytes)?)
    }
}

impl Modules {
    pub(crate) fn open(store: Store, options: Options) -> Result<Self, std::io::Error> {
        let folder = store.folder().join("modules");
        std::fs::create_dir_all(&folder)?;
        let modules = Self { folder, store, options, keeping: Arc::default() };
        modules.remove_incomplete();
        Ok(modules)
    }

    /// Removes uploads that a previous process did not finish.
    fn remove_incomplete(&self) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(INCOMPLETE) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn begin(&self) -> Result<Upload, ModuleError> {
        Ok(Upload(tempfile::Builder::new().prefix(INCOMPLETE).tempfile_in(&self.folder)?))
    }

    /// Stores a module that has arrived, unless it is stored already. Returns what it declares, and whether it is new.
    pub(crate) fn finish(
        &self,
        upload: Upload,
        expected: Option<Sha256Hash>,
    ) -> Result<(ModuleInformation, bool), ModuleError> {
        let bytes = std::fs::read(upload.0.path())?;
        let found = Sha256Hash::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(ModuleError::Digest { expected, found });
        }
        let path = self.folder.join(module_name(found));
        // A stored file that was damaged is replaced.
        if std::fs::read(&path).is_ok_and(|stored| stored == bytes)
            && self.missing(&[found])?.is_empty()
            && let Some(known) = self.information(found)?
        {
            return Ok((known, false));
        }
        let information =
            WasmModule::new(bytes).name(module_name(found)).inspect_with(&self.options)?;
        if let Some(refused) = &information.refused {
            return Err(ModuleError::Refused(refused.clone()));
        }
        upload.0.as_file().sync_all()?;
        upload.0.persist(&path).map_err(|error| error.error)?;
        sync_folder(&self.folder)?;
        let json = serde_json::to_vec(&information).map_err(std::io::Error::from)?;
        self.store.write(|transaction| {
            transaction.open_table(MODULES)?.insert(found.to_string().as_str(), json.as_slice())?;
            Ok(())
        })?;
        Ok((information, true))
    }

    /// What a stored module declares; `None` if it is not stored.
    pub(crate) fn information(
        &self,
        hash: Sha256Hash,
    ) -> Result<Option<ModuleInformation>, StoreError> {
        let json = self.store.read(|transaction| {
            let table = match transaction.open_table(MODULES) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(hash.to_string().as_str())?.map(|json| json.value().to_vec()))
        })?;
        // An entry of a later version with other fields is treated as missing: the module is uploaded again.
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// Removes modules that are not needed and that no request has named for this time. Returns how many.
    pub(crate) fn remove_unused(
        &self,
        needed: &HashSet<Sha256Hash>,
        unused_for: Duration,
    ) -> Result<usize, ModuleError> {
        let _keeping = self.keeping();
        let mut unused = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(hash) = named_content(Path::new(&entry.file_name())) else { continue };
            // A time in the future is that of a clock that was set back.
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if !needed.contains(&hash) && age >= unused_for {
                unused.push((hash, entry.path()));
            }
        }
        if unused.is_empty() {
            return Ok(0);
        }
        self.store.write(|transaction| {
            let mut modules = transaction.open_table(MODULES)?;
            for (hash, _) in &unused {
                modules.remove(hash.to_string().as_str())?;
            }
            Ok(())
        })?;
        for (_, path) in &unused {
            std::fs::remove_file(path)?;
        }
        sync_folder(&self.folder)?;
        Ok(unused.len())
    }

    fn keeping(&self) -> MutexGuard<'_, ()> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hashes of modules that are not stored. The others are kept for a while, even if nothing needs them.
    pub(crate) fn missing(&self, hashes: &[Sha256Hash]) -> Result<Vec<Sha256Hash>, StoreError> {
        let _keeping = self.keeping();
        let mut missing = Vec::new();
        for hash in hashes {
            let path = self.folder.join(module_name(*hash));
            if path.exists() && self.information(*hash)?.is_some() {
                renew(&path);
            } else {
                missing.push(*hash);
            }
        }
        Ok(missing)
    }

    /// The hashes of stored modules whose files have another content.
    pub(crate) fn damaged(&self, hashes: &[Sha256Hash]) -> Vec<Sha256Hash> {
        let is_damaged = |hash: &Sha256Hash| {
            let stored = std::fs::read(self.folder.join(module_name(*hash)));
            stored.is_ok_and(|stored| Sha256Hash::of(&stored) != *hash)
        };
        hashes.iter().copied().filter(is_damaged).collect()
    }
}

/// Sets the time of a module's file. If that fails, the time of its upload counts.
fn renew(path: &Path) {
    let file = std::fs::OpenOptions::new().append(true).open(path);
    if let Err(error) = file.and_then(|file| file.set_modified(SystemTime::now())) {
        tracing::debug!(%error, path = %path.display(), "failed to set the time of a module");
    }
}

/// The prefix of the names of incomplete files.
const INCOMPLETE: &str = ".upload-";
