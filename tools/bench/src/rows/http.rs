//! Calls over HTTP against a handler of the same framework that parses and returns the same JSON.

use crate::guests::Guests;
use crate::http::{Contestant, Load, Request, Serving};
use crate::row::{Goal, Row, against};
use crate::sampling::{Samples, by_turns};
use crate::unit::Unit;
use anyhow::Result;
use std::time::Duration;

/// How many connections are open. Each has one request outstanding.
const CONNECTIONS: usize = 64;

/// Both servers with the connections to them. The servers end after their connections.
struct Pair {
    ours: Load,
    baseline: Load,
    _servers: [Serving; 2],
}

impl Pair {
    fn start(connections: usize) -> Result<Self> {
        let servers = [Serving::start(Contestant::Wpc)?, Serving::start(Contestant::Bare)?];
        let load = |server: &Serving| Load::connect(server.address, connections);
        Ok(Self { ours: load(&servers[0])?, baseline: load(&servers[1])?, _servers: servers })
    }
}

fn add() -> Request {
    Request::post("/v1/functions/add/call", "[40,2]")
}

/// The time of a call with JSON.
pub(super) fn json_call(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let Pair { mut ours, mut baseline, _servers } = Pair::start(CONNECTIONS)?;
    let request = add();
    let mut ours = || Ok(ours.run(&request, 20)?.0);
    let mut baseline = || Ok(baseline.run(&request, 20)?.0);
    let name = "HTTP: a JSON call, 64 connections";
    against(name, 1.0 / 0.75, &mut ours, &mut baseline, tick)
}

/// The latency that 99 of 100 calls do not exceed.
pub(super) fn json_call_p99(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let Pair { mut ours, mut baseline, _servers } = Pair::start(CONNECTIONS)?;
    let request = add();
    let p99 = |load: &mut Load| {
        let (_, latencies) = load.run(&request, 100)?;
        Ok(Duration::from_secs_f64(Samples::of(latencies).quantile(0.99) / 1e9))
    };
    let (ours, baseline) = by_turns(20, &mut || p99(&mut ours), &mut || p99(&mut baseline), tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(1.5));
    Ok(Row { name: "the same, p99 of the calls", unit, ours, baseline: Some(baseline), goal })
}

/// A mebibyte in each direction, as a JSON string.
pub(super) fn json_1m(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let Pair { mut ours, mut baseline, _servers } = Pair::start(1)?;
    let half = "x".repeat(1 << 19);
    let body = format!("[\"{half}\",\"{half}\"]");
    let request = Request::post("/v1/functions/join/call", &body);
    let mut ours = || Ok(ours.run(&request, 4)?.0);
    let mut baseline = || Ok(baseline.run(&request, 4)?.0);
    let name = "HTTP: a JSON call with 1 MiB each way";
    against(name, 1.0 / 0.7, &mut ours, &mut baseline, tick)
}

/// The resident memory of a server that has answered one call.
pub(super) fn idle(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let mut samples = Vec::new();
    for _ in 0..5 {
        let server = Serving::start(Contestant::Wpc)?;
        Load::connect(server.address, 1)?.run(&add(), 1)?;
        samples.push(crate::process::resident_of(server.id())? / (1024.0 * 1024.0));
        tick();
    }
    let (unit, goal) = (Unit::Megabytes, Goal::Absolute(35.0));
    let ours = Samples::of(samples);
    Ok(Row { name: "HTTP: resident memory of an idle server", unit, ours, baseline: None, goal })
}
