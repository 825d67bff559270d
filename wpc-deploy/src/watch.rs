//! Watches the files of a manifest for changes, without reading their contents.

use crate::error::Error;
use crate::manifest::{Manifest, Source};
use crate::problem::Problem;
use notify::{ErrorKind, RecursiveMode, Watcher as _};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
pub(crate) struct Files {
    manifest: PathBuf,
    modules: BTreeSet<PathBuf>,
}

impl Files {
    /// The manifest and the modules that it names.
    pub(crate) fn of(source: &Source, manifest: &Manifest) -> Self {
        let entries = [&manifest.dependencies, &manifest.modules, &manifest.functions];
        let entries = entries.into_iter().flat_map(|entries| entries.values());
        let modules = entries.map(|entry| source.folder().join(&entry.get_ref().file));
        Self { manifest: source.path.clone(), modules: modules.collect() }
    }
}

/// The folders to watch. Files are watched through their folders, because a watch of a file would
/// not see its replacement.
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

/// Requests to reload a manifest, and changes to its files. Pass it to
/// [`Reloader::follow`](crate::Reloader::follow); changes that were made before that are not
/// missed.
#[derive(Debug)]
pub struct Watch {
    requester: SyncSender<()>,
    requests: Receiver<()>,
    /// `None` if no file is watched.
    files: Option<WatchedFiles>,
}

impl Watch {
    /// Begins to watch the files of a manifest.
    ///
    /// # Errors
    ///
    /// [`Error::Watch`] if the operating system does not provide a watcher. A folder that cannot be watched is one of the
    /// [warnings](crate::Reload::warnings) of the first reload.
    pub fn new(source: &Source, manifest: &Manifest) -> Result<Self, Error> {
        // A capacity of one, because a pending change covers any further ones.
        let (requester, requests) = sync_channel(1);
        Self::with_requests(source, manifest, requester, requests)
    }

    /// Like [`new`](Self::new), with a channel on which others can request a reload, such as a signal handler. It should
    /// have a capacity of one, because a pending request covers any further ones.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_requests(
        source: &Source,
        manifest: &Manifest,
        requester: SyncSender<()>,
        requests: Receiver<()>,
    ) -> Result<Self, Error> {
        let files = WatchedFiles::new(Files::of(source, manifest), requester.clone())?;
        Ok(Self { requester, requests, files: Some(files) })
    }

    /// Watches no file: the manifest is only reloaded at requests.
    #[must_use]
    pub fn only_requests(requester: SyncSender<()>, requests: Receiver<()>) -> Self {
        Self { requester, requests, files: None }
    }

    /// Calls `reload` on a dedicated thread: at each request and change, and once at the start if files are watched.
    /// It receives the folders that cannot be watched, and returns the files to watch from now on, or `None` to watch
    /// the same files.
    pub(crate) fn follow(
        self,
        reload: impl FnMut(Vec<Problem>) -> Option<Files> + Send + 'static,
    ) -> Result<Following, Error> {
        let is_stopped = Arc::<AtomicBool>::default();
        let (ending, ended) = sync_channel(0);
        let requester = self.requester.clone();
        let following = Following { is_stopped: Arc::clone(&is_stopped), requester, ended };
        let run = move || {
            // Dropped after `reload`, because its pool may then write its last events.
            let _ending = ending;
            self.run(reload, &is_stopped);
        };
        #[expect(clippy::disallowed_methods, reason = "one thread for each deployment")]
        let thread = std::thread::Builder::new().name("wpc-reload".to_owned()).spawn(run);
        thread.map(|_| following).map_err(Error::Thread)
    }

    fn run(self, mut reload: impl FnMut(Vec<Problem>) -> Option<Files>, is_stopped: &AtomicBool) {
        let is_stopped = || is_stopped.load(Ordering::Acquire);
        let Self { requests, mut files, .. } = self;
        if let Some(files) = &mut files {
            files.reload(&mut reload, is_stopped);
        }
        while requests.recv().is_ok() && !is_stopped() {
            let Some(files) = &mut files else {
                reload(Vec::new());
                continue;
            };
            let begun = Instant::now();
            while !is_stopped()
                && begun.elapsed() < MAX_DELAY
                && requests.recv_timeout(QUIET).is_ok()
            {}
            files.reload(&mut reload, is_stopped);
        }
    }
}

/// A manifest whose changes are followed on a thread. Dropping this handle does not stop the thread.
#[derive(Debug)]
pub struct Following {
    is_stopped: Arc<AtomicBool>,
    requester: SyncSender<()>,
    ended: Receiver<Infallible>,
}

impl Following {
    /// Stops following: no further reload begins. Waits at most for `timeout` until a reload in
    /// progress is finished and the reloader is dropped. Returns whether it was dropped; otherwise
    /// it is dropped later.
    pub fn stop(self, timeout: Duration) -> bool {
        self.is_stopped.store(true, Ordering::Release);
        // A request that is pending already wakes the thread as well.
        let _ = self.requester.try_send(());
        self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Files whose changes are requests.
#[derive(Debug)]
struct WatchedFiles {
    watcher: notify::RecommendedWatcher,
    files: Files,
    watched: Watched,
    names: Arc<Mutex<BTreeSet<OsString>>>,
}

impl WatchedFiles {
    fn new(files: Files, requester: SyncSender<()>) -> Result<Self, Error> {
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
                let _ = requester.try_send(());
            }
        });
        let mut watched = Self { watcher: watcher?, files, watched: Watched::default(), names };
        // The first reload watches them again, and reports failures.
        let _ = watched.update();
        Ok(watched)
    }

    /// Reloads the files, until the watched folders are those of the files that were read.
    fn reload(
        &mut self,
        reload: &mut impl FnMut(Vec<Problem>) -> Option<Files>,
        is_stopped: impl Fn() -> bool,
    ) {
        while !is_stopped() {
            // The folders are watched before the files are read, so that a change in between is not
            // missed.
            let problems = self.update();
            if let Some(files) = reload(problems) {
                self.files = files;
            }
            if Watched::of(&self.files) == self.watched {
                return;
            }
        }
    }

    /// Watches the folders that the files' paths lead through now, including folders that were recreated. Returns the
    /// failures.
    fn update(&mut self) -> Vec<Problem> {
        let watched = Watched::of(&self.files);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.clone_from(&watched.names);
        drop(names);
        for folder in self.watched.folders.union(&watched.folders) {
            // Fails if the folder no longer exists.
            let _ = self.watcher.unwatch(folder);
        }
        self.watched = watched;
        let folders = self.watched.folders.iter();
        folders.filter_map(|folder| watch(&mut self.watcher, folder).err()).collect()
    }
}

fn watch(watcher: &mut notify::RecommendedWatcher, folder: &Path) -> Result<(), Problem> {
    watcher.watch(folder, RecursiveMode::NonRecursive).or_else(|error| {
        let why = match error.kind {
            // If the folder was removed in between, the watch of its parent folder reports that.
            ErrorKind::PathNotFound => return Ok(()),
            ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            ErrorKind::Io(error) => error.to_string(),
            kind => notify::Error::new(kind).to_string(),
        };
        let folder = folder.display();
        Err(Problem::environment(format!(
            "failed to watch \"{folder}\": {why}; a change there is not applied before the next reload"
        )))
    })
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

    #[test]
    fn a_folder_that_cannot_be_watched_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let mut watcher = notify::recommended_watcher(|_| {}).unwrap();
        watch(&mut watcher, root.path()).unwrap();
        // Its parent folder is watched.
        watch(&mut watcher, &root.path().join("removed")).unwrap();
        let folder = root.path().join("n".repeat(300));
        let problem = watch(&mut watcher, &folder).unwrap_err();
        assert_eq!(problem.code, "environment");
        let start = format!("failed to watch \"{}\": ", folder.display());
        assert!(problem.message.starts_with(&start), "{problem}");
    }
}
