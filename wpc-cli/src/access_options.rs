//! Options for who may use a server, and for how long it serves after a signal to stop.

use crate::failure::Failure;
use crate::option_values;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_server::{AccessSettings, Audit, Builder, Store, Tokens};

#[derive(clap::Args)]
pub(crate) struct AccessOptions {
    /// Require one of the tokens in this TOML file, to which `wpc token create --file` adds. It is read again at SIGHUP. With
    /// `--data`, tokens are kept there instead.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    tokens: Option<PathBuf>,
    /// Accept this name of the server in `Host`, in addition to `localhost` and IP addresses. Repeatable; `*` accepts any.
    #[arg(long, value_name = "NAME", value_parser = option_values::host)]
    allow_host: Vec<String>,
    /// Accept requests from web pages of this origin, such as `https://app.example`. Repeatable.
    #[arg(long, value_name = "ORIGIN", value_parser = option_values::origin)]
    allow_origin: Vec<String>,
    /// Serve other machines although no token is required: every client that reaches the address may do everything.
    #[arg(long)]
    insecure: bool,
    /// After a signal to stop, report for this long that the server is not ready, and still accept connections, so that a
    /// load balancer sends requests elsewhere. Example: `10s`.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = option_values::duration)]
    pub(crate) grace: Duration,
}

/// The tokens, hosts and origins that a server accepts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access {
    settings: AccessSettings,
    tokens: Option<Tokens>,
    audit: Audit,
}

impl AccessOptions {
    /// Whether unprotected addresses are accepted.
    #[cfg(feature = "cluster")]
    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// Opens the tokens and the audit log, in the data folder if there is one.
    pub(crate) fn open(&self, data: Option<(&Path, &Store)>) -> Result<Access, Failure> {
        let mut settings = AccessSettings::default();
        settings.allowed_hosts.clone_from(&self.allow_host);
        settings.allowed_origins.clone_from(&self.allow_origin);
        settings.is_insecure = self.insecure;
        let failed = |error: &dyn std::fmt::Display| Failure::environment(error.to_string());
        let tokens = match (data, &self.tokens) {
            // The command line is checked when it is parsed, but not the table [server].
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "`tokens` cannot be combined with `data`, which keeps tokens in its folder",
                ));
            }
            (Some((_, store)), None) => Some(Tokens::of_store(store.clone())),
            (None, Some(path)) => Some(Tokens::of_file(path)),
            (None, None) => None,
        };
        let tokens = tokens.transpose().map_err(|error| failed(&error))?;
        let audit = data.map(|(folder, _)| Audit::open(folder)).transpose();
        let audit = audit.map_err(|error| {
            failed(&format!("failed to open the audit log in the data folder: {error}"))
        })?;
        Ok(Access { settings, tokens, audit: audit.unwrap_or_default() })
    }
}

impl Access {
    /// Sets these rules for an application.
    pub(crate) fn apply(&self, application: Builder) -> Builder {
        let application = application.access(&self.settings).audit(self.audit.clone());
        match &self.tokens {
            Some(tokens) => application.tokens(tokens.clone()),
            None => application,
        }
    }

    /// Reads the tokens of a file again. If they are invalid, the previous ones stay active.
    pub(crate) fn reload(&self) -> Result<(), Failure> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        tokens.reload().map_err(|error| {
            let message = format!("update rejected; the previous tokens stay active: {error}");
            Failure::environment(message)
        })
    }
}
