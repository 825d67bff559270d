//! The connection of a command to a cluster, as options.

use crate::failure::Failure;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wpc_cluster::{ClusterOptions, Credentials, DevelopmentServer, UserKey};

/// The environment variable of the cluster.
const CLUSTER: &str = "WPC_CLUSTER";

/// The cluster of a command.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub(crate) struct ClusterArguments {
    /// Use the cluster of the NATS servers at these addresses, separated by commas, such as `nats://127.0.0.1:4222`, or
    /// `tls://` for TLS. `dev` uses the server of this machine, and starts one if none runs.
    #[arg(long, value_name = "URL", env = CLUSTER, hide_env_values = true)]
    pub(crate) cluster: Option<String>,
    /// The token for the NATS servers. Other users of the machine may see it in the list of processes; the environment variable
    /// hides it from them.
    #[arg(long, value_name = "TOKEN", env = "WPC_CLUSTER_TOKEN", hide_env_values = true)]
    cluster_token: Option<String>,
    /// Authenticate with the seed of an nkey in this file, which `wpc cluster key` writes.
    #[arg(long, value_name = "FILE", env = "WPC_CLUSTER_NKEY", conflicts_with = "cluster_token")]
    cluster_nkey: Option<PathBuf>,
    /// Authenticate with the JWT and the seed in this credentials file.
    #[arg(long, value_name = "FILE", env = "WPC_CLUSTER_CREDENTIALS", conflicts_with_all = ["cluster_token", "cluster_nkey"])]
    cluster_credentials: Option<PathBuf>,
    /// Trust the CA certificates in this PEM file instead of those of the system, and require TLS.
    #[arg(long, value_name = "FILE", env = "WPC_CLUSTER_CA")]
    cluster_ca: Option<PathBuf>,
    /// Identify this process by the certificate in this PEM file.
    #[arg(long, value_name = "FILE", env = "WPC_CLUSTER_CERTIFICATE", requires = "cluster_key")]
    cluster_certificate: Option<PathBuf>,
    /// The key of that certificate, as a PEM file.
    #[arg(long, value_name = "FILE", env = "WPC_CLUSTER_KEY", requires = "cluster_certificate")]
    cluster_key: Option<PathBuf>,
    /// The name of the cluster, so that several clusters can share NATS servers. Default: `wpc`.
    #[arg(long, value_name = "NAME", env = "WPC_CLUSTER_NAMESPACE")]
    cluster_namespace: Option<String>,
    /// How many NATS servers store the registry, if this process creates it: 1, 3 or 5. With 3, one of them can fail. Use the same
    /// number for nodes and deployments. Default: 1.
    #[arg(long, value_name = "N", env = "WPC_CLUSTER_REPLICAS")]
    cluster_replicas: Option<usize>,
    /// The prefix of the subjects of answers, which starts with `_INBOX`. Give each user its own prefix, such as
    /// `_INBOX.client`. Default: `_INBOX`.
    #[arg(long, value_name = "PREFIX", env = "WPC_CLUSTER_INBOX")]
    cluster_inbox: Option<String>,
    /// The public keys of the deployers, separated by commas. This process then ignores revisions and activations that none of
    /// them signed. A deployer signs with `--cluster-nkey`. Pass the same keys to nodes, clients and deployers. Without them,
    /// everything in the registry is accepted.
    #[arg(long, value_name = "KEY", env = "WPC_CLUSTER_DEPLOYERS", value_delimiter = ',')]
    cluster_deployers: Vec<String>,
}

/// The cluster that the options name, and the server for development if this process started one.
pub(crate) struct Cluster {
    pub(crate) options: ClusterOptions,
    /// Ends when it is dropped.
    pub(crate) development: Option<Development>,
}

/// A server for development.
pub(crate) struct Development {
    server: DevelopmentServer,
    folder: PathBuf,
    /// Deletes the folder after the end of the server, if no other one was chosen.
    temporary: Option<TempDir>,
}

impl Development {
    /// Uses the server of this machine, or starts one that stores its data in a folder; without one, in a temporary folder of its own.
    fn start(folder: Option<&Path>) -> Result<Self, Failure> {
        let temporary = match folder {
            Some(_) => None,
            None => Some(TempDir::with_prefix("wpc-nats-").map_err(|error| {
                Failure::environment(format!(
                    "failed to create the folder of the NATS server: {error}"
                ))
            })?),
        };
        let chosen = folder.or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
        let server = DevelopmentServer::start(chosen).map_err(failure)?;
        Ok(Self { server, folder: chosen.to_owned(), temporary })
    }

    /// What was started; `None` if a server ran already.
    pub(crate) fn notice(&self) -> Option<String> {
        let end = match &self.temporary {
            Some(_) => "it ends with this process, and its data is deleted; `--data` keeps it",
            None => "it ends with this process",
        };
        let (url, folder) = (self.server.url(), self.folder.display());
        let is_own = self.server.is_own();
        is_own.then(|| format!("started a NATS server at {url} with its data in {folder}; {end}"))
    }
}

impl Cluster {
    /// Runs a command with the options of the connection. A server for development ends afterwards.
    pub(crate) fn run<F: Future>(
        self,
        command: impl FnOnce(ClusterOptions) -> F,
    ) -> Result<F::Output, Failure> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::environment(error.to_string()))?;
        let output = runtime.block_on(command(self.options));
        drop(self.development);
        Ok(output)
    }
}

/// The address that stands for the server for development.
const DEVELOPMENT: &str = "dev";

impl ClusterArguments {
    /// Whether a cluster was named.
    pub(crate) fn is_named(&self) -> bool {
        self.cluster.as_deref().is_some_and(|named| !named.is_empty())
    }

    /// Whether the environment variable names the same cluster.
    pub(crate) fn is_named_by_variable(&self) -> bool {
        self.cluster.is_some() && std::env::var(CLUSTER).ok() == self.cluster
    }

    /// The cluster, if the options name one. A server for development stores its data in `folder`, if one is given.
    pub(crate) fn cluster(&self, folder: Option<&Path>) -> Option<Result<Cluster, Failure>> {
        let named = self.cluster.as_deref().filter(|named| !named.is_empty())?;
        Some(self.named(named, folder))
    }

    /// The cluster of a command that needs one.
    pub(crate) fn required(&self) -> Result<Cluster, Failure> {
        self.cluster(None).unwrap_or_else(|| {
            let text = "no cluster is named; name one with `--cluster URL` or WPC_CLUSTER";
            Err(Failure::usage(text))
        })
    }

    fn named(&self, named: &str, folder: Option<&Path>) -> Result<Cluster, Failure> {
        let development = match named {
            DEVELOPMENT => Some(Development::start(folder)?),
            _ => None,
        };
        let url = development.as_ref().map_or(named, |development| development.server.url());
        let options = self.options(url)?;
        options.validate().map_err(failure)?;
        Ok(Cluster { options, development })
    }

    fn options(&self, url: &str) -> Result<ClusterOptions, Failure> {
        let mut options = ClusterOptions::new(url);
        options.credentials =
            match (&self.cluster_token, &self.cluster_nkey, &self.cluster_credentials) {
                (Some(token), ..) => Credentials::Token(token.clone()),
                (None, Some(file), _) => {
                    let seed = std::fs::read_to_string(file).map_err(|error| {
                        Failure::environment(format!("--cluster-nkey {}: {error}", file.display()))
                    })?;
                    let key = UserKey::from_seed(&seed).map_err(|error| {
                        Failure::usage(format!("--cluster-nkey {}: {error}", file.display()))
                    })?;
                    Credentials::Nkey(key.seed().to_owned())
                }
                (None, None, Some(file)) => Credentials::File(file.clone()),
                (None, None, None) => Credentials::None,
            };
        options.ca.clone_from(&self.cluster_ca);
        options.certificate = self.cluster_certificate.clone().zip(self.cluster_key.clone());
        if let Some(namespace) = &self.cluster_namespace {
            options.namespace.clone_from(namespace);
        }
        if let Some(replicas) = self.cluster_replicas {
            options.replicas = replicas;
        }
        if let Some(inbox) = &self.cluster_inbox {
            options.inbox.clone_from(inbox);
        }
        options.deployers.clone_from(&self.cluster_deployers);
        Ok(options)
    }
}

/// An error of a cluster as a failure of the command.
pub(crate) fn failure(error: wpc_cluster::Error) -> Failure {
    match error {
        wpc_cluster::Error::Options(text) => Failure::usage(text),
        wpc_cluster::Error::Problems(problems) => Failure::Problems(problems),
        wpc_cluster::Error::NothingBefore => Failure::NothingToRollBack(error.to_string()),
        error @ wpc_cluster::Error::Refused { .. } => Failure::Refused(error.to_string()),
        error => Failure::environment(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        cluster: ClusterArguments,
    }

    fn parsed(words: &[&str]) -> ClusterArguments {
        Command::try_parse_from(["wpc"].iter().chain(words)).unwrap().cluster
    }

    fn options(words: &[&str]) -> Result<ClusterOptions, String> {
        let found = parsed(words).required().map(|cluster| cluster.options);
        found.map_err(|failure| failure.message(crate::remedy::Interface::OPTIONS))
    }

    #[test]
    fn options_of_the_command_become_those_of_the_connection() {
        let url = ["--cluster", "nats://10.0.0.1:4222,nats://10.0.0.2:4222"];
        let words = [
            &url[..],
            &[
                "--cluster-token",
                "secret",
                "--cluster-namespace",
                "shop",
                "--cluster-inbox",
                "_INBOX.ada",
                "--cluster-replicas",
                "3",
            ],
        ]
        .concat();
        let found = options(&words).unwrap();
        assert_eq!(found.servers, ["nats://10.0.0.1:4222", "nats://10.0.0.2:4222"]);
        assert_eq!((found.namespace.as_str(), found.inbox.as_str()), ("shop", "_INBOX.ada"));
        assert_eq!(found.replicas, 3);
        assert!(found.credentials == Credentials::Token("secret".to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().join("seed");
        let key = UserKey::new().unwrap();
        std::fs::write(&seed, format!("{}\n", key.seed())).unwrap();
        let keys = format!("{0},{0}", key.public_key());
        let words = [
            &url[..],
            &[
                "--cluster-deployers",
                &keys,
                "--cluster-nkey",
                seed.to_str().unwrap(),
                "--cluster-ca",
                "ca.pem",
                "--cluster-certificate",
                "c",
                "--cluster-key",
                "k",
            ],
        ]
        .concat();
        let found = options(&words).unwrap();
        assert!(found.credentials == Credentials::Nkey(key.seed().to_owned()));
        assert_eq!(found.deployers, [key.public_key(), key.public_key()]);
        assert_eq!(found.ca.as_deref(), Some(Path::new("ca.pem")));
        assert_eq!(found.certificate, Some(("c".into(), "k".into())));
    }

    #[test]
    fn invalid_options_are_named() {
        for (words, expected) in [
            (&["--cluster", ""][..], "--cluster URL"),
            (&["--cluster", "x", "--cluster-inbox", "mine"], "inbox"),
            (&["--cluster", "x", "--cluster-namespace", "a.b"], "namespace"),
            (&["--cluster", "x", "--cluster-replicas", "2"], "replicas"),
            (&["--cluster", "x", "--cluster-deployers", "ada"], "deployer \"ada\""),
            (&["--cluster", "x", "--cluster-nkey", "missing/seed"], "missing/seed"),
        ] {
            let error = options(words).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().join("public");
        std::fs::write(&seed, UserKey::new().unwrap().public_key()).unwrap();
        let seed = seed.to_str().unwrap();
        let error = options(&["--cluster", "x", "--cluster-nkey", seed]).unwrap_err();
        assert!(error.contains(seed) && error.contains("expected the seed"), "{error}");
        let both = ["wpc", "--cluster-token", "t", "--cluster-nkey", "f"];
        assert!(Command::try_parse_from(both).is_err());
        assert!(Command::try_parse_from(["wpc", "--cluster-key", "k"]).is_err());
    }
}
