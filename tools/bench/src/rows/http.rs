//! Calls over HTTP against a handler of the same framework that parses and returns the same JSON.

use super::{IDLE_SERVERS, ROLLBACKS};
use crate::guests::Guests;
use crate::http::{Contestant, Deployer, Load, Request, Serving};
use crate::process::resident_of;
use crate::row::{Goal, Row, against, within};
use crate::sampling::{Samples, by_turns};
use crate::unit::Unit;
use anyhow::{Result, anyhow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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
    let name = "HTTP: a JSON call, 64 connections that are kept open";
    against(name, 1.0 / 0.75, &mut ours, &mut baseline, tick)
}

/// The latency that 99 of 100 calls do not exceed.
pub(super) fn json_call_p99(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let Pair { mut ours, mut baseline, _servers } = Pair::start(CONNECTIONS)?;
    let request = add();
    let p99 = |load: &mut Load| p99(load, &request, 100);
    let (ours, baseline) = by_turns(20, &mut || p99(&mut ours), &mut || p99(&mut baseline), tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(1.5));
    Ok(Row { name: "the same, p99 of the calls", unit, ours, baseline: Some(baseline), goal })
}

/// The latency that 99 of 100 requests do not exceed.
fn p99(load: &mut Load, request: &Request, each: u32) -> Result<Duration> {
    let (_, latencies) = load.run(request, each)?;
    Ok(Duration::from_secs_f64(Samples::of(latencies).quantile(0.99) / 1e9))
}

/// How many times in a second a function is defined.
const DEFINITIONS: u32 = 10;

/// The same while another function is defined over HTTP, each time with a module that was never compiled. The baseline is the
/// same server without that.
pub(super) fn defining(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let server = Serving::start(Contestant::Deployed)?;
    let mut deployer = Deployer::connect(server.address, &guests.sdk)?;
    let mut version = 0;
    let mut deploy = || {
        version += 1;
        deployer.deploy(version)
    };
    deploy()?;
    let [mut busy, mut quiet] =
        [Load::connect(server.address, CONNECTIONS)?, Load::connect(server.address, CONNECTIONS)?];
    let request = add();
    // Long enough for several definitions.
    const EACH: u32 = 500;
    let mut ours = || {
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let definer = scope.spawn(|| {
                let (begun, mut defined) = (Instant::now(), 0);
                while !has_ended.load(Ordering::Acquire) {
                    deploy()?;
                    defined += 1;
                    let due = Duration::from_secs(1) * defined / DEFINITIONS;
                    thread::sleep(due.saturating_sub(begun.elapsed()));
                }
                anyhow::Ok(())
            });
            let p99 = p99(&mut busy, &request, EACH);
            has_ended.store(true, Ordering::Release);
            definer.join().map_err(|_| anyhow!("the definer panicked"))??;
            p99
        })
    };
    let mut baseline = || p99(&mut quiet, &request, EACH);
    let (ours, baseline) = by_turns(10, &mut ours, &mut baseline, tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(2.0));
    let name = "HTTP: p99 during 10 definitions per second (baseline: none)";
    Ok(Row { name, unit, ours, baseline: Some(baseline), goal })
}

/// The time from the acknowledgement of a rollback to the first answer of the code that it activates.
pub(super) fn rollback(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let server = Serving::start(Contestant::Deployed)?;
    let mut deployer = Deployer::connect(server.address, &guests.sdk)?;
    deployer.deploy(1)?;
    deployer.deploy(2)?;
    let mut client = Load::connect(server.address, 1)?;
    let request = Request::post("/v1/functions/version/call", "[]");
    let mut active = 2;
    let mut ours = || {
        deployer.roll_back()?;
        active = 3 - active;
        let begun = Instant::now();
        let wanted = active.to_string();
        while client.ask(&request)? != wanted.as_bytes() {}
        Ok(begun.elapsed())
    };
    within(
        "HTTP: first answer of the activated revision after a rollback",
        1e6,
        ROLLBACKS,
        &mut ours,
        tick,
    )
}

/// The resident memory of a server for each connection that has made a request and waits. All of them are then used again.
pub(super) fn idle_connections(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LOADS: usize = 10;
    const CONNECTIONS: usize = 1_000;
    let mut samples = Vec::new();
    for _ in 0..IDLE_SERVERS {
        let server = Serving::start(Contestant::Wpc)?;
        Load::connect(server.address, 1)?.run(&add(), 1)?;
        let before = resident_of(server.id())?;
        let mut loads = Vec::new();
        for _ in 0..LOADS {
            let mut load = Load::connect(server.address, CONNECTIONS)?;
            load.run(&add(), 1)?;
            loads.push(load);
        }
        let held = resident_of(server.id())? - before;
        for load in &mut loads {
            load.run(&add(), 1)?;
        }
        samples.push(held / (LOADS * CONNECTIONS) as f64 / 1024.0);
        tick();
    }
    let (unit, goal) = (Unit::Kilobytes, Goal::Absolute(16.0));
    let ours = Samples::of(samples);
    let name = "HTTP: resident memory for each of 10,000 idle connections";
    Ok(Row { name, unit, ours, baseline: None, goal })
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
        samples.push(resident_of(server.id())? / (1024.0 * 1024.0));
        tick();
    }
    let (unit, goal) = (Unit::Megabytes, Goal::Absolute(35.0));
    let ours = Samples::of(samples);
    Ok(Row { name: "HTTP: resident memory of an idle server", unit, ours, baseline: None, goal })
}
