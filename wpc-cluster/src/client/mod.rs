//! Calls to functions on the nodes of a cluster.

mod call;
mod outgoing;
mod pending;
mod stored_arguments;
mod stream;
mod tasks;

use crate::connection::{Connection, Link};
use crate::names::NodeName;
use crate::options::ClusterOptions;
use crate::payloads::Payloads;
use crate::protocol::members::{Criteria, Members, Presence};
use crate::registry::{Following, Registry};
use crate::snapshot::Snapshot;
use crate::wire::{Control, Stage};
use arc_swap::ArcSwap;
use outgoing::Outgoing;
use pending::Pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use wpc_deploy::DeployedFunction;
use wpc_host::{
    CallArguments, CallId, CallOptions, ClusterInformation, Error, NodeInformation, NodeState,
    ReplyFormat, StreamOptions, SubmittedCall, SubmittedStream,
};

/// Calls functions on the nodes of a cluster. Cheap to clone. Its tasks end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

/// What the client's clones and tasks share. Tasks refer to it weakly.
#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// The functions of the cluster, which another task follows.
    functions: Arc<ArcSwap<Snapshot>>,
    /// Keeps the task running that updates `functions`.
    _following: Option<Following>,
    members: Mutex<Members>,
    pending: Pending,
    /// When it began to receive heartbeats of nodes.
    start: Instant,
    /// The subject of answers, without the number of the attempt.
    inbox: String,
    controls: mpsc::UnboundedSender<ToNode>,
    payloads: Payloads,
    runtime: Handle,
    tasks: tasks::Tasks,
}

/// How long a client waits for the registry when it connects.
const FIRST_READ: Duration = Duration::from_secs(5);

/// A message for a node about a call there.
#[derive(Debug)]
struct ToNode {
    node: NodeName,
    control: Control,
}

impl Client {
    /// Connects to a cluster, and reads the functions of its active revision. Must be called within a tokio runtime.
    ///
    /// ```no_run
    /// use wpc_cluster::{Client, ClusterOptions};
    /// use wpc_host::{CallArguments, CallOptions, ReplyFormat};
    ///
    /// # async fn greet() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::connect(ClusterOptions::new("nats://127.0.0.1:4222")).await?;
    /// let arguments = CallArguments::Positional(vec!["Ada".into()]);
    /// let call = client.submit("greet", arguments, ReplyFormat::Json, &CallOptions::new())?;
    /// println!("{:?}", call.await?.value);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Options`](crate::Error::Options) and [`Error::Connect`](crate::Error::Connect); and
    /// [`Error::Registry`](crate::Error::Registry) if the registry cannot be read within 5 seconds.
    pub async fn connect(options: ClusterOptions) -> Result<Self, crate::Error> {
        let connection = Connection::open(options, "wpc client").await?;
        let registry = Registry::new(connection.clone());
        let following = registry.follow();
        if tokio::time::timeout(FIRST_READ, following.first()).await.is_err() {
            return Err(registry.unanswered(FIRST_READ, following.problem()));
        }
        let functions = following.shared();
        Self::start(connection, functions, Some(following)).await
    }

    /// A client that follows these functions. It must be created within a tokio runtime.
    pub(crate) async fn start(
        connection: Connection,
        functions: Arc<ArcSwap<Snapshot>>,
        following: Option<Following>,
    ) -> Result<Self, crate::Error> {
        let (controls, to_send) = mpsc::unbounded_channel();
        let inbox = connection.new_inbox();
        let inner = Arc::new(Inner {
            members: Mutex::new(Members::new(
                connection.options().heartbeat_interval,
                connection.seed(),
            )),
            payloads: Payloads::new(connection.clone()),
            connection,
            functions,
            _following: following,
            pending: Pending::default(),
            start: now(),
            inbox,
            controls,
            runtime: Handle::current(),
            tasks: tasks::Tasks::default(),
        });
        tasks::start(&inner, to_send).await?;
        Ok(Self(inner))
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// The functions of the active revision at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.functions.load_full()
    }

    /// Submits a call to a node. It is sent before this returns, if a node is known and the arguments fit a message.
    ///
    /// # Errors
    ///
    /// [`Error`] if the function is not defined, is not defined by the pinned module, or if the options are invalid.
    pub fn submit(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        let (outgoing, target) = self.outgoing(function, arguments, format, options)?;
        let hash = target.information.function_hash_sha1;
        let (id, fuel) = (CallId::from(self.0.pending.next_id()), outgoing.fuel_meter());
        let reply = call::submit(&self.0, outgoing);
        Ok(SubmittedCall::new(id, hash, reply).with_fuel_meter(fuel))
    }

    /// Submits a call to a node, and returns its items as a stream.
    ///
    /// # Errors
    ///
    /// As for [`submit`](Self::submit).
    pub fn stream(
        &self,
        function: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        let (outgoing, target) =
            self.outgoing(function, arguments, ReplyFormat::Json, &options.call)?;
        let hash = target.information.function_hash_sha1;
        let (id, fuel) = (CallId::from(self.0.pending.next_id()), outgoing.fuel_meter());
        let parts = stream::start(&self.0, outgoing, options);
        Ok(SubmittedStream::new(id, hash, parts).with_fuel_meter(fuel))
    }

    fn outgoing(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<(Outgoing, Arc<DeployedFunction>), Error> {
        let target = self.0.target(function)?;
        let outgoing = Outgoing::new(&target, arguments, format, options)?;
        Ok((outgoing, target))
    }

    /// The nodes that this process knows, and its connection.
    #[must_use]
    pub fn information(&self) -> ClusterInformation {
        let snapshot = self.0.functions.load();
        let mut cluster = ClusterInformation::default();
        cluster.is_connected = self.0.connection.is_up();
        cluster.disconnects = self.0.connection.disconnects();
        cluster.dropped_messages = self.0.connection.dropped_messages();
        cluster.active_revision = snapshot.revision;
        let now = now();
        for (name, member) in self.0.members().iter() {
            let heartbeat = &member.heartbeat;
            let state = match (member.presence, heartbeat.stage) {
                (Presence::Lost, _) => NodeState::Lost,
                (Presence::Alive, Stage::Draining | Stage::Left) => NodeState::Draining,
                (Presence::Alive, Stage::Serving) if heartbeat.index == snapshot.index => {
                    NodeState::Ready
                }
                (Presence::Alive, Stage::Serving) => NodeState::Behind,
            };
            let mut node = NodeInformation::new(name.as_str(), state);
            node.version.clone_from(&heartbeat.version);
            node.revision = heartbeat.revision;
            node.workers = heartbeat.workers as usize;
            node.call_limit = heartbeat.call_limit as usize;
            node.calls_in_flight = heartbeat.in_flight as usize;
            node.calls_accepted = heartbeat.accepted;
            node.calls_refused = heartbeat.refused;
            node.last_heartbeat = now.saturating_duration_since(member.last_heartbeat);
            node.problem.clone_from(&heartbeat.problem);
            cluster.nodes.push(node);
        }
        cluster
    }

    /// The number of attempts that wait for an answer.
    #[must_use]
    pub fn pending_calls(&self) -> usize {
        self.0.pending.len()
    }
}

/// The time of the runtime, which simulations control.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ends a task when it is dropped, and with it the call that it waits for.
#[derive(Debug)]
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function as it is now.
    fn target(&self, function: &str) -> Result<Arc<DeployedFunction>, Error> {
        let snapshot = self.functions.load();
        let target = snapshot.functions.get(function).cloned();
        target.ok_or_else(|| Error::function_not_defined(function))
    }

    /// A node for an attempt.
    fn choose(&self, affinity: Option<u64>, tried: &[NodeName]) -> Option<NodeName> {
        let index = self.functions.load().index;
        let mut members = self.members();
        let node = members.choose(&Criteria { index, affinity, tried })?;
        members.sent(&node);
        Some(node)
    }

    /// Since when heartbeats of nodes can arrive.
    fn up_since(&self) -> Option<Instant> {
        match self.connection.link() {
            Link::Up(since) => Some(since.max(self.start)),
            Link::Down(_) => None,
        }
    }

    /// The subject of an attempt's answers.
    fn inbox(&self, attempt: u64) -> String {
        format!("{}.{attempt}", self.inbox)
    }

    /// Deletes a stored payload, in the background.
    fn discard(self: &Arc<Self>, name: String) {
        let inner = Arc::clone(self);
        self.runtime.spawn(async move { inner.payloads.delete(&name).await });
    }

    /// Cancels an attempt on its node.
    fn cancel(&self, node: NodeName, attempt: u64) {
        let control = Control::Cancel { inboxes: vec![self.inbox(attempt)] };
        // Without the task that sends, the client has ended.
        let _ = self.controls.send(ToNode { node, control });
    }
}

/// An attempt on a node. Dropping it before its last answer cancels the call there.
#[derive(Debug)]
struct Attempt {
    inner: Arc<Inner>,
    node: NodeName,
    number: u64,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.inner.members().ended(&self.node);
        if let Some(node) = self.inner.pending.remove(self.number) {
            self.inner.cancel(node, self.number);
        }
    }
}
