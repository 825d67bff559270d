//! Follows the files of a manifest. It knows where they lie, not what is in them.

use crate::failure::Failure;
use crate::manifest::{Manifest, Source};
use notify::{RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// How long files must have been left alone before they are read: who writes one takes several steps.
const QUIET: Duration = Duration::from_millis(100);

/// The folders whose changes count. Folders, since a file that is replaced is another file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Followed(BTreeSet<PathBuf>);

impl Followed {
    pub(crate) fn of(source: &Source, manifest: &Manifest) -> Self {
        let entries = [&manifest.dependencies, &manifest.modules, &manifest.functions];
        let files = entries.into_iter().flat_map(|entries| entries.values());
        let files = files.map(|entry| source.folder().join(&entry.get_ref().file));
        let folder = |file: &Path| file.parent().map(Path::to_owned);
        let mut folders: BTreeSet<_> = files.filter_map(|file| folder(&file)).collect();
        folders.insert(source.folder().to_owned());
        Self(folders)
    }
}

pub(crate) struct Watch {
    watcher: notify::RecommendedWatcher,
    changes: Receiver<()>,
    followed: Followed,
}

impl Watch {
    pub(crate) fn new(source: &Source, manifest: &Manifest) -> Result<Self, Failure> {
        // One change that waits is as good as many.
        let (sender, changes) = sync_channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may hide a change; reading, which we do ourselves, is none.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.map_err(|error| cannot(&error))?;
        let mut watch = Self { watcher, changes, followed: Followed(BTreeSet::new()) };
        watch.move_to(Followed::of(source, manifest))?;
        Ok(watch)
    }

    fn move_to(&mut self, to: Followed) -> Result<(), Failure> {
        for gone in self.followed.0.difference(&to.0) {
            // It may be gone itself.
            let _ = self.watcher.unwatch(gone);
        }
        for new in to.0.difference(&self.followed.0) {
            self.watcher.watch(new, RecursiveMode::NonRecursive).map_err(|error| cannot(&error))?;
        }
        self.followed = to;
        Ok(())
    }

    /// Calls `reload` after each change, on a thread of its own, for as long as the process lives.
    pub(crate) fn follow(
        mut self,
        mut reload: impl FnMut() -> Option<Followed> + Send + 'static,
    ) -> Result<(), Failure> {
        let follow = move || {
            while self.changes.recv().is_ok() {
                while self.changes.recv_timeout(QUIET).is_ok() {}
                if let Some(followed) = reload()
                    && let Err(failure) = self.move_to(followed)
                {
                    eprintln!("{failure}");
                }
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
