//! The functions of the active revision, as a client follows them.

use super::Registry;
use super::activation::{Activation, Known};
use super::watch::{Change, Followed, follow};
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// The functions of the active revision. Another task follows the registry until this is dropped.
#[derive(Debug)]
pub struct Following {
    functions: Arc<ArcSwap<Snapshot>>,
    state: watch::Receiver<State>,
    tasks: [AbortHandle; 2],
}

/// The state of the task that follows the registry.
#[derive(Debug, Default, Clone)]
struct State {
    /// Whether the registry was read.
    was_read: bool,
    /// The active revision whose functions are published.
    active: Option<Activation>,
    /// Why it is behind.
    problem: Option<String>,
}

/// The time before a list of functions that cannot be read is read again.
const RETRY: Duration = Duration::from_millis(500);

impl Registry {
    /// Follows the functions of the active revision. Must be called within a tokio runtime.
    #[must_use]
    pub fn follow(&self) -> Following {
        self.follow_since(Known::default())
    }

    /// Follows the functions of the active revision, if its activation is not older than what is known.
    pub(crate) fn follow_since(&self, known: Known) -> Following {
        let functions = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let (sender, state) = watch::channel(State::default());
        let (changes, received) = mpsc::channel(16);
        let watching = tokio::spawn(follow(self.clone(), Followed::Active, known, changes));
        let publishing =
            tokio::spawn(publish(self.clone(), Arc::clone(&functions), received, sender));
        let tasks = [watching.abort_handle(), publishing.abort_handle()];
        Following { functions, state, tasks }
    }
}

impl Following {
    /// The functions at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.functions.load_full()
    }

    /// Where the functions are published.
    pub(crate) fn shared(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.functions)
    }

    /// Waits until the registry was read for the first time, even if nothing is active.
    pub async fn first(&self) {
        // The sender lives as long as this.
        let _ = self.state.clone().wait_for(|state| state.was_read).await;
    }

    /// Waits until this revision is followed.
    pub async fn reached(&self, revision: u64) {
        let is_it = |state: &State| state.active.as_ref().is_some_and(|it| it.revision == revision);
        let _ = self.state.clone().wait_for(is_it).await;
    }

    /// Why the functions may not be those of the active revision; `None` if they are.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.state.borrow().problem.clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Publishes the functions of each active revision.
async fn publish(
    registry: Registry,
    functions: Arc<ArcSwap<Snapshot>>,
    mut changes: mpsc::Receiver<Change>,
    state: watch::Sender<State>,
) {
    let mut wanted: Option<Activation> = None;
    loop {
        let change = if wanted.is_some() {
            tokio::time::timeout(RETRY, changes.recv()).await.ok()
        } else {
            Some(changes.recv().await)
        };
        match change {
            Some(None) => return,
            // It is time for another attempt.
            None => {}
            Some(Some(Change::Unreachable(problem) | Change::Ignored(problem))) => {
                state.send_modify(|state| state.problem = Some(problem));
                continue;
            }
            // After a deletion of the bucket, the last functions stay.
            Some(Some(Change::Nothing)) => {
                state.send_modify(|state| {
                    state.was_read = true;
                    let lost = state.active.as_ref().map(|active| {
                        format!(
                            "the registry has lost revision {}, which was active",
                            active.revision
                        )
                    });
                    state.problem = lost;
                });
                continue;
            }
            Some(Some(Change::Active(active))) => wanted = Some(active.activation),
            Some(Some(Change::PrepareRequested(_) | Change::Refused(..))) => continue,
        }
        let Some(active) = wanted.clone() else { continue };
        let known = state.borrow().active.clone();
        if known.is_none_or(|known| known.index != active.index) {
            match registry.index(active.index).await {
                Ok(index) => {
                    let hash = <[u8; 32]>::from(active.index);
                    let snapshot = Snapshot::new(active.revision, hash, index.functions);
                    functions.store(Arc::new(snapshot));
                }
                Err(error) => {
                    let problem = format!("revision {}: {error}", active.revision);
                    state.send_modify(|state| state.problem = Some(problem));
                    continue;
                }
            }
        } else {
            let mut snapshot = Snapshot::clone(&functions.load());
            snapshot.revision = Some(active.revision);
            functions.store(Arc::new(snapshot));
        }
        wanted = None;
        state.send_modify(|state| {
            *state = State { was_read: true, active: Some(active), problem: None };
        });
    }
}
