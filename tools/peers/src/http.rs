//! JSON calls over HTTP: the time of a call with 64 connections that are kept open.

// One load generator for the benchmark and the comparison.
#[path = "../../bench/src/http/load.rs"]
#[expect(dead_code, reason = "the benchmark also uploads modules and reads answers")]
mod load;

use crate::report::{Point, Unit};
use crate::sampling::Samples;
use crate::serving::{
    AXUM, EXTISM, EXTISM_FRESH, EXTISM_LIMITED, Serving, WASMTIME, WPC, WPC_FRESH,
};
use anyhow::Result;
use load::{Load, Request};

pub(crate) const SERVERS: [&str; 7] =
    [WPC, AXUM, EXTISM, EXTISM_LIMITED, WASMTIME, WPC_FRESH, EXTISM_FRESH];

/// How many connections are open. Each has one request outstanding.
const CONNECTIONS: usize = 64;

/// How many requests a connection makes in a round.
const EACH: u32 = 20;

pub(crate) const ROUNDS: u64 = 60;

pub(crate) fn measure(
    rounds: u64,
    with_wasmtime: bool,
    mut tick: impl FnMut(),
) -> Result<Vec<Point>> {
    let servers = SERVERS.into_iter().filter(|series| *series != WASMTIME || with_wasmtime);
    let mut servers = servers
        .map(|series| {
            let serving = Serving::start(series)?;
            let load = Load::connect(serving.address, CONNECTIONS)?;
            // The server ends after the connections to it.
            Ok((series, load, serving, Vec::new()))
        })
        .collect::<Result<Vec<_>>>()?;
    let request = Request::post("/v1/functions/add/call", "[40,2]");
    // The first rounds warm up.
    const WARM_UP: u64 = 3;
    for round in 0..WARM_UP + rounds {
        for (_, load, _, samples) in &mut servers {
            let (took, _) = load.run(&request, EACH)?;
            if round >= WARM_UP {
                samples.push(took.as_secs_f64() * 1e9);
            }
        }
        tick();
    }
    Ok(servers
        .into_iter()
        .map(|(series, _, _, samples)| {
            let samples = Samples::of(samples, false);
            Point::new("http", series, CONNECTIONS, Unit::Nanoseconds, &samples)
        })
        .collect())
}
