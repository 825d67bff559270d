//! `wpc logs`: the events of a server, as `wpc serve` writes them.

use crate::client::ServerOptions;
use crate::event_log::{self, Level};
use crate::failure::Failure;
use crate::terminal;
use crate::text::count;
use std::io::{BufRead as _, BufReader, Read as _};
use wpc_host::WorkerEvent;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: ServerOptions,
    /// Continue to print events as they occur, until the server stops.
    #[arg(short, long)]
    follow: bool,
    /// Minimum severity of the events and log lines that are printed.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    log_level: Level,
}

pub(crate) const HELP: &str = "\
Examples:
  wpc logs --server http://127.0.0.1:7071
  wpc logs -f --log-level debug

Without --follow, the last events that the server keeps are printed.";

/// The longest line of the stream: an event with the longest log line of a guest.
const MAX_LINE: u64 = 1 << 20;

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let client = arguments.server.required()?;
    let path = if arguments.follow { "/v1/events?follow=true" } else { "/v1/events" };
    let mut response = client.send(client.request("GET", path), ())?;
    let mut stream = BufReader::new(response.body_mut().with_config().reader());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = stream.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| client.unreachable(&error))? == 0 {
            return Ok(());
        }
        // Names of events, comments and empty lines are not needed: the data of an event contain
        // its name.
        let Some(data) = line.strip_prefix(b"data: ") else { continue };
        match serde_json::from_slice::<WorkerEvent>(data) {
            Ok(event) => {
                if let Some(line) = event_log::line(&event, as_json, arguments.log_level) {
                    terminal::print(format!("{line}\n").as_bytes())?;
                }
            }
            Err(_) => {
                if let Some(lost) = lost(data) {
                    let text = if as_json {
                        let fields = serde_json::json!({ "lost": lost });
                        event_log::json_notice("lagged", Level::Warn, fields)
                    } else {
                        format!("this client missed {}", count(lost, "event"))
                    };
                    terminal::print(format!("{text}\n").as_bytes())?;
                }
            }
        }
    }
}

/// The number of events that the server did not send, because this client did not read them in
/// time.
fn lost(data: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(data).ok()?.get("lost")?.as_u64()
}
