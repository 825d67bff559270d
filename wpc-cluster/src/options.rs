//! Options of a connection to a cluster.

use crate::error::Error;
use crate::names::is_token;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Options of a connection to a cluster.
///
/// ```
/// use wpc_cluster::{ClusterOptions, Credentials};
///
/// let mut options = ClusterOptions::new("nats://127.0.0.1:4222");
/// options.credentials = Credentials::Token("secret".to_owned());
/// assert_eq!(options.namespace, "wpc");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The addresses of NATS servers of one cluster of servers, such as `nats://127.0.0.1:4222`, or `tls://` for TLS.
    pub servers: Vec<String>,
    /// The first token of all subjects and the prefix of all buckets: 1 to 64 letters, digits, `-` and `_`. Default `wpc`.
    pub namespace: String,
    /// With what this process authenticates. Default: nothing.
    pub credentials: Credentials,
    /// A file with certificates of authorities in PEM that are trusted in addition to those of the system. Default `None`.
    pub ca: Option<PathBuf>,
    /// The certificate and the key of this process, each a file in PEM. Default `None`.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The prefix of the subjects on which this process receives answers. Give each user its own one, so that the server can
    /// keep them from reading each other's answers. It must start with `_INBOX`. Default `_INBOX`.
    pub inbox: String,
    /// How often a node reports its state, and how often others expect it. The same in the whole cluster. A node that misses
    /// three reports is lost. Between 50 ms and 10 s. Default 300 ms.
    pub report_interval: Duration,
    /// The maximum size of arguments and results in bytes that are stored as objects because they are too large for a message.
    /// Default 64 MiB.
    pub max_payload: usize,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
}

/// With what a process authenticates at the NATS server.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing. Addresses can contain a user and a password.
    #[default]
    None,
    /// A token.
    Token(String),
    /// A user and a password.
    Password(String, String),
    /// The seed of an nkey, which starts with `SU`.
    Nkey(String),
    /// A file with a JWT and the seed of its nkey.
    File(PathBuf),
}

/// Without the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(…)",
            Self::Password(..) => "Password(…)",
            Self::Nkey(_) => "Nkey(…)",
            Self::File(_) => "File(…)",
        })
    }
}

impl ClusterOptions {
    /// The default options for these addresses, separated by commas.
    #[must_use]
    pub fn new(servers: &str) -> Self {
        Self {
            servers: servers.split(',').map(|server| server.trim().to_owned()).collect(),
            namespace: "wpc".to_owned(),
            credentials: Credentials::None,
            ca: None,
            certificate: None,
            inbox: "_INBOX".to_owned(),
            report_interval: Duration::from_millis(300),
            max_payload: 64 << 20,
            connect_timeout: Duration::from_secs(5),
        }
    }

    /// The addresses as they are reported, without users and passwords.
    pub(crate) fn reported_servers(&self) -> String {
        let without = |server: &String| match (server.split_once("://"), server.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, address))) => format!("{scheme}://{address}"),
            (None, Some((_, address))) => address.to_owned(),
            _ => server.clone(),
        };
        self.servers.iter().map(without).collect::<Vec<_>>().join(",")
    }

    /// Checks every option.
    ///
    /// # Errors
    ///
    /// [`Error::Options`], which names the invalid option.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |text: String| Err(Error::Options(text));
        if self.servers.iter().any(String::is_empty) {
            return invalid(
                "an address of a NATS server is empty; pass one such as `nats://127.0.0.1:4222`"
                    .to_owned(),
            );
        }
        if !is_token(&self.namespace) {
            return invalid(format!(
                "invalid namespace {:?}: it has 1 to 64 letters, digits, `-` and `_`",
                self.namespace
            ));
        }
        let is_inbox = self.inbox.starts_with("_INBOX") && self.inbox.split('.').all(is_token);
        if !is_inbox {
            return invalid(format!(
                "invalid inbox {:?}: it starts with `_INBOX` and has letters, digits, `-`, `_` and `.`",
                self.inbox
            ));
        }
        let interval = Duration::from_millis(50)..=Duration::from_secs(10);
        if !interval.contains(&self.report_interval) {
            return invalid(format!(
                "invalid report interval {:?}: it is between 50 ms and 10 s",
                self.report_interval
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_options_are_named() {
        let valid = ClusterOptions::new("nats://127.0.0.1:4222, nats://127.0.0.1:4223");
        assert_eq!(valid.servers, ["nats://127.0.0.1:4222", "nats://127.0.0.1:4223"]);
        valid.validate().unwrap();
        type Change = fn(&mut ClusterOptions);
        let changes: [(&str, Change); 5] = [
            ("address", |options| options.servers.push(String::new())),
            ("namespace", |options| options.namespace = "a.b".to_owned()),
            ("inbox", |options| options.inbox = "wpc.v1.beat".to_owned()),
            ("inbox", |options| options.inbox = "_INBOX.>".to_owned()),
            ("interval", |options| options.report_interval = Duration::ZERO),
        ];
        for (name, change) in changes {
            let mut options = valid.clone();
            change(&mut options);
            let error = options.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut options = ClusterOptions::new("nats://ada:secret@127.0.0.1:4222");
        options.credentials = Credentials::Token("secret".to_owned());
        assert_eq!(options.reported_servers(), "nats://127.0.0.1:4222");
        assert!(!format!("{:?}", options.credentials).contains("secret"));
    }
}
