//! The long work on a revision: fetching, preparing, storing and activating it.

use super::folder::{Folder, document_name, index_name};
use crate::node::served::{ServedFunction, Serving};
use crate::protocol::staging::RevisionId;
use crate::registry::{Active, Index, MAX_DOCUMENT, MAX_INDEX, ObjectError, Registry};
use std::time::Duration;
use wpc_deploy::document::{module_name, named_content};
use wpc_deploy::{DeployedFunction, Deployment, Manifest, Prepared, Problem, Source, file};
use wpc_host::Sha256Hash;

/// How long a failed fetch is tried again, and the time between two attempts.
const FETCH_ATTEMPTS: u32 = 20;
const FETCH_DELAY: Duration = Duration::from_millis(250);

/// The result of an action.
pub(super) enum Finished {
    Fetched(RevisionId),
    Prepared(RevisionId, Candidate),
    Published(RevisionId),
    NotPublished(RevisionId, Vec<String>),
    Activated(RevisionId, Box<Deployment>),
    Failed(RevisionId, Vec<String>),
}

/// A revision that was prepared.
pub(super) struct Candidate {
    pub(super) index: Sha256Hash,
    source: Source,
    prepared: Box<Prepared>,
    functions: Vec<DeployedFunction>,
}

/// Fetches the manifest and the modules that the folder does not have.
pub(super) async fn fetch(registry: Registry, folder: Folder, id: RevisionId) -> Finished {
    for attempt in 0..FETCH_ATTEMPTS {
        match try_fetch(&registry, &folder, id).await {
            Ok(()) => return Finished::Fetched(id),
            Err(Refused::Problems(problems)) => return Finished::Failed(id, problems),
            Err(Refused::Later(problem)) => {
                tracing::debug!(problem, attempt, "a revision cannot be fetched at the moment");
                if attempt + 1 == FETCH_ATTEMPTS {
                    return Finished::Failed(id, vec![problem]);
                }
            }
        }
        tokio::time::sleep(FETCH_DELAY.mul_f64(rand::random_range(0.5..1.5))).await;
    }
    Finished::Failed(id, Vec::new())
}

enum Refused {
    Problems(Vec<String>),
    /// It may be possible later.
    Later(String),
}

impl From<String> for Refused {
    fn from(problem: String) -> Self {
        Self::Problems(vec![problem])
    }
}

fn refused(what: &str, error: &ObjectError) -> Refused {
    let problem = format!("{what}: {error}");
    if error.is_temporary() { Refused::Later(problem) } else { problem.into() }
}

async fn try_fetch(registry: &Registry, folder: &Folder, id: RevisionId) -> Result<(), Refused> {
    let name = document_name(id.document);
    let text = match folder.read(&name, id.document, MAX_DOCUMENT) {
        Some(text) => text,
        None => {
            let text = registry.object(id.document, MAX_DOCUMENT).await;
            let text = text.map_err(|error| refused("the manifest", &error))?;
            folder.write(&name, &text)?;
            text
        }
    };
    let (_, manifest) = parse(folder, text)?;
    let mut problems = Vec::new();
    for (file, limits) in manifest.limited_files() {
        let Some(hash) = named_content(&file) else {
            problems.push(format!("the module \"{}\" is not named by its content", file.display()));
            continue;
        };
        if folder.has_module(hash, limits.module_size) {
            continue;
        }
        match registry.object(hash, limits.module_size).await {
            Ok(bytes) => folder.write(&module_name(hash), &bytes)?,
            Err(error) if error.is_temporary() => return Err(refused("a module", &error)),
            Err(error) => problems.push(format!("failed to fetch a module: {error}")),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refused::Problems(problems)) }
}

fn parse(folder: &Folder, text: Vec<u8>) -> Result<(Source, Manifest), String> {
    let text =
        String::from_utf8(text).map_err(|error| format!("failed to read the manifest: {error}"))?;
    let source = folder.source(text);
    let manifest = source.parse().map_err(|problem| shown(&problem))?;
    Ok((source, manifest))
}

/// A problem without the path of the node's folder, which means nothing to a deployer.
fn shown(problem: &Problem) -> String {
    let line = problem.line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{line}{} ({})", problem.message, problem.code)
}

/// Runs blocking work. A panic is a problem of the revision.
async fn blocking(
    id: RevisionId,
    work: impl FnOnce() -> Result<Finished, Vec<String>> + Send + 'static,
) -> Finished {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(finished)) => finished,
        Ok(Err(problems)) => Finished::Failed(id, problems),
        Err(error) => Finished::Failed(id, vec![format!("the node failed: {error}")]),
    }
}

/// Compiles, links and instantiates a revision, and writes the list of its functions to the folder.
pub(super) async fn prepare(deployment: Deployment, folder: Folder, id: RevisionId) -> Finished {
    blocking(id, move || {
        let candidate = candidate(&deployment, &folder, id)?;
        Ok(Finished::Prepared(id, candidate))
    })
    .await
}

fn candidate(
    deployment: &Deployment,
    folder: &Folder,
    id: RevisionId,
) -> Result<Candidate, Vec<String>> {
    let one = |problem: String| vec![problem];
    let text = folder.read(&document_name(id.document), id.document, MAX_DOCUMENT);
    let text = text.ok_or_else(|| one("the manifest was removed from the folder".to_owned()))?;
    let (source, manifest) = parse(folder, text).map_err(one)?;
    if manifest.has_pool() {
        tracing::warn!(
            revision = id.number,
            "the table [pool] of the manifest is ignored: each node has its own"
        );
    }
    let prepared = deployment.prepare(&source, &manifest);
    let problems = |problems: Vec<Problem>| problems.iter().map(shown).collect::<Vec<_>>();
    let prepared = prepared.map_err(problems)?;
    // A function that no call could start is not ready.
    prepared.instantiate(&source).map_err(problems)?;
    let functions = prepared.deployed(&source);
    let (bytes, index) = Index::new(functions.clone()).encode().map_err(one)?;
    folder.write(&index_name(id.document), &bytes).map_err(one)?;
    Ok(Candidate { index, source, prepared: Box::new(prepared), functions })
}

/// Stores the list of a revision's functions.
pub(super) async fn publish(registry: Registry, folder: Folder, id: RevisionId) -> Finished {
    let Ok(bytes) = file::read(&folder.path(&index_name(id.document)), MAX_INDEX) else {
        let problem = "the list of the functions was removed from the folder".to_owned();
        return Finished::NotPublished(id, vec![problem]);
    };
    let mut last = String::new();
    for _ in 0..FETCH_ATTEMPTS {
        match registry.store(&bytes).await {
            Ok(_) => return Finished::Published(id),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(FETCH_DELAY.mul_f64(rand::random_range(0.5..1.5))).await;
    }
    Finished::NotPublished(id, vec![format!("failed to publish the list of the functions: {last}")])
}

/// Makes the pool run a revision, and publishes its functions.
pub(super) async fn activate(
    deployment: Deployment,
    folder: Folder,
    serving: Serving,
    id: RevisionId,
    prepared: Option<Candidate>,
    active: Option<Active>,
) -> Finished {
    blocking(id, move || {
        let mut deployment = deployment;
        // It was prepared for the previous functions of the pool, before another revision was activated.
        let prepared = prepared.map_or_else(|| candidate(&deployment, &folder, id), Ok)?;
        let Candidate { index, source, prepared, functions } = prepared;
        let activation = active.as_ref().map(|active| &active.activation);
        if let Some(activation) = activation.filter(|it| it.index != index) {
            tracing::warn!(
                revision = id.number,
                expected = %activation.index,
                found = %index,
                "this node derives a different list of functions from the active revision; it may run a different version of wpc"
            );
        }
        let functions = functions.into_iter().map(|function| {
            let served = ServedFunction {
                definition: function.definition,
                can_suspend: function.information.can_suspend,
                is_metered: function.is_metered,
            };
            (function.information.name, served)
        });
        let functions = functions.collect();
        let activated = serving.change(|served| {
            let report = deployment.activate(&source, *prepared)?;
            served.revision = Some(id.number);
            served.index = index.into();
            served.functions = functions;
            Ok(report)
        });
        let problems = |problems: Vec<Problem>| problems.iter().map(shown).collect::<Vec<_>>();
        let _report: wpc_deploy::Report = activated.map_err(problems)?;
        if let Some(active) = active
            && let Err(error) = folder.set_active(&active)
        {
            tracing::warn!(%error, "failed to store the active revision");
        }
        Ok(Finished::Activated(id, Box::new(deployment)))
    })
    .await
}
