//! Reloads a deployment's manifest.

use crate::deployment::{Deployment, Report};
use crate::manifest::Source;
use crate::problem::Problem;
use crate::watch::Files;
use std::collections::HashSet;
use std::path::PathBuf;

/// The result of [`Reloader::reload`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Reload {
    /// What changed, and the problems that the last reload did not report.
    pub report: Report,
    /// Whether the last reload had problems and this one has none.
    pub has_recovered: bool,
    /// The files that the manifest names now; `None` if it could not be read.
    pub files: Option<Files>,
}

/// A deployment with the path of its manifest, which can be read again.
///
/// Each reload reads the manifest and the modules that it names, and [applies](Deployment::apply) them to the pool. A
/// manifest that cannot be read changes nothing.
#[derive(Debug)]
pub struct Reloader {
    deployment: Deployment,
    path: PathBuf,
    /// The problems of the last reload.
    reported: HashSet<Problem>,
}

impl Reloader {
    /// A reloader of a deployment; `path` is its manifest's file or folder.
    #[must_use]
    pub fn new(deployment: Deployment, path: impl Into<PathBuf>) -> Self {
        Self { deployment, path: path.into(), reported: HashSet::new() }
    }

    /// The deployment.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Reads the manifest again and applies it to the pool.
    pub fn reload(&mut self) -> Reload {
        let read = Source::read(&self.path).and_then(|source| Ok((source.parse()?, source)));
        let (mut report, files) = match read {
            Ok((manifest, source)) => {
                let files = Files::of(&source, &manifest);
                (self.deployment.apply(&source, &manifest), Some(files))
            }
            Err(problem) => (Report { problems: vec![problem], ..Report::default() }, None),
        };
        let problems: HashSet<_> = report.problems.iter().cloned().collect();
        report.problems.retain(|problem| !self.reported.contains(problem));
        let has_recovered = !self.reported.is_empty() && problems.is_empty();
        self.reported = problems;
        Reload { report, has_recovered, files }
    }
}
