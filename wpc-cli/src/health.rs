//! `wpc health`: checks whether a server is ready.

use crate::agent;
use crate::failure::Failure;
use crate::option_values;
use crate::terminal;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server's URL, or the Unix socket `unix:PATH`. Without a path in the URL, `/readyz` is requested.
    #[arg(default_value = "http://127.0.0.1:7071", env = "WPC_SERVER")]
    url: String,
    /// The token for the server, which `?verbose` needs if the server has tokens. Other users of the machine may see it in the list
    /// of processes; the environment variable hides it from them.
    #[arg(long, value_name = "TOKEN", env = "WPC_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// With HTTPS: trust the certificates in this PEM file instead of those that the system trusts. The environment variable
    /// `WPC_CA` can name it, too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long to wait for the response.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = option_values::duration)]
    timeout: Duration,
}

pub(crate) const HELP: &str = "\
Examples:
  wpc health
  wpc health 'http://127.0.0.1:7071/readyz?verbose'

The exit code is 0 if the server is ready, and 1 otherwise, so that a container without other programs
can check itself.";

/// The maximum size of a response that is shown: a line for each of 100,000 functions.
const MAX_ANSWER: u64 = 16 << 20;

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(arguments.timeout));
    let (agent, url) = agent::agent(config, &arguments.url, arguments.ca.as_deref())?;
    let url = target(&url);
    let shown = if arguments.url.starts_with("unix:") { &arguments.url } else { &url };
    let accept = if as_json { "application/json" } else { "text/plain" };
    let failed = |error: ureq::Error| {
        let reason = agent::reason(&error);
        Failure::environment(format!("{shown} cannot be reached: {reason}"))
    };
    let mut request = agent.get(&url).header("accept", accept);
    if let Some(token) = arguments.token.as_deref().filter(|token| !token.is_empty()) {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call().map_err(failed)?;
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
    let mut text = body;
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    terminal::print(&text)?;
    if status.is_success() {
        return Ok(());
    }
    Err(Failure::environment(format!("{shown} answered {status}")))
}

/// The URL, with the path of the probe if it has no path.
fn target(url: &str) -> String {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    match url[after_scheme..].trim_end_matches('/').find(['/', '?']) {
        Some(_) => url,
        None => format!("{}/readyz", url.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_gets_the_path_of_the_probe() {
        assert_eq!(target("http://a:1"), "http://a:1/readyz");
        assert_eq!(target("http://a:1/"), "http://a:1/readyz");
        assert_eq!(target("a:1"), "http://a:1/readyz");
        assert_eq!(target("http://a:1/livez"), "http://a:1/livez");
    }
}
