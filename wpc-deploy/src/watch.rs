//! Watches the files of a manifest for changes, without reading their contents.

use crate::error::Error;
use crate::manifest::{Manifest, Source};
use notify::{RecursiveMode, Watcher as _};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long files must stay unchanged before they are read, because writing a file takes several steps.
const QUIET: Duration = Duration::from_millis(100);

/// The maximum wait for such a pause, because other files in the folder may change all the time.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// The maximum number of symbolic links in a path, as on Linux. More links indicate a cycle.
const MAX_LINKS: usize = 40;

/// The files to watch, as the manifest names them. Links are resolved again at each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    manifest: PathBuf,
    modules: BTreeSet<PathBuf>,
}

impl Files {
    /// The manifest and the modules that it names.
    #[must_use]
    pub fn of(source: &Source, manifest: &Manifest) -> Self {
        let entries = [&manifest.dependencies, &manifest.modules, &manifest.functions];
        let entries = entries.into_iter().flat_map(|entries| entries.values());
        let modules = entries.map(|entry| source.folder().join(&entry.get_ref().file));
        Self { manifest: source.path.clone(), modules: modules.collect() }
    }
}

/// The folders to watch. Files are watched by way of their folders, because a replaced file is another file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Watched {
    /// Paths without links, because two paths to the same folder would share a watch.
    folders: BTreeSet<PathBuf>,
    /// The names of the files, folders and links whose changes are relevant.
    names: BTreeSet<OsString>,
}

impl Watched {
    /// The folders on the resolved paths of the files.
    fn of(files: &Files) -> Self {
        let mut watched = Self::default();
        let manifest = watched.add(&files.manifest, None);
        let root = manifest.as_deref().and_then(Path::parent);
        for file in &files.modules {
            watched.add(file, root);
        }
        watched
    }

    /// Adds every entry whose change may make `path` lead to another file: each link, the file, its folder, the
    /// folders below `root`, and entries that do not exist yet. Returns the path without links.
    fn add(&mut self, path: &Path, root: Option<&Path>) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut open: VecDeque<OsString> = parts(&path).collect();
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = open.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            match std::fs::read_link(&next) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    self.entry(&at, &part);
                    if target.is_absolute() {
                        at = PathBuf::new();
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        open.push_front(part);
                    }
                }
                Err(_) => {
                    // The file, its folder, and the folders below the manifest's.
                    if open.len() < 2 || root.is_some_and(|root| at.starts_with(root)) {
                        self.entry(&at, &part);
                    }
                    if std::fs::symlink_metadata(&next).is_err() {
                        // The entry may be created later, with everything below it. Its parent may be replaced by a
                        // folder.
                        self.entry(&at, &part);
                        if let (Some(folder), Some(name)) = (at.parent(), at.file_name()) {
                            self.entry(folder, name);
                        }
                        return None;
                    }
                    at = next;
                }
            }
        }
        Some(at)
    }

    fn entry(&mut self, folder: &Path, name: &OsStr) {
        // The root of the file system does not have a parent folder.
        if !folder.as_os_str().is_empty() {
            self.folders.insert(folder.to_owned());
            self.names.insert(name.to_owned());
        }
    }
}

/// The components of a path, without `.`.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned())
}

/// Watches the files of a manifest. Changes made between [`new`](Self::new) and
/// [`follow`](Self::follow) are reported.
#[derive(Debug)]
pub struct Watch {
    watcher: notify::RecommendedWatcher,
    changes: Receiver<()>,
    files: Files,
    watched: Watched,
    names: Arc<Mutex<BTreeSet<OsString>>>,
}

impl Watch {
    /// Begins to watch the files of a manifest.
    ///
    /// # Errors
    ///
    /// [`Error::Watch`] if the operating system cannot watch more files.
    pub fn new(source: &Source, manifest: &Manifest) -> Result<Self, Error> {
        // A capacity of one, because a pending change covers any further ones.
        let (sender, changes) = sync_channel(1);
        Self::with_requests(source, manifest, sender, changes)
    }

    /// Like [`new`](Self::new), with a channel on which others can request a reload, such as the handler of a signal. It
    /// should have a capacity of one, because a pending request covers any further ones.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_requests(
        source: &Source,
        manifest: &Manifest,
        sender: SyncSender<()>,
        changes: Receiver<()>,
    ) -> Result<Self, Error> {
        let names = Arc::<Mutex<BTreeSet<OsString>>>::default();
        let relevant = Arc::clone(&names);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_change = event.map_or(true, |event| {
                let relevant = relevant.lock().unwrap_or_else(PoisonError::into_inner);
                let is_relevant =
                    |path: &PathBuf| path.file_name().is_some_and(|name| relevant.contains(name));
                // Access events are ignored, because this process causes them by reading the files.
                !event.kind.is_access() && event.paths.iter().any(is_relevant)
            });
            if is_change {
                let _ = sender.try_send(());
            }
        });
        let (files, watched) = (Files::of(source, manifest), Watched::default());
        let mut watch = Self { watcher: watcher?, changes, files, watched, names };
        watch.update();
        Ok(watch)
    }

    /// Watches the folders that the files' paths lead through now, including folders that were recreated.
    fn update(&mut self) {
        let watched = Watched::of(&self.files);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.clone_from(&watched.names);
        drop(names);
        for folder in self.watched.folders.union(&watched.folders) {
            // Fails if the folder no longer exists.
            let _ = self.watcher.unwatch(folder);
        }
        for folder in &watched.folders {
            // If the folder was removed in between, the watch of its parent folder reports that.
            let _ = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        self.watched = watched;
    }

    /// Calls `reload` now and after each change, on a dedicated thread, for the life of the process. `reload` returns
    /// the files to watch from now on, or `None` to watch the same files.
    ///
    /// It is called when the files have not changed for 100 milliseconds, and at the latest one second after the first
    /// change.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`] if the thread cannot be started.
    pub fn follow(
        mut self,
        mut reload: impl FnMut() -> Option<Files> + Send + 'static,
    ) -> Result<(), Error> {
        let follow = move || {
            loop {
                loop {
                    // Before the files are read, so that a change in between is not missed.
                    self.update();
                    if let Some(files) = reload() {
                        self.files = files;
                    }
                    if Watched::of(&self.files) == self.watched {
                        break;
                    }
                }
                if self.changes.recv().is_err() {
                    return;
                }
                let begun = Instant::now();
                while begun.elapsed() < MAX_DELAY && self.changes.recv_timeout(QUIET).is_ok() {}
            }
        };
        #[expect(clippy::disallowed_methods, reason = "one thread for the life of the process")]
        let thread = std::thread::Builder::new().name("wpc-watch".to_owned()).spawn(follow);
        thread.map(drop).map_err(Error::Thread)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_link_of_a_path_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        std::fs::create_dir_all(root.join("store/v1/deep")).unwrap();
        std::fs::write(root.join("store/v1/deep/f.wasm"), "").unwrap();
        std::fs::create_dir(root.join("links")).unwrap();
        symlink("../store/v1", root.join("links/current")).unwrap();
        symlink(root.join("links/current"), root.join("app")).unwrap();
        symlink("f.wasm", root.join("store/v1/deep/alias.wasm")).unwrap();
        let mut watched = Watched::default();
        let file = watched.add(&root.join("app/deep/alias.wasm"), None);
        assert_eq!(file, Some(root.join("store/v1/deep/f.wasm")));
        let folder = |path: &str| if path.is_empty() { root.clone() } else { root.join(path) };
        for (path, name) in [
            ("", "app"),
            ("links", "current"),
            ("store/v1/deep", "alias.wasm"),
            ("store/v1/deep", "f.wasm"),
            ("store/v1", "deep"),
        ] {
            assert!(watched.folders.contains(&folder(path)), "{path} {watched:?}");
            assert!(watched.names.contains(OsStr::new(name)), "{name} {watched:?}");
        }
        assert!(watched.folders.iter().all(|path| std::fs::canonicalize(path).unwrap() == *path));
    }

    #[test]
    fn a_path_with_a_missing_part_or_a_cycle_is_watched_up_to_it() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        let mut watched = Watched::default();
        assert_eq!(watched.add(&root.join("a/b/c/f.wasm"), None), None);
        assert!(watched.folders.contains(&root) && watched.names.contains(OsStr::new("a")));
        symlink("two", root.join("one")).unwrap();
        symlink("one", root.join("two")).unwrap();
        assert_eq!(watched.add(&root.join("one/f.wasm"), None), None);
        assert!(watched.names.contains(OsStr::new("one")));
    }
}
