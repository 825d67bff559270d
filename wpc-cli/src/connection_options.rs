//! The bounds on connections and bodies as options.

use crate::failure::Failure;
use crate::option_values;
use bytesize::ByteSize;
use clap::builder::RangedU64ValueParser;
use std::time::Duration;
use wpc_server::{ConnectionLimits, Settings};

#[derive(clap::Args)]
pub(crate) struct ConnectionOptions {
    /// Maximum number of connections at an address of the server.
    #[arg(long, value_name = "N", default_value = "16384", value_parser = at_least_one())]
    max_connections: usize,
    /// Maximum number of connections from one IP address, or from one IPv6 `/64` network. Raise it behind a proxy.
    #[arg(long, value_name = "N", default_value = "12288", value_parser = at_least_one())]
    max_connections_per_address: usize,
    /// Maximum number of requests in progress. Requests for health and metrics, and all requests at `--admin-listen`, are never
    /// refused because of it.
    #[arg(long, value_name = "N", default_value = "4096", value_parser = at_least_one())]
    max_requests: usize,
    /// Maximum size of a request's line and headers.
    #[arg(long, value_name = "SIZE", default_value = "32KiB", value_parser = option_values::size)]
    max_header_size: ByteSize,
    /// Maximum size of a call's body.
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = option_values::size)]
    max_body: ByteSize,
    /// Maximum memory of all bodies, WebSocket messages and large responses together. What does not fit is answered with 503.
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = option_values::size)]
    max_body_memory: ByteSize,
    /// How long a client may take to send a request's line and headers, and how long a TLS handshake may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = option_values::duration)]
    header_timeout: Duration,
    /// How long a connection may be open without a request. It should be longer than that of a proxy in front of the server.
    #[arg(long, value_name = "DURATION", default_value = "75s", value_parser = option_values::duration)]
    idle_timeout: Duration,
    /// How long a client may take to send a body, in addition to the time that `--min-body-rate` allows.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = option_values::duration)]
    body_timeout: Duration,
    /// Minimum rate of a body in bytes per second.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = option_values::size)]
    min_body_rate: ByteSize,
    /// How long a client may stop reading a response.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = option_values::duration)]
    write_timeout: Duration,
}

fn at_least_one() -> impl clap::builder::TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(1..)
}

/// A size in bytes of this machine.
fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

impl ConnectionOptions {
    /// The bounds on connections.
    pub(crate) fn limits(&self) -> Result<ConnectionLimits, Failure> {
        if self.max_body_memory < self.max_body {
            return Err(Failure::usage(format!(
                "`--max-body-memory {}` is less than `--max-body {}`, so a body of the latter size would never be accepted",
                self.max_body_memory, self.max_body
            )));
        }
        let mut limits = ConnectionLimits::default();
        limits.max_connections = self.max_connections;
        limits.max_connections_per_address = self.max_connections_per_address;
        limits.max_requests = self.max_requests;
        limits.max_header_size = bytes(self.max_header_size);
        limits.max_body_memory = bytes(self.max_body_memory);
        limits.header_timeout = self.header_timeout;
        limits.idle_timeout = self.idle_timeout;
        limits.body_timeout = self.body_timeout;
        limits.min_body_rate = u32::try_from(self.min_body_rate.as_u64()).unwrap_or(u32::MAX);
        limits.write_timeout = self.write_timeout;
        Ok(limits)
    }

    /// Sets the bounds on requests.
    pub(crate) fn set(&self, settings: &mut Settings) {
        settings.max_body = bytes(self.max_body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: ConnectionOptions,
    }

    fn parse(words: &[&str]) -> Result<ConnectionOptions, clap::Error> {
        let words = std::iter::once(&"wpc").chain(words);
        Command::try_parse_from(words).map(|command| command.options)
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.limits().unwrap(), ConnectionLimits::default());
        let mut settings = Settings::default();
        settings.max_body = 0;
        options.set(&mut settings);
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn each_option_sets_its_bound() {
        let options = parse(&[
            "--max-connections=1",
            "--max-connections-per-address=2",
            "--max-requests=3",
            "--max-header-size=4KiB",
            "--max-body=5B",
            "--max-body-memory=6B",
            "--header-timeout=7s",
            "--idle-timeout=8s",
            "--body-timeout=9s",
            "--min-body-rate=10B",
            "--write-timeout=11s",
        ]);
        let limits = options.unwrap().limits().unwrap();
        let numbers = [
            limits.max_connections,
            limits.max_connections_per_address,
            limits.max_requests,
            limits.max_header_size,
            limits.max_body_memory,
            limits.min_body_rate as usize,
        ];
        assert_eq!(numbers, [1, 2, 3, 4096, 6, 10]);
        let times =
            [limits.header_timeout, limits.idle_timeout, limits.body_timeout, limits.write_timeout];
        assert_eq!(times.map(|time| time.as_secs()), [7, 8, 9, 11]);
    }

    #[test]
    fn bounds_with_which_no_request_is_accepted_are_rejected() {
        assert!(parse(&["--max-connections=0"]).is_err());
        assert!(parse(&["--max-requests=0"]).is_err());
        let options = parse(&["--max-body=2MiB", "--max-body-memory=1MiB"]).unwrap();
        let Err(failure) = options.limits() else { panic!("it is accepted") };
        assert!(format!("{failure:?}").contains("--max-body 2"), "{failure:?}");
    }
}
