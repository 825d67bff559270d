//! Options of a connection to a cluster.

use crate::error::Error;
use crate::names::is_token;
use crate::user_key::deployer;
use std::fmt;
use std::net::IpAddr;
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
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The addresses of NATS servers of one cluster of servers, such as `nats://127.0.0.1:4222`, or `tls://` for TLS.
    pub servers: Vec<String>,
    /// The first token of all subjects and the prefix of all buckets: 1 to 64 letters, digits, `-` and `_`. Default `wpc`.
    pub namespace: String,
    /// The credentials of this process. Default: none.
    pub credentials: Credentials,
    /// A PEM file with CA certificates that are trusted instead of those of the system. Default `None`.
    pub ca: Option<PathBuf>,
    /// The certificate and the key of this process, each a file in PEM. Default `None`.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The prefix of the subjects on which this process receives answers. Give each user its own prefix, so that the server can
    /// keep them from reading each other's answers. It must start with `_INBOX`. Default `_INBOX`.
    pub inbox: String,
    /// The public keys of the deployers. If there are any, this process ignores requests, revisions and activations that none of them
    /// signed. Pass the same ones to all processes of a cluster. A deployer signs with its nkey. Default: none, and everything
    /// is accepted.
    pub deployers: Vec<String>,
    /// How often a node sends a heartbeat with its state, and how often others expect one. The same in the whole cluster. A node
    /// without three heartbeats is lost. Between 50 ms and 10 s. Default 300 ms.
    pub heartbeat_interval: Duration,
    /// The maximum size of arguments and results in bytes that are stored as objects because they are too large for a message.
    /// Default 64 MiB.
    pub max_payload: usize,
    /// How many servers of a NATS cluster store the registry, for buckets that this process creates: 1, 3 or 5. With 3, one server can
    /// fail. Default 1.
    pub replicas: usize,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
}

/// Without the secrets.
impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("servers", &self.reported_servers())
            .field("namespace", &self.namespace)
            .field("credentials", &self.credentials)
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .field("inbox", &self.inbox)
            .field("deployers", &self.deployers)
            .field("heartbeat_interval", &self.heartbeat_interval)
            .field("max_payload", &self.max_payload)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// The credentials of a process for the NATS server.
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
            deployers: Vec::new(),
            heartbeat_interval: Duration::from_millis(300),
            max_payload: 64 << 20,
            replicas: 1,
            connect_timeout: Duration::from_secs(5),
        }
    }

    /// The addresses as they are reported, without users and passwords.
    pub(crate) fn reported_servers(&self) -> String {
        self.addresses().join(",")
    }

    /// The addresses without users and passwords.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|server| split_credentials(server).0).collect()
    }

    /// With what to authenticate: the credentials, or those of the first address that has any.
    pub(crate) fn effective_credentials(&self) -> Credentials {
        let of_addresses = || {
            let found = self.servers.iter().find_map(|server| split_credentials(server).1)?;
            Some(match found.split_once(':') {
                Some((user, password)) => Credentials::Password(decoded(user), decoded(password)),
                None => Credentials::Token(decoded(found)),
            })
        };
        match &self.credentials {
            Credentials::None => of_addresses().unwrap_or_default(),
            credentials => credentials.clone(),
        }
    }

    /// The seed with which this process signs what it deploys: that of its nkey.
    pub(crate) fn signing_seed(&self) -> Option<String> {
        match self.effective_credentials() {
            Credentials::Nkey(seed) => Some(seed),
            Credentials::File(path) => {
                let text = std::fs::read_to_string(path).ok()?;
                text.lines().map(str::trim).find(|line| line.starts_with("SU")).map(str::to_owned)
            }
            _ => None,
        }
    }

    /// Whether the connection is encrypted although the server does not require it.
    pub(crate) fn uses_tls(&self) -> bool {
        let is_tls = |server: &String| server.starts_with("tls://");
        self.ca.is_some() || self.certificate.is_some() || self.servers.iter().all(is_tls)
    }

    /// Refuses a server on another machine without credentials: any process that can reach that server could call, deploy and answer calls.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] with the address.
    pub fn require_credentials(&self) -> Result<(), Error> {
        let is_anonymous =
            self.effective_credentials() == Credentials::None && self.certificate.is_none();
        match self.addresses().iter().find(|address| !is_loopback(address)) {
            Some(address) if is_anonymous => Err(Error::Options(format!(
                "the NATS server {address} is on another machine, and no credentials are passed for it: every machine that reaches \
                 it could call, deploy and answer; pass the seed of an nkey, a token or a password"
            ))),
            _ => Ok(()),
        }
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
                "invalid namespace {:?}: it must have 1 to 64 letters, digits, `-` and `_`",
                self.namespace
            ));
        }
        let is_inbox = self.inbox.starts_with("_INBOX") && self.inbox.split('.').all(is_token);
        if !is_inbox {
            return invalid(format!(
                "invalid inbox {:?}: it must start with `_INBOX` and consist of letters, digits, `-`, `_` and `.`",
                self.inbox
            ));
        }
        for key in &self.deployers {
            deployer(key)?;
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return invalid(format!(
                "invalid number of replicas {}: it must be 1, 3 or 5",
                self.replicas
            ));
        }
        let interval = Duration::from_millis(50)..=Duration::from_secs(10);
        if !interval.contains(&self.heartbeat_interval) {
            return invalid(format!(
                "invalid heartbeat interval {:?}: it must be between 50 ms and 10 s",
                self.heartbeat_interval
            ));
        }
        Ok(())
    }
}

/// Splits an address into the address without credentials, and the credentials, if it has any.
fn split_credentials(server: &str) -> (String, Option<&str>) {
    let (scheme, rest) = match server.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), server),
    };
    match rest.rsplit_once('@') {
        Some((user, address)) => (scheme + address, Some(user)),
        None => (scheme + rest, None),
    }
}

/// Whether an address without a user is on this machine.
pub(crate) fn is_loopback(address: &str) -> bool {
    let address = address.split_once("://").map_or(address, |(_, address)| address);
    let host = match address.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => address.split([':', '/']).next(),
    };
    let host = host.unwrap_or_default();
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The text of a part of an address, whose special characters are written as `%` and two digits.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut index) = (Vec::with_capacity(bytes.len()), 0);
    while index < bytes.len() {
        let digits = text.get(index + 1..index + 3).filter(|_| bytes[index] == b'%');
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[index]));
        index += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
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
        let changes: [(&str, Change); 7] = [
            ("address", |options| options.servers.push(String::new())),
            ("namespace", |options| options.namespace = "a.b".to_owned()),
            ("inbox", |options| options.inbox = "wpc.v1.beat".to_owned()),
            ("inbox", |options| options.inbox = "_INBOX.>".to_owned()),
            ("deployer", |options| options.deployers.push("ada".to_owned())),
            ("replicas", |options| options.replicas = 2),
            ("interval", |options| options.heartbeat_interval = Duration::ZERO),
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
        for server in ["nats://ada:secret@127.0.0.1:4222", "nats://secret@127.0.0.1:4222"] {
            let mut options = ClusterOptions::new(server);
            options.credentials = Credentials::Token("secret".to_owned());
            assert_eq!(options.reported_servers(), "nats://127.0.0.1:4222");
            assert!(!format!("{options:?}").contains("secret"));
        }
        for credentials in [
            Credentials::Password("ada".to_owned(), "secret".to_owned()),
            Credentials::Nkey("secret".to_owned()),
            Credentials::File("secret".into()),
        ] {
            assert!(!format!("{credentials:?}").contains("secret"));
        }
    }

    #[test]
    fn an_address_can_have_a_user_with_a_password_or_a_token() {
        let password = |user: &str, password: &str| {
            Credentials::Password(user.to_owned(), password.to_owned())
        };
        for (servers, expected) in [
            ("nats://127.0.0.1:4222", Credentials::None),
            ("nats://ada:secret@127.0.0.1:4222", password("ada", "secret")),
            ("127.0.0.1:4222,ada:p%40%25s%@127.0.0.1:4223", password("ada", "p@%s%")),
            ("nats://token@127.0.0.1:4222", Credentials::Token("token".to_owned())),
        ] {
            assert!(ClusterOptions::new(servers).effective_credentials() == expected, "{servers}");
        }
        let mut options = ClusterOptions::new("nats://ada:secret@127.0.0.1:4222");
        options.credentials = Credentials::Token("token".to_owned());
        assert!(options.effective_credentials() == Credentials::Token("token".to_owned()));
    }

    #[test]
    fn a_server_on_another_machine_needs_credentials() {
        for local in
            ["nats://127.0.0.1:4222", "localhost", "tls://[::1]:4222", "127.8.0.1:1,localhost:2"]
        {
            ClusterOptions::new(local).require_credentials().unwrap();
        }
        for remote in
            ["nats://10.0.0.1:4222", "nats.example", "localhost,localhost.example", "[::2]:4222"]
        {
            let mut options = ClusterOptions::new(remote);
            let error = options.require_credentials().unwrap_err().to_string();
            assert!(error.contains("no credentials"), "{error}");
            options.credentials = Credentials::Token("secret".to_owned());
            options.require_credentials().unwrap();
        }
        ClusterOptions::new("nats://ada:secret@10.0.0.1").require_credentials().unwrap();
    }
}
