//! Deployments to a cluster, and nodes that start again.

use super::{DEPLOYMENTS, LIMITS, STARTS_OF_NODES};
use crate::fleet::{Fleet, Member, echo, packed};
use crate::guests::{Guests, never_seen};
use crate::row::{Goal, Row, against, within};
use crate::sampling::{by_turns, in_turns, timed};
use crate::unit::Unit;
use crate::workspace;
use anyhow::{Result, anyhow, ensure};
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};
use wpc_cluster::Client;
use wpc_host::{CallOptions, Options, WasmModule, WorkerProcedureCall};

/// A module of about 2 MiB with the function `f`.
fn large() -> Result<Vec<u8>> {
    const FUNCTIONS: usize = 7_500;
    const STEPS: usize = 24;
    let mut text = "(module (func (export \"f\") (param i32) (result i32) local.get 0)".to_owned();
    for function in 0..FUNCTIONS {
        text += "(func (param i32) (result i32)";
        for step in 0..STEPS {
            let number = function * 31 + step;
            write!(
                text,
                " local.get 0 i32.const {number} i32.mul i32.const {step} i32.xor local.set 0"
            )?;
        }
        text += " local.get 0)";
    }
    text += ")";
    let wasm = wat::parse_str(text)?;
    ensure!((2 << 20..4 << 20).contains(&wasm.len()), "the module has {} bytes", wasm.len());
    Ok(wasm)
}

/// From the deployer's first request until two nodes run a module of 2 MiB that neither has compiled before, against 1.5 times the
/// time of two pools that compile it at the same moment.
pub(super) fn deploying(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let (fleet, large) = (Fleet::start()?, large()?);
    let (a, b) = (fleet.join("a")?, fleet.join("b")?);
    let mut number = 0;
    let mut next = || {
        number += 1;
        never_seen(&large, number)
    };
    let mut ours = || {
        let manifest = "[functions.f]\nfile = \"m.wasm\"\n";
        let packed = packed(manifest, &[("m.wasm".to_owned(), next())])?;
        let begun = Instant::now();
        fleet.deploy_packed(&packed, &[&a, &b])?;
        Ok(begun.elapsed())
    };
    let compiled = never_seen(&large, u64::MAX);
    let mut baseline = || {
        let begun = Instant::now();
        thread::scope(|scope| {
            let compile = || {
                let wpc = WorkerProcedureCall::new(Options::default())?;
                wpc.define_worker_function("f", WasmModule::new(compiled.as_slice()))?;
                anyhow::Ok(())
            };
            let pools = [scope.spawn(compile), scope.spawn(compile)];
            pools
                .into_iter()
                .try_for_each(|pool| pool.join().map_err(|_| anyhow!("a pool panicked"))?)
        })?;
        Ok(begun.elapsed().mul_f64(1.5))
    };
    let (ours, baseline) = by_turns(DEPLOYMENTS, &mut ours, &mut baseline, tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Above(100e6));
    let name = "NATS: 2 MiB active on 2 nodes (baseline: 1.5 x compiling)";
    Ok(Row { name, unit, ours, baseline: Some(baseline), goal })
}

/// The start of a node that has run 50 functions before, each of a module of its own.
pub(super) fn catching_up(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const FUNCTIONS: u64 = 50;
    let fleet = Fleet::start()?;
    let mut manifest = "[functions]\n".to_owned();
    let mut files = Vec::new();
    for number in 0..FUNCTIONS {
        writeln!(manifest, "f{number} = {{ file = \"{number}.wasm\", export = \"add\" }}")?;
        files.push((format!("{number}.wasm"), never_seen(&guests.sdk, number)));
    }
    let first = fleet.join("a")?;
    let active = fleet.deploy(&manifest, &files, &[&first])?;
    drop(first);
    let mut ours = || start(&fleet, active);
    within("NATS: 50 functions caught up with a warm cache", 1e9, LIMITS, &mut ours, tick)
}

/// Starts a node until it runs what is active.
fn start(fleet: &Fleet, active: u64) -> Result<Duration> {
    let begun = Instant::now();
    let member = fleet.join("a")?;
    let took = begun.elapsed();
    ensure!(member.node.revision() == Some(active), "the node runs {:?}", member.node.revision());
    Ok(took)
}

/// A cluster of one node with this many functions.
struct Many {
    fleet: Fleet,
    member: Member,
    active: u64,
}

impl Many {
    fn start(functions: usize) -> Result<Self> {
        let fleet = Fleet::start()?;
        let member = fleet.join("a")?;
        let mut manifest = "[functions]\n".to_owned();
        for number in 0..functions {
            writeln!(manifest, "f{number} = {{ file = \"echo.wasm\", export = \"echo\" }}")?;
        }
        let module = std::fs::read(workspace::root()?.join("fixtures/wasm/size_echo.wasm"))?;
        let active = fleet.deploy(&manifest, &[("echo.wasm".to_owned(), module)], &[&member])?;
        Ok(Self { fleet, member, active })
    }
}

/// The start of a node with 10,000 functions, against ten times that of one with 1,000.
pub(super) fn start_of_many(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let stopped = |functions: usize| {
        let Many { fleet, member, active } = Many::start(functions)?;
        drop(member);
        anyhow::Ok((fleet, active))
    };
    let (many, few) = (stopped(10_000)?, stopped(1_000)?);
    let mut measures = [timed(|| start(&many.0, many.1)), timed(|| Ok(start(&few.0, few.1)? * 10))];
    let samples = in_turns(STARTS_OF_NODES - 1, &mut measures, tick)?;
    let [ours, baseline] =
        samples.try_into().map_err(|_| anyhow!("two measurements have two results"))?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(1.25));
    let name = "NATS: start of a node with 10,000 functions (10 x 1,000)";
    Ok(Row { name, unit, ours, baseline: Some(baseline), goal })
}

/// A call in a cluster with 10,000 functions, against one with ten.
pub(super) fn call_of_many(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const SIZE: usize = 1024;
    let (many, few) = (Many::start(10_000)?, Many::start(10)?);
    let clients = (many.fleet.client(1)?, few.fleet.client(1)?);
    let timed = |cluster: &Many, client: &Client| {
        const CALLS: u32 = 20;
        let begun = Instant::now();
        cluster.fleet.runtime.block_on(async {
            for _ in 0..CALLS {
                let options = CallOptions::new();
                ensure!(echo(client, "f7", vec![b'x'; SIZE], &options).await?, "another answer");
            }
            Ok(())
        })?;
        Ok(begun.elapsed() / CALLS)
    };
    let mut ours = || timed(&many, &clients.0);
    let mut baseline = || timed(&few, &clients.1);
    against("NATS: a call among 10,000 functions, against 10", 1.1, &mut ours, &mut baseline, tick)
}
