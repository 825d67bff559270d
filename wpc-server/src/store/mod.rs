//! The store of a server: one file with transactions in its data folder.
//!
//! The tables belong to the modules that use them; this module opens the file and checks its format.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the format. A store with another version is refused.
const FORMAT: u64 = 1;

/// Facts about the store itself.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";

/// The file in the data folder.
const FILE: &str = "wpc.redb";

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data folder cannot be created.
    #[error("failed to create the data folder \"{}\": {source}", path.display())]
    #[non_exhaustive]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Another process uses the store.
    #[error("\"{}\" is in use by another process; stop it, or choose another data folder", path.display())]
    #[non_exhaustive]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the server wrote the store.
    #[error(
        "\"{}\" has format {found}, and this version reads format {FORMAT}; use the version that wrote it, or another data folder",
        path.display()
    )]
    #[non_exhaustive]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The file is damaged, or the disk failed or is full.
    #[error("the store \"{}\": {source}", path.display())]
    #[non_exhaustive]
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<redb::Error>,
    },
}

/// An open store. Cheap to clone. Every committed transaction is on disk.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens the store in a data folder, and creates both if they do not exist.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        let path = folder.join(FILE);
        let failed = |source: redb::Error| StoreError::Failed {
            path: path.clone(),
            source: Box::new(source),
        };
        let database = match Database::create(&path) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(StoreError::InUse { path });
            }
            Err(error) => return Err(failed(error.into())),
        };
        let store = Self(Arc::new(Opened { database, path: path.clone() }));
        let found = store.write(|transaction| {
            let mut about = transaction.open_table(ABOUT)?;
            let found = about.get(FORMAT_KEY)?.map(|format| format.value());
            if found.is_none() {
                about.insert(FORMAT_KEY, FORMAT)?;
            }
            Ok(found.unwrap_or(FORMAT))
        })?;
        if found == FORMAT { Ok(store) } else { Err(StoreError::Format { path, found }) }
    }

    /// Makes all changes of `change`, or none if it fails.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let changed = || {
            let transaction = self.0.database.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        changed().map_err(|error| self.failed(error))
    }

    /// Reads from one snapshot.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let found = || read(&self.0.database.begin_read()?);
        found().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: redb::Error) -> StoreError {
        StoreError::Failed { path: self.0.path.clone(), source: Box::new(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_used_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::InUse { .. })));
        drop(first);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_store_of_a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store
            .write(|transaction| {
                transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT + 1)?;
                Ok(())
            })
            .unwrap();
        drop(store);
        let refused = Store::open(folder.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Format { found: 2, .. }), "{refused}");
    }

    #[test]
    fn a_failed_change_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let failed: Result<(), _> = store.write(|transaction| {
            transaction.open_table(ABOUT)?.insert("other", 1)?;
            Err(redb::Error::Corrupted("refused by the test".to_owned()))
        });
        assert!(failed.is_err());
        let found = store.read(|transaction| {
            Ok(transaction.open_table(ABOUT)?.get("other")?.map(|value| value.value()))
        });
        assert_eq!(found.unwrap(), None);
    }
}
