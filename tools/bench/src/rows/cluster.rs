//! Calls over NATS against requests of the client library alone, which take the same two hops.

use crate::cluster::{Cluster, ECHO};
use crate::guests::Guests;
use crate::row::{Row, against};
use anyhow::{Result, bail};
use bytes::Bytes;
use std::time::{Duration, Instant};
use wpc_host::{Backend, CallArguments, CallOptions, ReplyFormat, ReplyValue};

/// The size of arguments and results in bytes.
const SIZE: usize = 1024;

/// How many calls are outstanding at once.
const OUTSTANDING: usize = 64;

fn text() -> Vec<u8> {
    vec![b'x'; SIZE]
}

/// A call of a client, to its end.
async fn call(cluster: &Cluster) -> Result<()> {
    let arguments = CallArguments::Bytes(text());
    let call = cluster.client.submit("echo", arguments, ReplyFormat::Bytes, &CallOptions::new())?;
    match call.await?.value {
        ReplyValue::Bytes(bytes) if bytes.len() == SIZE => Ok(()),
        other => bail!("another answer: {other:?}"),
    }
}

async fn request(cluster: &Cluster) -> Result<()> {
    let answer = cluster.bare.request(ECHO, Bytes::from(text())).await?;
    if answer.payload.len() == SIZE { Ok(()) } else { bail!("another answer") }
}

/// One after another.
pub(super) fn round_trip(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let cluster = Cluster::start()?;
    let timed = |ours: bool| {
        const CALLS: u32 = 20;
        let start = Instant::now();
        cluster.runtime.block_on(async {
            for _ in 0..CALLS {
                if ours { call(&cluster).await? } else { request(&cluster).await? }
            }
            anyhow::Ok(())
        })?;
        Ok::<Duration, anyhow::Error>(start.elapsed() / CALLS)
    };
    let name = "NATS: a call of 1 KiB, 1 outstanding";
    against(name, 1.3, &mut || timed(true), &mut || timed(false), tick)
}

/// Many at once.
pub(super) fn throughput(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let cluster = Cluster::start()?;
    let timed = |ours: bool| {
        const ROUNDS: usize = 10;
        let start = Instant::now();
        cluster.runtime.block_on(async {
            let one = async || {
                for _ in 0..ROUNDS {
                    if ours { call(&cluster).await? } else { request(&cluster).await? }
                }
                anyhow::Ok(())
            };
            let all = (0..OUTSTANDING).map(|_| one());
            futures::future::try_join_all(all).await
        })?;
        let calls = u32::try_from(ROUNDS * OUTSTANDING)?;
        Ok::<Duration, anyhow::Error>(start.elapsed() / calls)
    };
    let name = "the same, 64 outstanding, for each call";
    against(name, 1.0 / 0.7, &mut || timed(true), &mut || timed(false), tick)
}

/// A call that a node runs itself, against the same call of its pool.
pub(super) fn own_call(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let cluster = Cluster::start()?;
    let node = cluster.node.backend();
    let timed = |backend: &dyn Backend| {
        const CALLS: u32 = 200;
        let start = Instant::now();
        for _ in 0..CALLS {
            let arguments = CallArguments::Bytes(text());
            let call =
                backend.submit("echo", arguments, ReplyFormat::Bytes, &CallOptions::new())?;
            cluster.runtime.block_on(call)?;
        }
        Ok::<Duration, anyhow::Error>(start.elapsed() / CALLS)
    };
    let name = "a call that a node runs itself, against its pool";
    against(name, 1.1, &mut || timed(&*node), &mut || timed(&*cluster.pool), tick)
}
