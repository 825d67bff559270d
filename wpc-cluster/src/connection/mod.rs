//! The connection of this process to NATS: its state, and the time of the server.
//!
//! The state is written by the callback of the client library, on its own task, and read by all others:
//!
//! | field | written by | ordering |
//! |---|---|---|
//! | `link`, `violations`, `failure` | the callback | a watch channel |
//! | `disconnects`, `dropped`, `clock_offset` | the callback; the task that reads the clock | relaxed: each stands alone |

#[cfg(test)]
pub(crate) mod bus;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use transport::{Received, Subscription};

use crate::error::Error;
use crate::names::Names;
use crate::options::{ClusterOptions, Credentials};
use async_nats::{Client, ConnectOptions, Event, ServerError};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use transport::Transport;

/// A connection to the NATS servers of a cluster. Cheap to clone. It reconnects automatically.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    names: Names,
    options: ClusterOptions,
    shared: Arc<Shared>,
}

/// What the callback of the client library writes.
#[derive(Debug)]
struct Shared {
    link: watch::Sender<Link>,
    disconnects: AtomicU64,
    dropped: AtomicU64,
    /// What to add to the clock of this process to get that of the server, in milliseconds.
    clock_offset: AtomicI64,
    /// Why the last attempt to connect failed; `None` after one that did not.
    failure: watch::Sender<Option<String>>,
    /// What the server did not permit since the connection was established: each operation once, the last one at the end.
    violations: watch::Sender<Vec<Arc<str>>>,
}

/// The maximum number of operations that are remembered because the server did not permit them.
const MAX_VIOLATIONS: usize = 64;

/// Whether the server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Since this moment.
    Up(Instant),
    /// Since this moment.
    Down(Instant),
}

/// How long to wait before the next attempt to connect: longer with each, and at most 2 s.
fn reconnect_delay(attempts: usize) -> Duration {
    let jitter = Duration::from_millis(rand::random_range(0..50));
    let exponent = u32::try_from(attempts.min(6)).unwrap_or(6);
    (Duration::from_millis(25) * 2_u32.pow(exponent)).min(Duration::from_secs(2)) + jitter
}

impl Connection {
    /// Connects. `name` identifies this process in the server's list of connections.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if an option is invalid or a file cannot be read, and [`Error::Connect`] if no server can be reached
    /// within the time limit, or if it refuses the credentials.
    pub async fn open(options: ClusterOptions, name: &str) -> Result<Self, Error> {
        Self::connect(options, name, false).await
    }

    /// Connects in the background if no server can be reached now.
    pub(crate) async fn open_later(options: ClusterOptions, name: &str) -> Result<Self, Error> {
        Self::connect(options, name, true).await
    }

    /// A connection to a bus in memory.
    #[cfg(test)]
    pub(crate) fn simulated(port: bus::Port, options: ClusterOptions) -> Self {
        let link = port.link();
        let shared = Arc::new(Shared::new(*link.borrow()));
        shared.clock_offset.store(port.clock_offset_ms(), Ordering::Relaxed);
        let names = Names::new(&options.namespace);
        let (own, mut followed) = (Arc::clone(&shared), link);
        tokio::spawn(async move {
            while followed.changed().await.is_ok() {
                own.link.send_replace(*followed.borrow_and_update());
            }
        });
        let transport = Transport::Simulated(port);
        Self(Arc::new(Inner { transport, names, options, shared }))
    }

    async fn connect(
        options: ClusterOptions,
        name: &str,
        may_be_later: bool,
    ) -> Result<Self, Error> {
        options.validate()?;
        let now = Instant::now();
        let first = if may_be_later { Link::Down(now) } else { Link::Up(now) };
        let shared = Arc::new(Shared::new(first));
        let seen = Arc::clone(&shared);
        let mut connect = authenticated(&options)?
            .name(name)
            .custom_inbox_prefix(&options.inbox)
            .connection_timeout(options.connect_timeout)
            .ping_interval(Duration::from_secs(2))
            .max_reconnects(None)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                seen.on_event(&event);
                std::future::ready(())
            });
        if may_be_later {
            connect = connect.retry_on_initial_connect();
        }
        // Without users and passwords, which the client library would log.
        let connecting = connect.connect(options.addresses());
        let client = tokio::time::timeout(options.connect_timeout, connecting);
        let client = match client.await {
            Ok(client) => client.map_err(|error| Error::connect(&options, &error))?,
            Err(_) => {
                let reason = format!(
                    "no answer within {:?}; is a NATS server running there?",
                    options.connect_timeout
                );
                return Err(Error::Connect { servers: options.reported_servers(), reason });
            }
        };
        let names = Names::new(&options.namespace);
        let transport = Transport::Nats(client);
        let connection = Self(Arc::new(Inner { transport, names, options, shared }));
        connection.read_clock().await;
        Ok(connection)
    }

    /// The client library, for JetStream.
    pub(crate) fn client(&self) -> &Client {
        self.0.transport.client()
    }

    /// Sends a message.
    pub(crate) async fn publish(&self, subject: String, payload: Bytes) -> Result<(), String> {
        self.0.transport.publish(subject, None, payload).await
    }

    /// Sends a message to which an answer is expected at `reply`.
    pub(crate) async fn publish_with_reply(
        &self,
        subject: String,
        reply: String,
        payload: Bytes,
    ) -> Result<(), String> {
        self.0.transport.publish(subject, Some(reply), payload).await
    }

    /// Subscribes to a subject.
    pub(crate) async fn subscribe(&self, subject: String) -> Result<Subscription, Error> {
        self.subscribe_in(subject, None).await
    }

    /// Subscribes to a subject as a member of a queue group; each message is delivered to one member.
    pub(crate) async fn subscribe_in(
        &self,
        subject: String,
        group: Option<String>,
    ) -> Result<Subscription, Error> {
        let subscribed = self.0.transport.subscribe(subject, group).await;
        subscribed.map_err(|reason| Error::Registry { operation: "subscribing".to_owned(), reason })
    }

    /// Waits until the messages that were published are sent.
    pub(crate) async fn flush(&self) {
        match &self.0.transport {
            // If the server does not answer, a flush would wait for a new connection.
            Transport::Nats(client) => {
                let flushed = tokio::time::timeout(Duration::from_secs(1), client.flush());
                let _ = flushed.await;
            }
            #[cfg(test)]
            Transport::Simulated(_) => {}
        }
    }

    /// A random seed, which simulations choose.
    pub(crate) fn seed(&self) -> u64 {
        match &self.0.transport {
            Transport::Nats(_) => rand::random(),
            #[cfg(test)]
            Transport::Simulated(port) => port.seed(),
        }
    }

    /// A subject for answers that no other process has.
    pub(crate) fn new_inbox(&self) -> String {
        match &self.0.transport {
            Transport::Nats(client) => client.new_inbox(),
            #[cfg(test)]
            Transport::Simulated(port) => port.new_inbox(),
        }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    /// The options with which it was opened.
    #[must_use]
    pub fn options(&self) -> &ClusterOptions {
        &self.0.options
    }

    /// Whether the server can be reached.
    pub(crate) fn link(&self) -> Link {
        *self.0.shared.link.borrow()
    }

    /// Follows whether the server can be reached.
    pub(crate) fn follow_link(&self) -> watch::Receiver<Link> {
        self.0.shared.link.subscribe()
    }

    /// Whether the server can be reached.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.link(), Link::Up(_))
    }

    /// The addresses of the servers, without users and passwords, separated by commas.
    #[must_use]
    pub fn servers(&self) -> String {
        self.0.options.reported_servers()
    }

    /// Why the last attempt to connect failed; `None` if it did not, or if it has not ended.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.shared.failure.borrow().clone()
    }

    /// Waits until the server has refused the credentials.
    pub(crate) async fn refused(&self) -> Error {
        let mut failure = self.0.shared.failure.subscribe();
        let is_refusal = |text: &str| text.contains("authorization violation");
        // The sender lives as long as the connection.
        let _ = failure.wait_for(|failure| failure.as_deref().is_some_and(is_refusal)).await;
        Error::refused_credentials(self.options())
    }

    /// How often the connection was lost.
    #[must_use]
    pub fn disconnects(&self) -> u64 {
        self.0.shared.disconnects.load(Ordering::Relaxed)
    }

    /// How often messages were dropped because this process did not read them in time.
    #[must_use]
    pub fn dropped_messages(&self) -> u64 {
        self.0.shared.dropped.load(Ordering::Relaxed)
    }

    /// What the server last did not permit.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        self.0.shared.violations.borrow().last().map(|last| last.as_ref().to_owned())
    }

    /// An operation that satisfies the condition, and that the server did not permit since the connection was established.
    pub(crate) fn find_violation(&self, condition: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        self.0.shared.violations.borrow().iter().find(|text| condition(text)).cloned()
    }

    /// Why this process receives no answers: the server does not permit it to subscribe to its inbox.
    pub(crate) fn refused_inbox(&self) -> Option<String> {
        let inbox = format!("\"{}.", self.0.options.inbox);
        let is_inbox = |text: &str| text.contains("ubscription") && text.contains(&inbox);
        let violation = self.find_violation(is_inbox)?;
        Some(format!(
            "{violation}; `--cluster-inbox` sets the prefix of the subjects of answers, and `wpc cluster check` lists what this user lacks"
        ))
    }

    /// Follows what the server does not permit; the last value is at the end.
    pub(crate) fn follow_violations(&self) -> watch::Receiver<Vec<Arc<str>>> {
        self.0.shared.violations.subscribe()
    }

    /// The maximum size of a message in bytes, as the server states it.
    #[must_use]
    pub fn max_message(&self) -> usize {
        match &self.0.transport {
            Transport::Nats(client) => client.max_payload(),
            #[cfg(test)]
            Transport::Simulated(_) => 1 << 20,
        }
    }

    /// The time of the server, in milliseconds since 1970, as far as it is known.
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.transport.own_ms().saturating_add_signed(self.clock_offset_ms())
    }

    /// What to add to the clock of this process to get that of the server, in milliseconds.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.0.shared.clock_offset.load(Ordering::Relaxed)
    }

    /// Compares the clock of this process with that of the server, which states its time with the description of the user.
    /// Without an answer, the difference stays as it was.
    pub(crate) async fn read_clock(&self) {
        #[cfg(test)]
        if matches!(self.0.transport, Transport::Simulated(_)) {
            return;
        }
        if !self.is_up() {
            return;
        }
        let before = SystemTime::now();
        let request = self.client().request(USER_INFO, Bytes::new());
        let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(1), request).await else {
            return;
        };
        let Ok(elapsed) = before.elapsed() else { return };
        if let Some(offset) = clock_offset(&answer.payload, before, elapsed) {
            self.0.shared.clock_offset.store(offset, Ordering::Relaxed);
        }
    }

    /// Waits until the server has handled everything that this process sent before: a message to a subject without subscribers
    /// comes back at once.
    pub(crate) async fn fence(&self) {
        #[cfg(test)]
        if matches!(self.0.transport, Transport::Simulated(_)) {
            return;
        }
        let subject = self.new_inbox();
        let request = self.client().request(subject, Bytes::new());
        // An error is the answer that is expected: nothing responds there.
        let _ = tokio::time::timeout(Duration::from_secs(1), request).await;
    }
}

/// Where a server describes the user of the connection, and states its time. It exists with and without JetStream.
pub(crate) const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// What to add to this process's clock to get the server's, in milliseconds. The server's answer to a request at `before`, which took
/// `elapsed`, is assumed to have been written in the middle.
fn clock_offset(answer: &[u8], before: SystemTime, elapsed: Duration) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Answer {
        server: Server,
    }
    #[derive(serde::Deserialize)]
    struct Server {
        time: String,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let server = humantime::parse_rfc3339(&answer.server.time).ok()?;
    Some(match server.duration_since(before + elapsed / 2) {
        Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
        Err(behind) => -i64::try_from(behind.duration().as_millis()).unwrap_or(i64::MAX),
    })
}

impl Shared {
    fn new(link: Link) -> Self {
        Self {
            link: watch::Sender::new(link),
            disconnects: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            clock_offset: AtomicI64::new(0),
            failure: watch::Sender::default(),
            violations: watch::Sender::default(),
        }
    }

    fn on_event(&self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                self.set_failure(None);
                // The server decides about permissions anew.
                self.violations.send_replace(Vec::new());
                self.link.send_replace(Link::Up(now));
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!("the connection to NATS was lost");
                self.disconnects.fetch_add(1, Ordering::Relaxed);
                self.link.send_replace(Link::Down(now));
            }
            Event::SlowConsumer(_) => {
                let count = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                // Logged whenever their number has doubled, because each message is an event.
                if count.is_power_of_two() {
                    tracing::warn!(
                        count,
                        "messages were dropped because they were not read in time"
                    );
                }
            }
            Event::ServerError(ServerError::Other(text)) if is_violation(text) => {
                self.on_violation(text);
            }
            Event::ServerError(error) => {
                tracing::warn!(%error, "the NATS server reported an error")
            }
            Event::ClientError(error) => self.set_failure(Some(error.to_string())),
            Event::LameDuckMode => tracing::info!("the NATS server is shutting down"),
            Event::Draining => {}
        }
    }
}

impl Shared {
    /// Attempts to connect are repeated, so an error is reported once.
    fn set_failure(&self, failure: Option<String>) {
        if let Some(error) = failure.as_ref().filter(|_| *self.failure.borrow() != failure) {
            tracing::warn!(error, "the NATS client reported an error");
        }
        self.failure.send_replace(failure);
    }

    fn on_violation(&self, text: &str) {
        // Messages that are sent often are reported once.
        if !self.violations.borrow().iter().any(|known| **known == *text) {
            // Some are expected, such as those of a node that tries to create buckets. Others become errors of an operation or of the node.
            tracing::debug!(%text, "the NATS server does not permit an operation");
        }
        self.violations.send_modify(|violations| {
            violations.retain(|known| **known != *text);
            violations.push(text.into());
            if violations.len() > MAX_VIOLATIONS {
                violations.remove(0);
            }
        });
    }
}

fn is_violation(text: &str) -> bool {
    text.to_ascii_lowercase().contains("permissions violation")
}

/// The options of the client library with the credentials and files of `options`.
fn authenticated(options: &ClusterOptions) -> Result<ConnectOptions, Error> {
    let connect = match options.effective_credentials() {
        Credentials::None => ConnectOptions::new(),
        Credentials::Token(token) => ConnectOptions::with_token(token),
        Credentials::Password(user, password) => {
            ConnectOptions::with_user_and_password(user, password)
        }
        Credentials::Nkey(seed) => ConnectOptions::with_nkey(seed.trim().to_owned()),
        Credentials::File(path) => {
            let text = readable(&path)?;
            ConnectOptions::with_credentials(&text).map_err(|error| file_error(&path, &error))?
        }
    };
    let connect = match &options.ca {
        Some(path) => {
            readable(path)?;
            connect.add_root_certificates(path.clone()).require_tls(true)
        }
        None => connect,
    };
    Ok(match &options.certificate {
        Some((certificate, key)) => {
            readable(certificate)?;
            readable(key)?;
            connect.add_client_certificate(certificate.clone(), key.clone()).require_tls(true)
        }
        None => connect,
    })
}

/// The content of a file.
fn readable(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| file_error(path, &error))
}

fn file_error(path: &Path, error: &std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}
