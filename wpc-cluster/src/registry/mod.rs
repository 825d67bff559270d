//! The registry of a cluster in JetStream: the modules and manifests by their content, the revisions, and which of them is active.
//!
//! | store | key | value | written |
//! |---|---|---|---|
//! | objects | a SHA-256 | a module, a manifest or an [`Index`] | once; replaced if it is damaged |
//! | registry | `revision.NUMBER` | [`Revision`] | once |
//! | registry | `active` | [`Activation`] | by compare-and-swap; its history is kept |
//! | staging | `prepare.NUMBER.REQUEST` | a request to all nodes to prepare a revision | once; the server deletes it after minutes |
//! | staging | `report.NUMBER.REQUEST.NODE` | the report of a node on such a request | by the node |
//!
//! # The path of a deployment
//!
//! 1. [`stage`](Registry::stage) stores the modules and the manifest, and then the revision that refers to them.
//! 2. [`wait_ready`](Registry::wait_ready) asks the nodes to prepare it. Each fetches, verifies, compiles, links and instantiates
//!    what is new, and stores the list of the functions as an object. The request fails if nodes refuse the revision, or if their
//!    lists differ.
//! 3. [`activate`](Registry::activate) changes `active`, if it still has the value that the deployer expects. The nodes and
//!    the clients follow it.
//!
//! Revisions, activations and requests are [signed](signature) by the deployer. A process that knows the deployer keys ignores others, and
//! an activation that is older than one that it knows.
//!
//! Every object is verified when it is read: its length is bounded, and its content must have the SHA-256 that is its name.

mod activation;
mod buckets;
mod following;
mod index;
mod objects;
mod readiness;
mod revision;
mod rollback;
pub(crate) mod signature;
pub(crate) mod staging;
pub(crate) mod watch;

pub use activation::Activation;
pub(crate) use activation::{Active, Known};
pub use following::Following;
pub use index::Index;
pub(crate) use objects::{MAX_DOCUMENT, MAX_INDEX, ObjectError};
pub use readiness::{Quorum, Readiness, Waiting};
pub use revision::Revision;
pub use rollback::Rollback;

use crate::connection::Connection;
use crate::error::Error;
use async_nats::jetstream::{self, Context};
use signature::{Opened, Record, Trust};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The registry of a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Connection,
    context: Context,
    trust: Trust,
}

/// The reason of a request without an answer.
const NO_ANSWER: &str = "no answer";

/// The maximum length of an author and of a note in bytes.
const MAX_TEXT: usize = 4096;

impl Registry {
    /// The registry of the connection's namespace. Its buckets are created when something is staged.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let mut context = jetstream::new(connection.client().clone());
        context.set_timeout(Duration::from_secs(5));
        let trust = Trust::new(connection.options());
        Self(Arc::new(Inner { connection, context, trust }))
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// With which key records are signed, and whose signatures are accepted.
    pub(crate) fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// Reads a record.
    fn open<R: Record>(&self, what: &str, value: &[u8]) -> Result<Opened<R>, Error> {
        self.0.trust.open(value).map_err(|error| unreadable(what, error))
    }

    /// The error of a registry that was not read in this time.
    pub(crate) fn unanswered(&self, limit: Duration, problem: Option<String>) -> Error {
        let reason = problem.unwrap_or_else(|| format!("{NO_ANSWER} within {limit:?}"));
        self.failed("reading the registry", reason)
    }

    /// An operation that failed.
    fn failed(&self, operation: &str, error: impl Display) -> Error {
        let reason = error.to_string();
        let names = self.0.connection.names();
        let violation = self.0.connection.violation();
        let of_bucket = |text: &String| {
            [names.registry(), names.staging(), names.objects()]
                .iter()
                .any(|bucket| text.contains(bucket.as_str()))
        };
        let operation = operation.to_owned();
        let is_unanswered = reason.contains("timed out") || reason.contains(NO_ANSWER);
        if is_unanswered && let Some(reason) = self.0.connection.refused_inbox() {
            return Error::Denied { operation, reason };
        }
        // The server reports it separately, and the answer does not arrive.
        if let Some(reason) = violation.filter(of_bucket).filter(|_| is_unanswered) {
            return Error::Denied { operation, reason };
        }
        let reason = if !self.0.connection.is_up() {
            format!("NATS cannot be reached ({reason})")
        } else if reason.contains("no responders") || reason.contains("not enabled") {
            format!(
                "{reason}; JetStream must be enabled on the NATS server, with its option `-js` or with `jetstream` in its configuration"
            )
        } else {
            reason
        };
        Error::Registry { operation, reason }
    }

    /// The time of the server, as records state it.
    fn now(&self) -> String {
        let now = UNIX_EPOCH + Duration::from_millis(self.0.connection.now_ms());
        humantime::format_rfc3339_millis(now).to_string()
    }
}

/// The error of a record that cannot be read.
fn unreadable(what: &str, error: impl Display) -> Error {
    let reason = format!("it is not in a form that this version reads: {error}");
    Error::Registry { operation: format!("reading {what}"), reason }
}

fn check_text(name: &str, text: &str) -> Result<(), Error> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(Error::Options(format!("the {name} has {} bytes; the maximum is {MAX_TEXT}", text.len())))
}
