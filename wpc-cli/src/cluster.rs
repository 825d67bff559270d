//! `wpc cluster`: checks the NATS servers of a cluster, and creates keys for them.

use crate::cluster_options::{ClusterArguments, failure};
use crate::failure::Failure;
use crate::terminal;
use crate::text::{count, escape};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wpc_cluster::{Check, CheckedRole, Level, NodeName, UserKey};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check whether NATS servers are suitable for a cluster, and which roles their user can have.
    #[command(after_help = "Examples:
  wpc cluster check --cluster nats://127.0.0.1:4222
  wpc cluster check --cluster tls://nats.example:4222 --cluster-nkey client.nk --cluster-inbox _INBOX.client --role client
  wpc cluster check --cluster tls://nats.example:4222 --cluster-nkey n1.nk --cluster-inbox _INBOX.n1 --role node --name n1

It exits with 1 if something does not work.")]
    Check(Box<CheckArguments>),
    /// Create the key of a user of the NATS servers: writes the seed to a new file, and prints the public key.
    #[command(after_help = "Example:
  wpc cluster key deployer.nk

Pass the file to the process with --cluster-nkey, and add the public key to the configuration of the NATS server. Pass the
deployers' public keys to all processes with --cluster-deployers.")]
    Key {
        /// The new file, which only you can read.
        file: PathBuf,
    },
}

#[derive(clap::Args)]
struct CheckArguments {
    /// The addresses, as with `--cluster`.
    #[arg(value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// A role that the user must be able to have. Can be repeated. By default, any one role suffices.
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Vec<Role>,
    /// With `--role node`: the name of the node, as with `wpc serve --name`.
    #[arg(long, value_name = "NODE", requires = "role")]
    name: Option<NodeName>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Calls functions, with arguments and results that fit into a message.
    Client,
    /// Also calls with larger arguments and results.
    TrustedClient,
    /// Runs functions.
    Node,
    /// Deploys and activates revisions.
    Deployer,
}

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    match &arguments.command {
        Command::Check(arguments) => check(arguments, as_json),
        Command::Key { file } => key(file, as_json),
    }
}

fn check(arguments: &CheckArguments, as_json: bool) -> Result<(), Failure> {
    let mut cluster = arguments.cluster.clone();
    if arguments.url.is_some() {
        cluster.cluster.clone_from(&arguments.url);
    }
    let cluster = cluster.required()?;
    let roles = arguments.role.iter().map(|role| match role {
        Role::Client => CheckedRole::Client,
        Role::TrustedClient => CheckedRole::TrustedClient,
        Role::Node => CheckedRole::Node(arguments.name.clone()),
        Role::Deployer => CheckedRole::Deployer,
    });
    let roles: Vec<_> = roles.collect();
    let check = cluster.run(|options| wpc_cluster::check(options, &roles))?;
    let text = if as_json {
        let json = serde_json::json!({ "fit": check.is_fit(), "findings": check.findings });
        format!("{json}\n")
    } else {
        report(&check)
    };
    terminal::print(text.as_bytes())?;
    let errors =
        check.findings.iter().filter(|finding| finding.level == Level::Error).count() as u64;
    if check.is_fit() {
        return Ok(());
    }
    Err(Failure::environment(format!("{} found; see above", count(errors, "error"))))
}

/// The findings as lines.
fn report(check: &Check) -> String {
    let mut text = String::new();
    for finding in &check.findings {
        let level = match finding.level {
            Level::Good => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            _ => "error",
        };
        text += &format!("{level:<8} {}\n", escape(&finding.text));
        if finding.level > Level::Good {
            for line in [finding.reason, &finding.remedy] {
                if !line.is_empty() {
                    text += &format!("         {}\n", escape(line));
                }
            }
        }
    }
    text
}

/// The failure of a new key whose file exists.
fn existing(file: &Path) -> Failure {
    let seed = std::fs::read_to_string(file).ok();
    let key = seed.and_then(|seed| UserKey::from_seed(&seed).ok());
    let found = key.map_or_else(
        || "is not the seed of a user".to_owned(),
        |key| format!("has the seed of the public key {}", key.public_key()),
    );
    let file = file.display();
    Failure::usage(format!("{file} exists and {found}; use it, or name a new file"))
}

fn key(file: &Path, as_json: bool) -> Result<(), Failure> {
    let key = UserKey::new().map_err(failure)?;
    let failed =
        |error: std::io::Error| Failure::environment(format!("{}: {error}", file.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => existing(file),
        _ => failed(error),
    })?;
    written.write_all(format!("{}\n", key.seed()).as_bytes()).map_err(failed)?;
    let text = if as_json {
        serde_json::json!({ "public_key": key.public_key() }).to_string()
    } else {
        key.public_key().to_owned()
    };
    terminal::print(format!("{text}\n").as_bytes())
}
