//! Makes a node's pool run the revision that the registry states: fetches revisions, prepares them, and activates them.
//!
//! [`Revisions`] decides what to do. One task owns it and the deployment. Long work runs in other tasks, whose results are
//! inputs. Another task sends reports in their order.

mod folder;
mod retention;
#[cfg(test)]
mod tests;
mod work;

pub(crate) use folder::Folder;

use super::served::Serving;
use crate::names::NodeName;
use crate::protocol::staging::{Effect, Input, Reported, RevisionId, Revisions};
use crate::registry::staging::{NodeReport, Outcome, PrepareRequest};
use crate::registry::watch::{Change, Followed, follow};
use crate::registry::{Active, Known, Registry};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use work::{Candidate, Finished};
use wpc_deploy::Deployment;

/// The time between two attempts to run the active revision after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// How often a report is tried again, and after which time.
const REPORT_ATTEMPTS: usize = 5;
const REPORT_DELAY: Duration = Duration::from_millis(200);

/// How many reports can wait to be sent. Only a flood of requests reaches it; the node does not report those beyond.
const MAX_REPORTS: usize = 256;

/// A pool that follows the registry. Its tasks end when it is dropped.
#[derive(Debug)]
pub(crate) struct Sync {
    state: watch::Receiver<State>,
    tasks: Vec<AbortHandle>,
}

/// The progress of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Whether it runs the active revision, or has reported why it cannot. A node that was never connected runs its copy of
    /// the last revision, if it has one.
    pub(crate) is_settled: bool,
    /// The revision that the pool runs.
    pub(crate) active: Option<u64>,
    /// Why it is not that of the registry; empty if it is.
    pub(crate) problem: String,
}

impl Sync {
    /// Follows the registry. The deployment must have no items: the registry defines all.
    pub(crate) fn start(
        node: NodeName,
        epoch: u64,
        registry: Registry,
        deployment: Deployment,
        folder: Folder,
        keep_revisions: usize,
        serving: Serving,
    ) -> Self {
        let (sender, state) = watch::channel(State::default());
        let (to_active, active) = mpsc::channel(16);
        let (to_asked, asked) = mpsc::channel(16);
        let (reports, to_report) = mpsc::channel(MAX_REPORTS);
        let copy = folder.active(&registry);
        let known = Known::of(copy.as_ref());
        let task = Task {
            registry: registry.clone(),
            deployment,
            folder,
            keep_revisions,
            is_untidy: false,
            serving,
            revisions: Revisions::default(),
            candidates: HashMap::new(),
            activations: HashMap::new(),
            copy,
            jobs: JoinSet::new(),
            reports,
            state: sender,
            epoch,
            unreachable: None,
            was_reached: false,
        };
        let prepares = registry.clone();
        let creating = tokio::spawn(async move {
            // A node may lack the permission, and then a deployer creates them.
            if let Err(error) = prepares.create().await {
                tracing::debug!(%error, "the buckets of the registry were not created");
            }
        });
        let tasks = [
            creating,
            tokio::spawn(follow(registry.clone(), Followed::Active, known, to_active)),
            tokio::spawn(follow(registry.clone(), Followed::PrepareRequests, known, to_asked)),
            tokio::spawn(report(registry, node, to_report)),
            tokio::spawn(task.run(active, asked)),
        ];
        Self { state, tasks: tasks.iter().map(|task| task.abort_handle()).collect() }
    }

    /// The progress of the node.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it runs the active revision, or has failed to.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as this.
        let _ = self.state.clone().wait_for(|state| state.is_settled).await;
    }

    /// Follows the progress of the node.
    pub(crate) fn follow(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Sends reports in their order.
async fn report(
    registry: Registry,
    node: NodeName,
    mut reports: mpsc::Receiver<(PrepareRequest, NodeReport)>,
) {
    while let Some((asked, report)) = reports.recv().await {
        for attempt in 0..REPORT_ATTEMPTS {
            match registry.report(&node, asked, &report).await {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, attempt, "failed to report a revision"),
            }
            tokio::time::sleep(REPORT_DELAY).await;
        }
    }
}

struct Task {
    registry: Registry,
    deployment: Deployment,
    folder: Folder,
    /// How many of the revisions that the node ran keep their files.
    keep_revisions: usize,
    /// Whether the folder may have files that are not needed.
    is_untidy: bool,
    serving: Serving,
    revisions: Revisions,
    /// The revisions that were prepared and not activated.
    candidates: HashMap<RevisionId, Candidate>,
    /// The activations that the registry stated.
    activations: HashMap<RevisionId, Active>,
    /// The revision that the node ran last, before it started.
    copy: Option<Active>,
    jobs: JoinSet<Finished>,
    reports: mpsc::Sender<(PrepareRequest, NodeReport)>,
    state: watch::Sender<State>,
    epoch: u64,
    /// Why the registry cannot be read at the moment.
    unreachable: Option<String>,
    /// Whether the registry was read.
    was_reached: bool,
}

impl Task {
    async fn run(mut self, mut active: mpsc::Receiver<Change>, mut asked: mpsc::Receiver<Change>) {
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        retry.reset();
        loop {
            tokio::select! {
                Some(finished) = self.jobs.join_next() => match finished {
                    Ok(finished) => self.on_finished(finished),
                    Err(error) => tracing::error!(%error, "a task of the node has panicked"),
                },
                Some(change) = active.recv() => self.on_active(change),
                Some(change) = asked.recv() => self.on_prepare_request(change),
                _ = retry.tick() => self.input(Input::Retry),
                else => return,
            }
            self.publish();
            // While nothing is fetched, which may need a file that seems unneeded.
            if self.is_untidy && self.jobs.is_empty() {
                self.is_untidy = false;
                self.tidy().await;
            }
        }
    }

    /// Removes the files of revisions that are neither used nor kept.
    async fn tidy(&self) {
        let (folder, count) = (self.folder.clone(), self.keep_revisions);
        let active = self.revisions.active().map(|active| active.document);
        let used: Vec<_> = self.revisions.in_use().map(|used| used.document).collect();
        let retained =
            tokio::task::spawn_blocking(move || retention::retain(&folder, active, used, count));
        if let Ok(Err(error)) = retained.await {
            tracing::warn!(error, "old files of the node are not removed");
        }
    }

    fn on_active(&mut self, change: Change) {
        match change {
            Change::Active(active) => {
                (self.was_reached, self.unreachable) = (true, None);
                self.target(*active);
            }
            Change::PrepareRequested(_) | Change::Refused(..) => {}
            // The registry does not state what a deployer activated last; the node knows it from before.
            Change::Ignored(problem) => {
                tracing::warn!(problem, "the node ignores what the registry states");
                (self.was_reached, self.unreachable) = (true, Some(problem));
                self.run_copy();
            }
            // The node keeps its revision.
            Change::Nothing => {
                self.was_reached = true;
                let lost = self.revisions.active().map(|active| {
                    format!("the registry has lost revision {}, which was active", active.number)
                });
                self.unreachable = lost;
                // With signatures, an empty registry is not that of an operator who has not deployed yet.
                if self.registry.trust().requires_signatures() {
                    self.run_copy();
                }
            }
            Change::Unreachable(problem) => {
                self.unreachable = Some(problem);
                if !self.was_reached {
                    self.run_copy();
                }
            }
        }
    }

    /// Runs the revision that the node ran last, if it runs none yet.
    fn run_copy(&mut self) {
        if self.revisions.target().is_none()
            && let Some(copy) = self.copy.take()
        {
            let revision = copy.activation.revision;
            tracing::warn!(
                revision,
                "the node starts with its local copy of the last active revision"
            );
            self.target(copy);
        }
    }

    fn on_prepare_request(&mut self, change: Change) {
        match change {
            Change::PrepareRequested(asked) => {
                self.input(Input::PrepareRequested(asked.revision, asked.request))
            }
            Change::Refused(asked, problem) => {
                tracing::warn!(problem, "a request is ignored");
                self.report(asked, Outcome::refused([problem]));
            }
            Change::Ignored(problem) => tracing::warn!(problem, "a request is ignored"),
            Change::Active(_) | Change::Nothing | Change::Unreachable(_) => {}
        }
    }

    fn report(&self, asked: PrepareRequest, outcome: Outcome) {
        let (document, epoch) = (asked.revision.document, self.epoch);
        let report = NodeReport { document, epoch, outcome };
        if self.reports.try_send((asked, report)).is_err() {
            let revision = asked.revision.number;
            tracing::warn!(revision, "too many reports wait, so this one is not sent");
        }
    }

    fn target(&mut self, active: Active) {
        let activation = &active.activation;
        let id = RevisionId { number: activation.revision, document: activation.document };
        self.activations.retain(|known, _| {
            Some(*known) == self.revisions.active() || Some(*known) == self.revisions.target()
        });
        self.activations.insert(id, active);
        self.input(Input::Target(id));
    }

    fn input(&mut self, input: Input) {
        for effect in self.revisions.on(input) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Fetch(id) => {
                let (registry, folder) = (self.registry.clone(), self.folder.clone());
                self.jobs.spawn(work::fetch(registry, folder, id));
            }
            Effect::Prepare(id) => {
                let (deployment, folder) = (self.deployment.clone(), self.folder.clone());
                self.jobs.spawn(work::prepare(deployment, folder, id));
            }
            Effect::Publish(id) => {
                let (registry, folder) = (self.registry.clone(), self.folder.clone());
                self.jobs.spawn(work::publish(registry, folder, id));
            }
            Effect::Activate(id) => {
                let active = self.activations.get(&id).cloned();
                let candidate = self.candidates.remove(&id);
                self.jobs.spawn(work::activate(
                    self.deployment.clone(),
                    self.folder.clone(),
                    self.serving.clone(),
                    id,
                    candidate,
                    active,
                ));
            }
            Effect::Report(id, request, reported) => {
                let outcome = match reported {
                    Reported::Preparing => Outcome::Preparing,
                    Reported::Ready(index) => Outcome::Ready { index },
                    Reported::Failed(problems) => Outcome::refused(problems),
                };
                self.report(PrepareRequest { request, revision: id, at_ms: 0 }, outcome);
            }
            Effect::Forget(id) => drop(self.candidates.remove(&id)),
        }
    }

    fn on_finished(&mut self, finished: Finished) {
        self.is_untidy |= matches!(finished, Finished::Activated(..) | Finished::Failed(..));
        match finished {
            Finished::Fetched(id) => self.input(Input::Fetched(id)),
            Finished::Prepared(id, candidate) => {
                let index = candidate.index;
                self.candidates.insert(id, candidate);
                self.input(Input::Prepared(id, index));
            }
            Finished::Published(id) => self.input(Input::Published(id)),
            Finished::NotPublished(id, problems) => self.input(Input::NotPublished(id, problems)),
            Finished::Activated(id, deployment) => {
                self.deployment = *deployment;
                // They were prepared for the previous functions of the pool.
                self.candidates.clear();
                tracing::info!("this node runs revision {}", id.number);
                self.input(Input::Activated(id));
            }
            Finished::Failed(id, problems) => {
                let problems_text = problems.join("; ");
                tracing::warn!("this node cannot run revision {}: {problems_text}", id.number);
                self.input(Input::Failed(id, problems));
            }
        }
    }

    /// Publishes the progress of the node.
    fn publish(&self) {
        let problems = self.revisions.problems();
        let problem = if let (Some(target), false) = (self.revisions.target(), problems.is_empty())
        {
            format!("revision {} is active, but cannot run: {}", target.number, problems.join("; "))
        } else {
            self.unreachable.clone().unwrap_or_default()
        };
        let is_known = self.was_reached || self.revisions.target().is_some();
        self.state.send_replace(State {
            is_settled: is_known && self.revisions.is_settled(),
            active: self.revisions.active().map(|active| active.number),
            problem,
        });
    }
}
