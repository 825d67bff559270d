//! Nodes with more calls than they can run, and nodes of different capacity. Calls take 10 ms without occupying a processor, because
//! nodes are usually on other machines.

use super::OVERLOADS;
use crate::fleet::{Fleet, Member, echo};
use crate::guests::Guests;
use crate::row::{Goal, Row};
use crate::sampling::by_turns;
use crate::unit::Unit;
use crate::workspace;
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use wpc_cluster::Client;
use wpc_host::CallOptions;

/// How long a call takes.
const SERVICE: Duration = Duration::from_millis(10);

/// How long answers are counted.
const WINDOW: Duration = Duration::from_millis(500);

/// The time limit of the calls of an overload.
const LIMIT: Duration = Duration::from_millis(400);

/// How many times as many calls there are as the nodes can run.
const LOAD: u32 = 5;

/// The size of arguments and results in bytes.
const SIZE: usize = 1024;

/// A cluster whose nodes have this many workers, and a client.
struct Paced {
    fleet: Fleet,
    client: Client,
    workers: u32,
    _members: Vec<Member>,
}

impl Paced {
    fn start(workers: &[usize]) -> Result<Self> {
        let fleet = Fleet::start()?;
        let join =
            |(at, workers): (usize, &usize)| fleet.join_paced(&format!("n{at}"), *workers, SERVICE);
        let members = workers.iter().enumerate().map(join).collect::<Result<Vec<_>>>()?;
        let module = std::fs::read(workspace::root()?.join("fixtures/wasm/size_echo.wasm"))?;
        let manifest = "[functions.echo]\nfile = \"echo.wasm\"\n";
        let all: Vec<_> = members.iter().collect();
        fleet.deploy(manifest, &[("echo.wasm".to_owned(), module)], &all)?;
        let client = fleet.client(workers.len())?;
        let workers = u32::try_from(workers.iter().sum::<usize>())?;
        Ok(Self { fleet, client, workers, _members: members })
    }

    /// The time for each answer if as many calls as the nodes accept are always outstanding.
    fn saturated(&self) -> Result<Duration> {
        let answered = Arc::new(AtomicU32::new(0));
        self.fleet.runtime.block_on(async {
            let mut callers = JoinSet::new();
            for _ in 0..self.workers * 3 {
                let (client, answered) = (self.client.clone(), Arc::clone(&answered));
                callers.spawn(async move {
                    let options = CallOptions::new().wait_for_capacity();
                    loop {
                        ensure!(echo(&client, "echo", vec![b'x'; SIZE], &options).await?);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            self.count(&answered, callers).await
        })
    }

    /// The time for each answer at several times the load that the nodes can run.
    fn overloaded(&self) -> Result<Duration> {
        let answered = Arc::new(AtomicU32::new(0));
        self.fleet.runtime.block_on(async {
            let mut callers = JoinSet::new();
            let (client, counted) = (self.client.clone(), Arc::clone(&answered));
            let interval = SERVICE / self.workers / LOAD;
            callers.spawn(async move {
                let mut calls = JoinSet::new();
                let mut due = Instant::now();
                loop {
                    due += interval;
                    sleep_until(due).await;
                    let (client, counted) = (client.clone(), Arc::clone(&counted));
                    calls.spawn(async move {
                        let options = CallOptions::new().timeout(LIMIT);
                        // Refusals are the expected outcome of an overload.
                        let ended = echo(&client, "echo", vec![b'x'; SIZE], &options).await;
                        if matches!(ended, Ok(true)) {
                            counted.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    while calls.try_join_next().is_some() {}
                }
            });
            self.count(&answered, callers).await
        })
    }

    /// Lets the callers call for some time, and returns the time for each answer.
    async fn count(
        &self,
        answered: &AtomicU32,
        mut callers: JoinSet<Result<()>>,
    ) -> Result<Duration> {
        tokio::select! {
            () = tokio::time::sleep(WINDOW) => {}
            Some(failed) = callers.join_next() => failed??,
        }
        let answers = answered.load(Ordering::Relaxed);
        callers.shutdown().await;
        ensure!(answers > 0, "no call was answered");
        while self.client.information().nodes.iter().any(|node| node.calls_in_flight > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(WINDOW / answers)
    }
}

/// The goodput under overload as a share of the capacity, as the time for each answer.
pub(super) fn overload(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let cluster = Paced::start(&[4, 4])?;
    let (mut ours, mut baseline) = (|| cluster.overloaded(), || cluster.saturated());
    let (ours, baseline) = by_turns(OVERLOADS, &mut ours, &mut baseline, tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(1.0 / 0.8));
    let name = "NATS: time for each answer at 5 times the capacity";
    Ok(Row { name, unit, ours, baseline: Some(baseline), goal })
}

/// A node with four workers and one with one, against a node with five.
pub(super) fn uneven(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let (uneven, single) = (Paced::start(&[4, 1])?, Paced::start(&[5])?);
    let (mut ours, mut baseline) = (|| uneven.saturated(), || single.saturated());
    let (ours, baseline) = by_turns(OVERLOADS, &mut ours, &mut baseline, tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(1.0 / 0.8));
    let name = "NATS: nodes with 4 and 1 workers, against one with 5";
    Ok(Row { name, unit, ours, baseline: Some(baseline), goal })
}
