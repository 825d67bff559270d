//! The modules of a data folder, by their content: the file `modules/<SHA-256>.wasm`, and in the store what the module declares.
//!
//! A module exists if the store lists it. Before that, its file is completed: it is written under another name, synchronised
//! and renamed, and then its folder is synchronised.

use crate::store::{Store, StoreError, sync_folder};
use redb::TableDefinition;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use wpc_deploy::document::module_name;
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
        let modules = Self { folder, store, options };
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
        let is_intact = std::fs::read(&path).is_ok_and(|stored| stored == bytes);
        let known = if is_intact { self.information(found)? } else { None };
        if let Some(known) = known {
            return Ok((known, false));
        }
        let information = WasmModule::new(bytes).inspect_with(&self.options)?;
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

    /// The hashes of modules that are not stored.
    pub(crate) fn missing(&self, hashes: &[Sha256Hash]) -> Result<Vec<Sha256Hash>, StoreError> {
        let mut missing = Vec::new();
        for hash in hashes {
            let exists = self.folder.join(module_name(*hash)).exists();
            if !exists || self.information(*hash)?.is_none() {
                missing.push(*hash);
            }
        }
        Ok(missing)
    }
}

/// The prefix of the names of incomplete files.
const INCOMPLETE: &str = ".upload-";
