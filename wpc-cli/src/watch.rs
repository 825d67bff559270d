//! Follows the files of a manifest. It knows where they lie, not what is in them.

use crate::failure::Failure;
use crate::manifest::{Manifest, Source};
use notify::{RecursiveMode, Watcher as _};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long files must have been left alone before they are read: who writes one takes several steps.
const QUIET: Duration = Duration::from_millis(100);

/// How long is waited for that at most: somebody may write beside them all the time.
const IMPATIENT: Duration = Duration::from_secs(1);

/// How many links a path may lead through, as many as Linux follows. More are a cycle.
const MAX_LINKS: usize = 40;

/// The files to follow, as the manifest names them. Links on the way are followed each time anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    manifest: PathBuf,
    modules: BTreeSet<PathBuf>,
}

impl Files {
    pub(crate) fn of(source: &Source, manifest: &Manifest) -> Self {
        let entries = [&manifest.dependencies, &manifest.modules, &manifest.functions];
        let entries = entries.into_iter().flat_map(|entries| entries.values());
        let modules = entries.map(|entry| source.folder().join(&entry.get_ref().file));
        Self { manifest: source.path.clone(), modules: modules.collect() }
    }
}

/// What is followed: folders, since a file that is replaced is another file, and a folder that is made anew
/// another folder.
#[derive(Debug, Default, PartialEq, Eq)]
struct Followed {
    /// Without links in their paths: two paths of one folder would share its watch.
    folders: BTreeSet<PathBuf>,
    /// The names of files, folders and links whose changes count.
    names: BTreeSet<OsString>,
}

impl Followed {
    /// What the files' paths lead through at the moment.
    fn of(files: &Files) -> Self {
        let mut followed = Self::default();
        let manifest = followed.add(&files.manifest, None);
        let root = manifest.as_deref().and_then(Path::parent);
        for file in &files.modules {
            followed.add(file, root);
        }
        followed
    }

    /// Follows everything whose change may make `path` lead elsewhere: each link on its way, the file, its
    /// folder, the folders below `root`, and what should be there and is not. Returns where the path leads.
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
                    // The file and its folder, and what was put beside the manifest.
                    if open.len() < 2 || root.is_some_and(|root| at.starts_with(root)) {
                        self.entry(&at, &part);
                    }
                    if std::fs::symlink_metadata(&next).is_err() {
                        // It may come, and all that is below it with it; and what it should be in may become
                        // a folder.
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
        // The root of the file system is in no folder.
        if !folder.as_os_str().is_empty() {
            self.folders.insert(folder.to_owned());
            self.names.insert(name.to_owned());
        }
    }
}

/// The parts of a path, without those that lead nowhere.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned())
}

pub(crate) struct Watch {
    watcher: notify::RecommendedWatcher,
    changes: Receiver<()>,
    change: SyncSender<()>,
    files: Files,
    followed: Followed,
    names: Arc<Mutex<BTreeSet<OsString>>>,
}

impl Watch {
    pub(crate) fn new(source: &Source, manifest: &Manifest) -> Result<Self, Failure> {
        // One change that waits is as good as many.
        let (sender, changes) = sync_channel(1);
        let change = sender.clone();
        let names = Arc::<Mutex<BTreeSet<OsString>>>::default();
        let counted = Arc::clone(&names);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let counts = event.map_or(true, |event| {
                let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                let is_meant =
                    |path: &PathBuf| path.file_name().is_some_and(|name| counted.contains(name));
                // Reading, which we do ourselves, is no change.
                !event.kind.is_access() && event.paths.iter().any(is_meant)
            });
            if counts {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.map_err(|error| cannot(&error))?;
        let (files, followed) = (Files::of(source, manifest), Followed::default());
        let mut watch = Self { watcher, changes, change, files, followed, names };
        watch.take_up();
        Ok(watch)
    }

    /// What is sent here counts as a change.
    pub(crate) fn change(&self) -> SyncSender<()> {
        self.change.clone()
    }

    /// Follows what the files' paths lead through now, and folders that were made anew under their names.
    fn take_up(&mut self) {
        let followed = Followed::of(&self.files);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.clone_from(&followed.names);
        drop(names);
        for folder in self.followed.folders.union(&followed.folders) {
            // It may be gone itself.
            let _ = self.watcher.unwatch(folder);
        }
        for folder in &followed.folders {
            // One that is gone meanwhile is missed in the folder that it was in.
            let _ = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        self.followed = followed;
    }

    /// Calls `reload` now and after each change, on a thread of its own, for as long as the process lives.
    /// `reload` returns the files to follow from now on, or none where the same are to be followed.
    pub(crate) fn follow(
        mut self,
        mut reload: impl FnMut() -> Option<Files> + Send + 'static,
    ) -> Result<(), Failure> {
        let follow = move || {
            loop {
                loop {
                    // What is read is followed before: a change in between is not missed.
                    self.take_up();
                    if let Some(files) = reload() {
                        self.files = files;
                    }
                    if Followed::of(&self.files) == self.followed {
                        break;
                    }
                }
                if self.changes.recv().is_err() {
                    return;
                }
                let begun = Instant::now();
                while begun.elapsed() < IMPATIENT && self.changes.recv_timeout(QUIET).is_ok() {}
            }
        };
        #[expect(clippy::disallowed_methods, reason = "one, as long as the process")]
        let thread = std::thread::Builder::new().name("wpc-watch".to_owned()).spawn(follow);
        thread.map(drop).map_err(|error| Failure::machine(format!("no thread to watch: {error}")))
    }
}

fn cannot(error: &notify::Error) -> Failure {
    Failure::machine(format!("files cannot be watched: {error}"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_link_on_the_way_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        std::fs::create_dir_all(root.join("store/v1/deep")).unwrap();
        std::fs::write(root.join("store/v1/deep/f.wasm"), "").unwrap();
        std::fs::create_dir(root.join("links")).unwrap();
        symlink("../store/v1", root.join("links/current")).unwrap();
        symlink(root.join("links/current"), root.join("app")).unwrap();
        symlink("f.wasm", root.join("store/v1/deep/alias.wasm")).unwrap();
        let mut followed = Followed::default();
        let file = followed.add(&root.join("app/deep/alias.wasm"), None);
        assert_eq!(file, Some(root.join("store/v1/deep/f.wasm")));
        let folder = |path: &str| if path.is_empty() { root.clone() } else { root.join(path) };
        for (path, name) in [
            ("", "app"),
            ("links", "current"),
            ("store/v1/deep", "alias.wasm"),
            ("store/v1/deep", "f.wasm"),
            ("store/v1", "deep"),
        ] {
            assert!(followed.folders.contains(&folder(path)), "{path} {followed:?}");
            assert!(followed.names.contains(OsStr::new(name)), "{name} {followed:?}");
        }
        assert!(followed.folders.iter().all(|path| std::fs::canonicalize(path).unwrap() == *path));
    }

    #[test]
    fn what_is_missing_or_a_cycle_is_followed_as_far_as_it_goes() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        let mut followed = Followed::default();
        assert_eq!(followed.add(&root.join("a/b/c/f.wasm"), None), None);
        assert!(followed.folders.contains(&root) && followed.names.contains(OsStr::new("a")));
        symlink("two", root.join("one")).unwrap();
        symlink("one", root.join("two")).unwrap();
        assert_eq!(followed.add(&root.join("one/f.wasm"), None), None);
        assert!(followed.names.contains(OsStr::new("one")));
    }
}
