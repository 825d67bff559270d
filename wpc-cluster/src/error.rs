//! Why an operation of a cluster other than a call failed.

use crate::names::NodeName;
use crate::options::{ClusterOptions, Credentials};
use async_nats::{ConnectError, ConnectErrorKind};
use std::fmt;
use wpc_deploy::Problem;

/// Why an operation of a cluster other than a call failed. The errors of calls are [`wpc_host::Error`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is invalid.
    #[error("{0}")]
    Options(String),
    /// The NATS server cannot be reached, or refuses the connection.
    #[error("failed to connect to NATS at {servers}: {reason}")]
    Connect {
        /// The addresses, separated by commas.
        servers: String,
        /// What the client reported.
        reason: String,
    },
    /// The NATS server does not permit the operation.
    #[error("the NATS server does not permit {operation}: {reason}")]
    Denied {
        /// What was to be done.
        operation: String,
        /// What the server reported.
        reason: String,
    },
    /// The registry cannot be read or written. After a failed write it is not known whether it was written.
    #[error("{operation} failed: {reason}")]
    Registry {
        /// What was to be done.
        operation: String,
        /// What the client or the server reported.
        reason: String,
    },
    /// A record of the registry that no known deployer signed, or that is older than one that is known. It is ignored.
    #[error("{record} is ignored: {reason}")]
    Untrusted {
        /// The record.
        record: String,
        /// Why it is ignored.
        reason: String,
    },
    /// Another process reports itself under the name of the node.
    #[error("the name \"{0}\" is in use by another process; choose another one with `--name`")]
    NameInUse(NodeName),
    /// A revision other than the expected one is active.
    #[error(
        "another revision is active: expected {}, found {}; compare them and try again",
        revision(*expected), revision(*found)
    )]
    Conflict {
        /// The revision that was expected to be active.
        expected: Option<u64>,
        /// The active revision.
        found: Option<u64>,
    },
    /// The revision does not exist.
    #[error("revision {0} does not exist; `history` lists all")]
    UnknownRevision(u64),
    /// No revision was active before, so there is nothing to roll back to.
    #[error("no revision was active before, so there is nothing to roll back to")]
    NothingBefore,
    /// The manifest, or a module of it, is refused.
    #[error("{}", problems(.0))]
    Problems(Vec<Problem>),
    /// Nodes refuse to run a revision. It stays registered and is not active.
    #[error("{}", refused(*.revision, .refusals))]
    Refused {
        /// The revision.
        revision: u64,
        /// The nodes that refuse it, by their reasons.
        refusals: Vec<Refusal>,
    },
    /// Too few nodes are ready to run a revision. It stays registered and is not active.
    #[error("revision {revision} was not activated: {reason}")]
    NotReady {
        /// The revision.
        revision: u64,
        /// Which nodes did not report in time.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// What the operating system reported.
        reason: String,
    },
}

impl Error {
    /// The error of a failed connection with these options, with what to do about it.
    pub(crate) fn connect(options: &ClusterOptions, error: &ConnectError) -> Self {
        let text = error.to_string();
        let is_tls =
            ["certificate", "Certificate", "tls", "TLS"].iter().any(|word| text.contains(word));
        let reason = match error.kind() {
            ConnectErrorKind::AuthorizationViolation => return Self::refused_credentials(options),
            ConnectErrorKind::Authentication => {
                "the credentials cannot be used; the seed of an nkey of a user starts with `SU`"
                    .to_owned()
            }
            ConnectErrorKind::ServerParse => {
                format!("{text}; an address is such as `nats://127.0.0.1:4222`")
            }
            ConnectErrorKind::Tls => tls(&text),
            _ if is_tls => tls(&text),
            ConnectErrorKind::TimedOut => format!("{text}; is a NATS server running there?"),
            ConnectErrorKind::Io => format!("{text}; is a NATS server running there?"),
            _ => text,
        };
        Self::Connect { servers: options.reported_servers(), reason }
    }

    /// The error of a server that refuses the credentials in these options.
    pub(crate) fn refused_credentials(options: &ClusterOptions) -> Self {
        let has_none = options.effective_credentials() == Credentials::None;
        let reason = if has_none && options.certificate.is_none() {
            "the server requires credentials, and none were passed; pass the seed of an nkey with `--cluster-nkey`, a credentials file with \
             `--cluster-credentials`, or a token with `--cluster-token`"
        } else {
            "the server refused the credentials; compare the token, the password or the nkey with its configuration"
        };
        Self::Connect { servers: options.reported_servers(), reason: reason.to_owned() }
    }
}

fn tls(text: &str) -> String {
    format!(
        "TLS failed: {text}; pass the certificate of the server's authority with `--cluster-ca`, and one of this process with \
         `--cluster-certificate` if the server requires one"
    )
}

fn revision(number: Option<u64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| format!("revision {number}"))
}

/// Nodes that refuse a revision for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Their names, sorted.
    pub nodes: Vec<String>,
    /// The reasons: `line N: ` of the manifest if it is known, a message, and the code of the error in parentheses.
    pub problems: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nodes.as_slice() {
            [node] => write!(f, "node {node} refuses it: ")?,
            nodes => write!(f, "nodes {} refuse it: ", nodes.join(", "))?,
        }
        f.write_str(&self.problems.join("; "))
    }
}

fn refused(revision: u64, refusals: &[Refusal]) -> String {
    let lines =
        refusals.iter().map(|refusal| format!("revision {revision} was not activated: {refusal}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn problems(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("\n")
}
