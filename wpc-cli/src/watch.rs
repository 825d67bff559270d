//! Follows the files of a manifest. It knows where they lie, not what is in them.

use crate::failure::Failure;
use crate::manifest::{Manifest, Source};
use notify::{RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long files must have been left alone before they are read: who writes one takes several steps.
const QUIET: Duration = Duration::from_millis(100);

/// How long is waited for that at most: somebody may write beside them all the time.
const IMPATIENT: Duration = Duration::from_secs(1);

/// What is followed: folders, since a file that is replaced is another file, and a folder that is made anew
/// another folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    folders: BTreeSet<PathBuf>,
    /// The names of files and folders whose changes count.
    names: BTreeSet<OsString>,
}

impl Followed {
    pub(crate) fn of(source: &Source, manifest: &Manifest) -> Self {
        let entries = [&manifest.dependencies, &manifest.modules, &manifest.functions];
        let files = entries.into_iter().flat_map(|entries| entries.values());
        let files = files.map(|entry| source.folder().join(&entry.get_ref().file));
        let mut followed = Self::default();
        for file in files.chain([source.path.clone()]) {
            followed.add(&file);
            // A link changes with what it leads to.
            if let Ok(target) = std::fs::canonicalize(&file) {
                followed.add(&target);
            }
        }
        followed
    }

    fn add(&mut self, file: &Path) {
        let Ok(file) = std::path::absolute(file) else { return };
        let Some(folder) = file.parent() else { return };
        self.names
            .extend([&*file, folder].into_iter().filter_map(Path::file_name).map(OsString::from));
        self.folders.insert(folder.to_owned());
        self.folders.extend(folder.parent().map(Path::to_owned));
    }
}

pub(crate) struct Watch {
    watcher: notify::RecommendedWatcher,
    changes: Receiver<()>,
    followed: Followed,
    names: Arc<Mutex<BTreeSet<OsString>>>,
}

impl Watch {
    pub(crate) fn new(source: &Source, manifest: &Manifest) -> Result<Self, Failure> {
        // One change that waits is as good as many.
        let (sender, changes) = sync_channel(1);
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
        let mut watch = Self { watcher, changes, followed: Followed::of(source, manifest), names };
        watch.take_up();
        Ok(watch)
    }

    /// Follows what is there under the names now. A folder that is not there cannot be: where it should be is
    /// followed, and who reads it will say so.
    fn take_up(&mut self) {
        let Self { watcher, followed, names, .. } = self;
        names.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&followed.names);
        for folder in &followed.folders {
            // Another one may stand there than the one that was followed, or none.
            let _ = watcher.unwatch(folder);
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
    }

    fn move_to(&mut self, to: Followed) {
        for folder in self.followed.folders.difference(&to.folders) {
            // It may be gone itself.
            let _ = self.watcher.unwatch(folder);
        }
        self.followed = to;
    }

    /// Calls `reload` now and after each change, on a thread of its own, for as long as the process lives.
    pub(crate) fn follow(
        mut self,
        mut reload: impl FnMut() -> Option<Followed> + Send + 'static,
    ) -> Result<(), Failure> {
        let follow = move || {
            loop {
                loop {
                    // What is read is followed before: a change in between is not missed.
                    self.take_up();
                    match reload() {
                        Some(followed) if followed != self.followed => self.move_to(followed),
                        _ => break,
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
