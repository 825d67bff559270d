//! Deploys a manifest from a file of the machine.

use super::{Deployments, Refusal};
use crate::modules::ModuleError;
use crate::revisions::{New, Target};
use wpc_deploy::document::{Packed, named_content};
use wpc_deploy::{Problem, Report, Source};

/// The origin of the manifests that the operator names on the command line.
const FILE: &str = "file";

impl Deployments {
    /// Stores the modules of a manifest, and registers and activates it, unless the same content was deployed by the last
    /// call of this method. Therefore a revision that a client has activated since then stays active until the file changes.
    /// Returns what changed.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the reason.
    pub fn deploy_file(&self, source: &Source) -> Result<Report, Refusal> {
        let manifest = source.parse().map_err(|problem| vec![problem])?;
        let packed = Packed::read(source, &manifest)?;
        if self.revisions().is_last_of(FILE, &packed.text)? {
            return Ok(Report::default());
        }
        for (name, bytes) in &packed.modules {
            let stored = self.modules().begin().and_then(|mut upload| {
                upload.write(bytes)?;
                self.modules().finish(upload, named_content(name.as_ref()))
            });
            stored.map_err(|error| match error {
                ModuleError::Store(error) => Refusal::Store(error),
                error => vec![Problem::environment(format!("the module {name}: {error}"))].into(),
            })?;
        }
        let author = "file";
        let note = format!("deployed from {}", source.path.display());
        let mut running = self.running();
        self.reconcile(&mut running)?;
        let expected = running.active;
        let new = New { parent: expected, author, note: Some(&note), origin: Some(FILE) };
        let target = Target::New(new, &packed.text);
        let change = self.change(&mut running, author, &packed.text, expected, target)?;
        Ok(change.report)
    }
}
