//! The store of a server: one file with transactions in its data folder.
//!
//! The tables belong to the modules that use them; this module opens the file and checks its format.

mod contain;

use contain::contain;
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

/// The audit log, which a server creates in the data folder after the store.
pub(crate) const AUDIT_FILE: &str = "audit.jsonl";

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
    /// The data folder is a file.
    #[error("the data folder \"{}\" is a file; choose a folder", path.display())]
    #[non_exhaustive]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// Another process uses the store.
    #[error("\"{}\" is in use by another process; stop it, or choose another data folder", path.display())]
    #[non_exhaustive]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The data folder was used by a server, but does not have the store.
    #[error(
        "\"{}\" does not exist, although its folder has the audit log of a server; restore the data folder from a copy, or choose an empty one",
        path.display()
    )]
    #[non_exhaustive]
    Missing {
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
    /// The file is damaged or may not be used, or the disk failed or is full.
    #[error("the store \"{}\" cannot be used: {source}; {}", path.display(), remedy(source))]
    #[non_exhaustive]
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<redb::Error>,
    },
}

/// What the operator can do about an error of the file.
fn remedy(error: &redb::Error) -> &'static str {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match error {
        redb::Error::Io(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
            "let the server's user write to the data folder: check its owner, its mode and whether it is mounted read-only"
        }
        redb::Error::Io(_) | redb::Error::PreviousIo => {
            "free or repair the disk, or restore the data folder from a copy"
        }
        _ => "restore the data folder from a copy",
    }
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
    /// [`StoreError`] if the folder cannot be created or the file is missing from it, another process uses the store, another version wrote it, or the file
    /// cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| {
            let path = folder.to_owned();
            if path.is_file() {
                StoreError::NotAFolder { path }
            } else {
                StoreError::Folder { path, source }
            }
        })?;
        let store =
            Self(Arc::new(Opened { database: RwLock::new(None), folder: folder.to_owned() }));
        if !store.path().exists() {
            // An empty store in its place would have neither functions nor tokens.
            if folder.join(AUDIT_FILE).exists() {
                return Err(StoreError::Missing { path: store.path() });
            }
            contained(|| store.create()).map_err(|error| store.failed(error))?;
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
        private(&new)?;
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
        close(database.take());
        let path = self.path();
        let opened = contained(|| {
            if path.metadata()?.len() == 0 {
                return Err(redb::Error::Corrupted("the file is empty".to_owned()));
            }
            // The file has a few MB, so that reading all of it takes little time.
            Ok(Database::builder().set_check_integrity_on_open(true).open(&path)?)
        });
        match opened {
            Ok(opened) => *database = Some(opened),
            Err(redb::Error::DatabaseAlreadyOpen) => return Err(StoreError::InUse { path }),
            Err(error) => return Err(self.failed(error)),
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
        let opened = database.as_ref().ok_or_else(|| self.failed(redb::Error::DatabaseClosed))?;
        let result = contained(|| run(opened));
        drop(database);
        result.map_err(|error| {
            use redb::Error::{Corrupted, Io, PreviousIo};
            // After a panic, too, it is unknown what the database has in memory.
            if matches!(error, Io(_) | PreviousIo | Corrupted(_)) {
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

impl Drop for Opened {
    fn drop(&mut self) {
        close(self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Runs operations of redb. A panic means that the file is damaged.
fn contained<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    contain(run).unwrap_or_else(|panic| Err(redb::Error::Corrupted(panic)))
}

/// Closes a database. Whether its file is damaged is found when it is opened again.
fn close(database: Option<Database>) {
    let _ = contain(|| drop(database));
}

/// Creates an empty file that other users cannot read, because it contains hashes of tokens.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_store_is_not_replaced_by_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        std::fs::write(folder.path().join(AUDIT_FILE), "").unwrap();
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
        assert!(!folder.path().join(FILE).exists());
    }

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
            assert!(!refused.to_string().contains("not requested"), "{refused}");
        }
    }

    /// Writes to a store, which returns what it contains. The values make it several pages large.
    fn written(folder: &Path) -> Vec<u8> {
        const VALUES: TableDefinition<'_, u64, &str> = TableDefinition::new("values");
        let store = Store::open(folder).unwrap();
        for key in 0..50 {
            let write = store.write(|transaction| {
                transaction.open_table(VALUES)?.insert(key, "x".repeat(500).as_str())?;
                Ok(())
            });
            write.unwrap();
        }
        drop(store);
        std::fs::read(folder.join(FILE)).unwrap()
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let whole = written(folder.path());
        let path = folder.path().join(FILE);
        let mut refusals = 0;
        let check = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match Store::open(folder.path()) {
                // The damaged part is not used.
                Ok(store) => store.write(|transaction| {
                    let mut about = transaction.open_table(ABOUT)?;
                    about.insert("other", 1)?;
                    Ok(())
                }),
                Err(error) => Err(error),
            }
        };
        let pages = whole.len().div_ceil(PAGE);
        // Each page is zeroed, and 8 of its bytes are flipped; few enough of them that the test is fast.
        for page in (0..pages).filter(|page| *page < 64 || page % 16 == 0) {
            let range = page * PAGE..(page * PAGE + PAGE).min(whole.len());
            let mut zeroed = whole.clone();
            zeroed[range.clone()].fill(0);
            let mut flipped = whole.clone();
            let at = range.start + page * 97 % (PAGE - 8);
            flipped[at..at + 8].iter_mut().for_each(|byte| *byte = !*byte);
            for bytes in [zeroed, flipped] {
                if let Err(error) = check(&bytes) {
                    let error = error.to_string();
                    assert!(error.contains("restore the data folder"), "{error}");
                    refusals += 1;
                }
            }
        }
        assert!(refusals > 0);
        check(&whole).unwrap();
    }

    const PAGE: usize = 4096;

    #[test]
    fn a_panic_of_an_operation_is_an_error_and_the_store_is_usable_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let refused = store.write(|transaction| -> Result<(), _> {
            transaction.open_table(ABOUT)?.insert("other", 1)?;
            panic!("Invalid page type byte {}", 0)
        });
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("Invalid page type byte 0; restore the data folder"), "{refused}");
        let found = store.read(|transaction| {
            Ok(transaction.open_table(ABOUT)?.get("other")?.map(|value| value.value()))
        });
        assert_eq!(found.unwrap(), None);
    }

    #[test]
    fn the_remedy_depends_on_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = Store::open(&file).unwrap_err().to_string();
        assert!(refused.ends_with("is a file; choose a folder"), "{refused}");
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(remedy(&denied.into()).contains("check its owner, its mode"));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(remedy(&full.into()).starts_with("free or repair the disk"));
    }

    #[test]
    #[cfg(unix)]
    fn other_users_cannot_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let mode = folder.path().join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
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
