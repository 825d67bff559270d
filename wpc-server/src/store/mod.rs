//! The store of a server: one file with transactions in its data folder.
//!
//! The tables belong to the modules that use them; this module opens the file and checks its format.

use redb::{Database, ReadableDatabase as _, TableDefinition};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The version of the format. A store with another version is refused.
const FORMAT: u64 = 1;

/// Metadata of the store.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";

/// The file in the data folder.
const FILE: &str = "wpc.redb";

/// The file while it is created.
const NEW_FILE: &str = "wpc.redb.new";

/// Synchronises a folder with the disk, so that a rename in it is durable.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    // Other systems have no such operation.
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

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
    #[error(
        "the store \"{}\" cannot be used: {source}; free or repair the disk, or restore the data folder from a copy",
        path.display()
    )]
    #[non_exhaustive]
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<redb::Error>,
    },
}

/// The open store of a data folder. Cheap to clone. Every committed transaction is on disk.
#[derive(Debug, Clone)]
pub struct Store(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    /// `None` while it could not be opened again after the disk failed.
    database: RwLock<Option<Database>>,
    folder: PathBuf,
}

impl Store {
    /// Opens the store in a data folder, and creates both if they do not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the folder cannot be created, another process uses the store, another version wrote it, or the file
    /// cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        let store =
            Self(Arc::new(Opened { database: RwLock::new(None), folder: folder.to_owned() }));
        if !store.path().exists() {
            store.create().map_err(|error| store.failed(error))?;
        }
        store.reopen()?;
        let found = store.read(|transaction| match transaction.open_table(ABOUT) {
            Ok(about) => Ok(about.get(FORMAT_KEY)?.map(|format| format.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        match found {
            Some(FORMAT) => Ok(store),
            found => {
                Err(StoreError::Format { path: store.path(), found: found.unwrap_or_default() })
            }
        }
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.0.folder
    }

    fn path(&self) -> PathBuf {
        self.0.folder.join(FILE)
    }

    /// Creates the file under another name, so that a file under its own name is always complete.
    fn create(&self) -> Result<(), redb::Error> {
        let new = self.0.folder.join(NEW_FILE);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let database = Database::create(&new)?;
        let transaction = database.begin_write()?;
        transaction.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT)?;
        transaction.commit()?;
        drop(database);
        std::fs::rename(&new, self.path())?;
        sync_folder(&self.0.folder)?;
        Ok(())
    }

    /// Opens the file, again if it was open. After a disk error, the database refuses all operations until it is opened again, because it
    /// is unknown what was written.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self.0.database.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first, because the file is locked while it is open.
        *database = None;
        let path = self.path();
        match Database::open(&path) {
            Ok(opened) => *database = Some(opened),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(StoreError::InUse { path });
            }
            Err(error) => return Err(self.failed(error.into())),
        }
        Ok(())
    }

    fn with_database<T>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if self.0.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.reopen()?;
        }
        let database = self.0.database.read().unwrap_or_else(PoisonError::into_inner);
        let result =
            run(database.as_ref().ok_or_else(|| self.failed(redb::Error::DatabaseClosed))?);
        drop(database);
        result.map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                // If it fails, the next request tries again.
                let _ = self.reopen();
            }
            self.failed(error)
        })
    }

    /// Makes all changes of `change`, or none if it fails. After a disk error, it is unknown whether they were made.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Reads from one snapshot.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with_database(|database| read(&database.begin_read()?))
    }

    fn failed(&self, source: redb::Error) -> StoreError {
        StoreError::Failed { path: self.path(), source: Box::new(source) }
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
    fn a_store_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let path = folder.path().join(FILE);
        let size = std::fs::metadata(&path).unwrap().len();
        for bytes in [Vec::new(), vec![7; 100], vec![0; size.try_into().unwrap()]] {
            std::fs::write(&path, bytes).unwrap();
            let refused = Store::open(folder.path()).unwrap_err();
            assert!(refused.to_string().contains("restore the data folder"), "{refused}");
        }
    }

    #[test]
    fn a_partly_created_store_is_created_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NEW_FILE), [7; 100]).unwrap();
        Store::open(folder.path()).unwrap();
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
