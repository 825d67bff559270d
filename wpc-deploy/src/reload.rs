//! Reloads a deployment's manifest.

use crate::deployment::{Deployment, Report};
use crate::error::Error;
use crate::manifest::{Manifest, Source};
use crate::problem::{MANIFEST, Problem};
use crate::watch::{Files, Following, Watch};
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

/// The result of [`Reloader::reload`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Reload {
    /// What changed, and the problems that the previous reload did not report.
    pub report: Report,
    /// Reasons, other than items, why changes may not be noticed or applied: a folder that cannot
    /// be watched, a changed `[pool]`, or a panic of the reload. Warnings of the previous reload are not repeated.
    pub warnings: Vec<Problem>,
    /// Whether the previous reload had problems or warnings and this one has none.
    pub has_recovered: bool,
    /// The files that the manifest names now; `None` if it could not be read.
    files: Option<Files>,
}

impl Reload {
    /// The result of `reload`, or of its panic.
    fn of(reload: impl FnOnce() -> Self) -> Self {
        std::panic::catch_unwind(AssertUnwindSafe(reload)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let message = format!(
                "the reload panicked: {}; changes that were not made are tried again at the next reload",
                text.unwrap_or("without a message")
            );
            let (report, warnings) = (Report::default(), vec![Problem::environment(message)]);
            Self { report, warnings, has_recovered: false, files: None }
        })
    }
}

/// A deployment to which a manifest is applied when it is read again.
pub trait Apply: Send + 'static {
    /// Makes what the manifest lists active, and reports what changed and what was refused.
    fn apply(&mut self, source: &Source, manifest: &Manifest) -> Report;
}

impl Apply for Deployment {
    fn apply(&mut self, source: &Source, manifest: &Manifest) -> Report {
        Self::apply(self, source, manifest)
    }
}

/// A deployment with the path of its manifest, which can be read again.
///
/// Each reload reads the manifest and the modules that it names, and [applies](Deployment::apply) them to the pool. A
/// manifest that cannot be read changes nothing.
#[derive(Debug)]
pub struct Reloader<D = Deployment> {
    deployment: D,
    path: PathBuf,
    /// Whether a manifest that does not exist is an empty one.
    is_optional: bool,
    /// The problems and warnings of the last reload.
    reported: HashSet<Problem>,
}

impl<D: Apply> Reloader<D> {
    /// A reloader of a deployment; `path` is its manifest's file or folder.
    #[must_use]
    pub fn new(deployment: D, path: impl Into<PathBuf>) -> Self {
        Self { deployment, path: path.into(), is_optional: false, reported: HashSet::new() }
    }

    /// Treats a manifest that does not exist as an empty one, instead of changing nothing.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// The deployment.
    #[must_use]
    pub fn deployment(&self) -> &D {
        &self.deployment
    }

    /// Reads the manifest again and applies it to the pool.
    pub fn reload(&mut self) -> Reload {
        self.reload_with(Vec::new())
    }

    fn reload_with(&mut self, mut warnings: Vec<Problem>) -> Reload {
        let source = if self.is_optional && !self.path.exists() {
            Ok(Source::new(self.path.clone(), String::new()))
        } else {
            Source::read(&self.path)
        };
        let read = source.and_then(|source| Ok((source.parse()?, source)));
        let (mut report, files) = match read {
            Ok((manifest, source)) => {
                let files = Files::of(&source, &manifest);
                (self.deployment.apply(&source, &manifest), Some(files))
            }
            Err(problem) => (Report { problems: vec![problem], ..Report::default() }, None),
        };
        if report.is_pool_outdated {
            // The deployment's `[pool]` need not be the one of this manifest, so the warning names no file.
            let message = "[pool] has changed; restart the process to apply it".to_owned();
            warnings.push(Problem { file: None, line: None, code: MANIFEST, message });
        }
        let found: HashSet<_> = report.problems.iter().chain(&warnings).cloned().collect();
        let is_new = |problem: &Problem| !self.reported.contains(problem);
        report.problems.retain(is_new);
        warnings.retain(is_new);
        let has_recovered = !self.reported.is_empty() && found.is_empty();
        self.reported = found;
        Reload { report, warnings, has_recovered, files }
    }

    /// Reloads on a dedicated thread, and calls `report` with each result: at each request and change that `watch`
    /// reports, and once at the start if files are watched. Files are read when they have not changed for 100
    /// milliseconds, and at the latest one second after the first change.
    ///
    /// A panic of a reload or of `report` does not end this thread.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`] if the thread cannot be started.
    pub fn follow(
        mut self,
        watch: Watch,
        mut report: impl FnMut(&Reload) + Send + 'static,
    ) -> Result<Following, Error> {
        watch.follow(move |warnings| {
            let reload = Reload::of(|| self.reload_with(warnings));
            // The panic hook has reported a panic of `report`.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| report(&reload)));
            reload.files
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Setup;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    /// Longer than any wait in a test that passes.
    const LONG: Duration = Duration::from_secs(60);

    fn reloader(folder: &tempfile::TempDir) -> Reloader {
        let path = folder.path().join("wpc.toml");
        std::fs::write(&path, "[constants]\nNAME = \"first\"\n").unwrap();
        let source = Source::read(&path).unwrap();
        let manifest = source.parse().unwrap();
        Reloader::new(Deployment::open(&source, &manifest, Setup::new()).unwrap(), path)
    }

    #[test]
    fn following_survives_panics_and_ends_when_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let reloader = reloader(&folder);
        let pool = reloader.deployment().pool().clone();
        let (requester, requests) = sync_channel(1);
        let watch = Watch::only_requests(requester.clone(), requests);
        let (reported, reports) = sync_channel(1);
        let following = reloader.follow(watch, move |reload| {
            reported.send(reload.report.removed.len()).unwrap();
            panic!("the report panics");
        });
        for (text, removed) in [("", 1), ("[constants]\nNAME = \"second\"\n", 0), ("", 1)] {
            std::fs::write(folder.path().join("wpc.toml"), text).unwrap();
            requester.send(()).unwrap();
            assert_eq!(reports.recv_timeout(LONG), Ok(removed));
        }
        assert!(following.unwrap().stop(LONG));
        assert!(reports.recv().is_err(), "the closure was dropped");
        assert!(pool.get_worker_constants().is_empty());
    }

    #[test]
    fn following_is_stopped_without_waiting_for_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let (requester, requests) = sync_channel(1);
        let watch = Watch::only_requests(requester.clone(), requests);
        let (begun, begins) = sync_channel(1);
        let (finish, finished) = sync_channel::<()>(1);
        let following = reloader(&folder).follow(watch, move |_| {
            begun.send(()).unwrap();
            let _ = finished.recv();
        });
        requester.send(()).unwrap();
        begins.recv_timeout(LONG).unwrap();
        requester.send(()).unwrap();
        assert!(!following.unwrap().stop(Duration::ZERO), "a reload is in progress");
        drop(finish);
        assert!(begins.recv_timeout(LONG).is_err(), "the pending request begins no other");
    }

    #[test]
    fn a_panic_of_a_reload_is_a_warning() {
        let reload = Reload::of(|| panic!("no item {}", 3));
        assert!(reload.warnings[0].message.starts_with("the reload panicked: no item 3; "));
    }

    #[test]
    fn a_warning_is_reported_once_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut reloader = reloader(&folder);
        let warnings = || vec![Problem::environment("a folder cannot be watched".to_owned())];
        assert_eq!(reloader.reload_with(warnings()).warnings, warnings());
        assert_eq!(reloader.reload_with(warnings()).warnings, []);
        assert!(reloader.reload().has_recovered);
        assert_eq!(reloader.reload_with(warnings()).warnings, warnings());
    }
}
