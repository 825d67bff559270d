//! Who may use a server, and how long it serves after it was asked to stop, as options.

use std::time::Duration;
use wpc_server::AccessSettings;

#[derive(clap::Args)]
pub(crate) struct AccessOptions {
    /// Accept this name of the server in `Host`, in addition to `localhost` and IP addresses. Repeatable; `*` accepts any.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Accept requests from web pages of this origin, such as `https://app.example`. Repeatable.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Serve other machines although no token is required: whoever reaches the address may do everything.
    #[arg(long)]
    insecure: bool,
    /// After a signal to stop, report for this long that the server is not ready, and still accept connections, so that a
    /// load balancer sends requests elsewhere. Example: `10s`.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,
}

impl AccessOptions {
    pub(crate) fn settings(&self) -> AccessSettings {
        let mut settings = AccessSettings::default();
        settings.allowed_hosts.clone_from(&self.allow_host);
        settings.allowed_origins.clone_from(&self.allow_origin);
        settings.is_insecure = self.insecure;
        settings
    }
}
