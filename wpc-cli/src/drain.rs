//! `wpc drain`: makes a running server refuse new calls, and accept them again.

use crate::client::{Client, ServerOptions};
use crate::failure::Failure;
use crate::option_values;
use crate::terminal;
use crate::text::count;
use serde_json::Value;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Accept calls again.
    #[arg(long, conflicts_with = "wait")]
    end: bool,
    /// Wait until the calls in progress have finished, at most for this time.
    #[arg(long, value_name = "DURATION", value_parser = option_values::duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    server: ServerOptions,
}

pub(crate) const HELP: &str = "\
Examples:
  wpc drain --wait 30s --server http://127.0.0.1:7071
  wpc drain --end --server http://127.0.0.1:7071

A draining server reports that it is not ready, answers new calls with 503, and finishes the calls in progress. The command
needs the scope `deploy`, with `--wait` also `observe`. A server that is started again is not draining.

A node of a cluster is drained at its own address with --server. Other processes then call other nodes.";

/// The time between two requests that check whether the calls have finished.
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let client = arguments.server.required()?;
    let method = if arguments.end { "DELETE" } else { "POST" };
    let mut state = client.json(method, "/v1/drain", None)?;
    if let Some(limit) = arguments.wait {
        state = finished(&client, state, limit)?;
    }
    let text = if as_json {
        state.to_string()
    } else if arguments.end {
        "the server accepts calls".to_owned()
    } else {
        match calls(&state) {
            0 => "the server is drained; no call is in progress".to_owned(),
            calls => format!("the server is draining; {} in progress", count(calls, "call")),
        }
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Waits for the end of the calls in progress.
fn finished(client: &Client, mut state: Value, limit: Duration) -> Result<Value, Failure> {
    let begun = Instant::now();
    while calls(&state) > 0 {
        if begun.elapsed() >= limit {
            let calls = count(calls(&state), "call");
            return Err(Failure::environment(format!(
                "{calls} did not finish within {}; the server continues to drain; run `wpc drain --end` to accept calls again",
                humantime::format_duration(limit)
            )));
        }
        std::thread::sleep(POLL);
        state = client.json("GET", "/v1/drain", None)?;
    }
    Ok(state)
}

fn calls(state: &Value) -> u64 {
    state["calls"].as_u64().unwrap_or_default()
}
