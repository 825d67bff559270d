//! Opens the deployments of a store. The pool is created with the options of the revision that it will run.

use super::origin::PackedFile;
use super::{Deployments, Inner, Refusal, Running, State, retention, source, text_of};
use crate::modules::Modules;
use crate::revisions::Revisions;
use crate::store::Store;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use wpc_deploy::{Deployment, Manifest, Report, Setup, Source};
use wpc_host::Options;

impl Deployments {
    /// Opens the deployments of a store, and creates a pool with the active revision. Items that are refused, because their module
    /// is missing or damaged or because their grants are no longer allowed, are left out: see [`state`](Self::state).
    ///
    /// # Errors
    ///
    /// [`Refusal::Store`] if the store cannot be read, and [`Refusal::Pool`] if the pool cannot be created.
    pub fn open(
        store: Store,
        setup: Setup,
        compile_cache: Option<PathBuf>,
    ) -> Result<Self, Refusal> {
        Opening::new(store, setup, compile_cache)?.active()
    }

    /// Deploys a manifest from a file of the machine as [`deploy_file`](Self::deploy_file) does, and opens the deployments with the
    /// revision that is active then, as [`open`](Self::open) does. If the manifest is refused and another revision is active, that
    /// one is opened; the reason is returned too.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and why the manifest is refused if no revision is active.
    pub fn open_with_file(
        store: Store,
        setup: Setup,
        compile_cache: Option<PathBuf>,
        file: &Source,
    ) -> Result<(Self, Option<Refusal>), Refusal> {
        let opening = Opening::new(store, setup, compile_cache)?;
        match opening.deploy(file) {
            Ok(Some(deployments)) => Ok((deployments, None)),
            Ok(None) => Ok((opening.active()?, None)),
            Err(refusal) if opening.revisions.active()?.is_some() => {
                Ok((opening.active()?, Some(refusal)))
            }
            Err(refusal) => Err(refusal),
        }
    }
}

/// A store whose pool is not created yet.
struct Opening {
    modules: Modules,
    revisions: Revisions,
    setup: Setup,
}

impl Opening {
    fn new(store: Store, setup: Setup, compile_cache: Option<PathBuf>) -> Result<Self, Refusal> {
        let options = Options::default().compile_cache(compile_cache.clone());
        let modules = Modules::open(store.clone(), options).map_err(Refusal::Disk)?;
        let revisions = Revisions::open(store)?;
        let setup = setup.compile_cache(compile_cache).modules_by_content();
        Ok(Self { modules, revisions, setup })
    }

    /// The deployments with the active revision.
    fn active(&self) -> Result<Deployments, Refusal> {
        let active = self.revisions.active()?;
        let text = match active {
            Some(number) => text_of(&self.revisions, number)?,
            None => String::new(),
        };
        let (source, setup) = (source(&self.modules, text), self.setup.clone());
        let (deployment, report) = match source.parse() {
            Ok(manifest) => Deployment::open_accepted(&source, &manifest, setup)?,
            // It was written by a later version.
            Err(problem) => {
                let empty = Manifest::default();
                let (deployment, mut report) = Deployment::open_accepted(&source, &empty, setup)?;
                report.problems.push(problem);
                (deployment, report)
            }
        };
        Ok(self.deployments(deployment, active, &report))
    }

    /// The deployments with the manifest of a file, unless it was deployed before.
    fn deploy(&self, file: &Source) -> Result<Option<Deployments>, Refusal> {
        let file = PackedFile::read(file)?;
        if file.is_deployed(&self.revisions)? {
            return Ok(None);
        }
        let (source, manifest) = file.store(&self.modules)?;
        let deployment = Deployment::open_empty(&source, &manifest, self.setup.clone())?;
        // The pool is changed from nothing to the manifest, instead of from the active revision.
        let active = self.revisions.active()?;
        let deployments = self.deployments(deployment, active, &Report::default());
        deployments.deploy_packed(&file)?;
        Ok(Some(deployments))
    }

    fn deployments(
        &self,
        deployment: Deployment,
        active: Option<u64>,
        report: &Report,
    ) -> Deployments {
        let (pool, workers) = (deployment.pool().clone(), deployment.workers());
        let stop_timeout = deployment.stop_timeout();
        let mut running =
            Running { deployment, active, problems: Vec::new(), is_pool_outdated: false };
        running.reported(report);
        let (state, running) = (Mutex::new(State::of(&running)), Mutex::new(running));
        Deployments(Arc::new(Inner {
            modules: self.modules.clone(),
            revisions: self.revisions.clone(),
            pool,
            workers,
            stop_timeout,
            removal: retention::Removal::default(),
            #[cfg(test)]
            interruption: super::tests::Interruption::default(),
            running,
            state,
        }))
    }
}
