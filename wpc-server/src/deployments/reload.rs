//! Reads the secrets of the active revision again.

use super::{Deployments, Refusal, source, text_of};
use wpc_deploy::{Apply, Manifest, Problem, Report, Source};

impl Deployments {
    /// Reads the secrets of the active revision again, and retries refused items. An item that is refused now keeps its
    /// previous definition.
    ///
    /// # Errors
    ///
    /// [`Refusal::Store`] if the store cannot be read.
    pub fn reload(&self) -> Result<Report, Refusal> {
        let mut running = self.running();
        self.reconcile(&mut running)?;
        let Some(active) = running.active else { return Ok(Report::default()) };
        let source = source(self.modules(), text_of(self.revisions(), active)?);
        let manifest = source.parse().map_err(|problem| vec![problem])?;
        let report = running.deployment.apply(&source, &manifest);
        running.reported(&report);
        self.publish(&running);
        Ok(report)
    }
}

/// For a [`Reloader`](wpc_deploy::Reloader): deploys the manifest if it has changed, and reads secrets again. An empty manifest
/// is not deployed.
impl Apply for Deployments {
    fn apply(&mut self, source: &Source, _: &Manifest) -> Report {
        let deployed =
            if source.text().is_empty() { Ok(Report::default()) } else { self.deploy_file(source) };
        let reloaded = deployed.and_then(|mut report| {
            let reloaded = self.reload()?;
            report.defined.extend(reloaded.defined);
            report.removed.extend(reloaded.removed);
            report.problems.extend(reloaded.problems);
            report.is_pool_outdated = reloaded.is_pool_outdated;
            Ok(report)
        });
        reloaded.unwrap_or_else(|refusal| {
            let mut report = Report::default();
            report.problems = match refusal {
                Refusal::Problems(problems) => problems,
                refusal => vec![Problem::environment(refusal.to_string())],
            };
            report
        })
    }
}
