//! A process that runs functions for others.

mod backend;
mod call_task;
mod calls;
mod join;
mod namesake;
mod running;
mod served;
mod sync;
mod tasks;

pub(crate) use served::Serving;
#[cfg(test)]
pub(crate) use served::{Served, ServedFunction};

use crate::client::Client;
use crate::connection::Connection;
use crate::names::NodeName;
use crate::payloads::Payloads;
use crate::permissions::{Role, Subjects, is_refused};
use crate::protocol::admission::Admission;
use crate::wire::{Heartbeat, Stage};
use namesake::Namesake;
use running::Running;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use wpc_host::Backend;

/// A process that runs functions for others, and calls those that it does not run. Cheap to clone.
///
/// As a [`Backend`] it is the whole cluster: a call runs in its own pool if the pool has the function and the node has a
/// free slot, and on another node otherwise.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: NodeName,
    /// A random number of this start.
    epoch: u64,
    /// The pool of this process.
    pool: Arc<dyn Backend>,
    client: Client,
    connection: Connection,
    serving: Serving,
    admission: Arc<Admission>,
    running: Running,
    payloads: Payloads,
    runtime: Handle,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// Followed by the tasks.
    intake: watch::Sender<Intake>,
    tasks: Mutex<Vec<AbortHandle>>,
    /// The one of them that takes calls. It ends when the node has left.
    taking_calls: OnceLock<AbortHandle>,
    namesake: Namesake,
    /// What the server must permit.
    needed: Subjects,
    /// What keeps the pool at what the registry states, from when the node has joined.
    sync: OnceLock<sync::Sync>,
}

/// Whether a node accepts calls from other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    /// An operator drains it, and may end that.
    Paused,
    /// It leaves.
    Closed,
    /// It has left.
    Left,
}

impl Intake {
    /// Whether the node leaves or has left, and does not return.
    fn leaves(self) -> bool {
        matches!(self, Self::Closed | Self::Left)
    }

    /// What its heartbeats state.
    fn stage(self) -> Stage {
        match self {
            Self::Open => Stage::Serving,
            Self::Paused | Self::Closed => Stage::Draining,
            Self::Left => Stage::Left,
        }
    }
}

/// The tasks refer to the node weakly, and wait for messages.
impl Drop for Inner {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

/// Options of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeOptions {
    /// The name, unique in the cluster.
    pub name: NodeName,
    /// The maximum number of calls in progress of functions that cannot suspend, those of its own process included. Default `None`:
    /// three for each worker.
    pub call_limit: Option<usize>,
    /// Where the node keeps modules and which revision it ran last. Default `None`: a temporary folder.
    pub folder: Option<PathBuf>,
    /// How many of the revisions that the node ran, the active one included, keep their modules in the folder, so that they are not
    /// fetched again. Modules that neither these nor staged revisions use are removed. Default 100; at least 1.
    pub keep_revisions: usize,
}

impl NodeOptions {
    /// The default options of a node with this name.
    #[must_use]
    pub fn new(name: NodeName) -> Self {
        Self { name, call_limit: None, folder: None, keep_revisions: 100 }
    }
}

impl Node {
    /// A node that does not send heartbeats yet. `serving` is what its pool serves.
    pub(crate) fn create(
        options: NodeOptions,
        pool: Arc<dyn Backend>,
        workers: usize,
        client: Client,
        serving: Serving,
    ) -> Self {
        let connection = client.connection().clone();
        Self(Arc::new(Inner {
            epoch: connection.seed(),
            pool,
            serving,
            admission: Arc::new(Admission::new(workers, options.call_limit)),
            running: Running::default(),
            payloads: Payloads::new(connection.clone()),
            runtime: Handle::current(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            intake: watch::Sender::new(Intake::Open),
            tasks: Mutex::default(),
            taking_calls: OnceLock::new(),
            namesake: Namesake::default(),
            needed: Role::Node(options.name.to_string())
                .subjects(connection.names(), &connection.options().inbox),
            name: options.name,
            sync: OnceLock::new(),
            connection,
            client,
        }))
    }

    /// Begins to send heartbeats and to answer calls.
    pub(crate) async fn start(&self) -> Result<(), crate::Error> {
        tasks::start(&self.0).await
    }

    async fn follow(&self, sync: sync::Sync) -> Result<(), crate::Error> {
        let changes = sync.follow();
        // It is set once.
        let _ = self.0.sync.set(sync);
        self.start().await?;
        tasks::follow(&self.0, changes);
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.0.name
    }

    /// The revision that its pool runs; `None` if it runs none.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.0.sync.get()?.state().active
    }

    /// The node as the backend of a server.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }

    /// Calls functions on other nodes.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// What keeps other processes from calling this node reliably, and what to do about it; `None` if nothing is known: another process
    /// has its name, or the NATS server does not permit what it needs.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.0.obstacle()
    }

    /// The calls from other processes that the node has accepted since its start.
    #[must_use]
    pub fn calls_accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// The calls that the node has accepted and not answered, those of its own process included.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.0.admission.in_flight()
    }

    /// Leaves: it reports that callers should call other nodes, and the calls that the node has accepted are finished. Returns whether all of
    /// them have ended before `timeout`. A call that arrives meanwhile is refused, so that its caller tries another node.
    pub async fn drain(&self, timeout: Duration) -> bool {
        self.0.intake.send_replace(Intake::Closed);
        tasks::send_heartbeat(&self.0).await;
        let has_left = tokio::time::timeout(timeout, tasks::left(&self.0)).await.is_ok();
        if has_left {
            // Other processes need not wait for heartbeats, and do not report the node as lost.
            self.0.intake.send_replace(Intake::Left);
            tasks::send_heartbeat(&self.0).await;
        }
        // Answers that were published are sent before this returns, if they can be sent.
        if self.0.connection.is_up() {
            self.0.connection.flush().await;
            self.0.connection.fence().await;
        }
        has_left
    }
}

impl Inner {
    fn obstacle(&self) -> Option<String> {
        let name = &self.name;
        if self.namesake.exists(self.connection.options().heartbeat_interval) {
            return Some(format!(
                "the name \"{name}\" is in use by another process too, and each call goes to one of them; stop one, and start it with \
                 another `--name`"
            ));
        }
        let violation = self.connection.find_violation(|text| is_refused(&self.needed, text))?;
        Some(format!(
            "the NATS server does not permit what node \"{name}\" needs: {violation}; compare `--name` and `--cluster-inbox` with the \
             permissions of the user; `wpc cluster check --role node --name {name}` lists what it lacks"
        ))
    }

    /// The next heartbeat.
    fn heartbeat(&self) -> Heartbeat {
        let mut heartbeat = Heartbeat::new(self.epoch);
        heartbeat.stage = self.intake.borrow().stage();
        env!("CARGO_PKG_VERSION").clone_into(&mut heartbeat.version);
        self.serving.read(|served| {
            (heartbeat.revision, heartbeat.index) = (served.revision, served.index);
        });
        let behind = || self.sync.get().map(|sync| sync.state().problem).unwrap_or_default();
        let problem = self.obstacle().unwrap_or_else(behind);
        heartbeat.problem = problem.chars().take(1000).collect();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        heartbeat.workers = count(self.pool.health().workers_up());
        // A pool without workers cannot run anything.
        heartbeat.call_limit =
            if heartbeat.workers == 0 { 0 } else { count(self.admission.limit()) };
        heartbeat.in_flight = count(self.admission.in_flight());
        heartbeat.accepted = self.accepted.load(Ordering::Relaxed);
        heartbeat.refused = self.refused.load(Ordering::Relaxed);
        heartbeat
    }
}
