//! Deploys a manifest from a file of the machine.

use super::{Deployments, Refusal, parse};
use crate::modules::{ModuleError, Modules};
use crate::revisions::{New, Revisions, Target};
use wpc_deploy::document::{Packed, named_content};
use wpc_deploy::{Manifest, Problem, Report, Source};

/// The origin of the manifests that the operator names on the command line.
const FILE: &str = "file";

/// A manifest from a file of the machine, with its modules.
pub(super) struct PackedFile<'a> {
    source: &'a Source,
    packed: Packed,
}

impl<'a> PackedFile<'a> {
    pub(super) fn read(source: &'a Source) -> Result<Self, Refusal> {
        let manifest = source.parse().map_err(|problem| vec![problem])?;
        Ok(Self { source, packed: Packed::read(source, &manifest)? })
    }

    /// Whether the same content was deployed by the last deployment of a file.
    pub(super) fn is_deployed(&self, revisions: &Revisions) -> Result<bool, Refusal> {
        Ok(revisions.is_last_of(FILE, &self.packed.text)?)
    }

    /// Stores its modules. Returns the manifest that names them by their content.
    pub(super) fn store(&self, modules: &Modules) -> Result<(Source, Manifest), Refusal> {
        for (name, bytes) in &self.packed.modules {
            let stored = modules.begin().and_then(|mut upload| {
                upload.write(bytes)?;
                modules.finish(upload, named_content(name.as_ref()))
            });
            stored.map_err(|error| match error {
                ModuleError::Store(error) => Refusal::Store(error),
                error => vec![Problem::environment(format!(
                    "failed to store the module {name}: {error}"
                ))]
                .into(),
            })?;
        }
        self.in_file(parse(modules, self.packed.text.clone()))
    }

    /// Packing keeps the lines of the file, so that they are those of the problems.
    fn in_file<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.map_err(|refusal| match refusal {
            Refusal::Problems(mut problems) => {
                for problem in problems.iter_mut().filter(|problem| problem.line.is_some()) {
                    problem.file.get_or_insert_with(|| self.source.path.clone());
                }
                Refusal::Problems(problems)
            }
            refusal => refusal,
        })
    }
}

impl Deployments {
    /// Stores the modules of a manifest, and registers and activates it, unless the same content was deployed by the last
    /// call of this method. Therefore a revision that a client has activated since then stays active until the file changes.
    /// Returns what changed.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the reason.
    pub fn deploy_file(&self, source: &Source) -> Result<Report, Refusal> {
        let file = PackedFile::read(source)?;
        if file.is_deployed(self.revisions())? {
            return Ok(Report::default());
        }
        file.store(self.modules())?;
        self.deploy_packed(&file)
    }

    /// Registers and activates a manifest whose modules are stored.
    pub(super) fn deploy_packed(&self, file: &PackedFile<'_>) -> Result<Report, Refusal> {
        let author = "file";
        let note = format!("deployed from {}", file.source.path.display());
        let mut running = self.running();
        self.reconcile(&mut running)?;
        let expected = running.active;
        let new = New { parent: expected, author, note: Some(&note), origin: Some(FILE) };
        let text = &file.packed.text;
        let change = self.change(&mut running, author, text, expected, Target::New(new, text));
        Ok(file.in_file(change)?.report)
    }
}
