//! The failures of a run: when each happened, and the task that causes them one after another.

use super::Scene;
use super::nodes::name;
use anyhow::{Result, ensure};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wpc_host::NodeState;

/// How long the cluster may need until everything works again. Only a hang reaches it.
const HEAL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long after the end of a failure callers may still see its effects: other callers notice it later.
const AFTERMATH: Duration = Duration::from_secs(2);

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL of a node.
    Killed,
    /// SIGSTOP of a node, and SIGCONT later.
    Stopped,
    /// SIGTERM of a node.
    Drained,
    /// SIGKILL of a NATS server.
    Server,
    /// More calls than the nodes can run.
    Overload,
}

impl Fault {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "a node killed and started again",
            Self::Stopped => "a node stopped and continued",
            Self::Drained => "a node drained and started again",
            Self::Server => "a NATS server killed and started again",
            Self::Overload => "an overload",
        }
    }
}

#[derive(Debug)]
struct Interval {
    fault: Fault,
    from: Instant,
    until: Option<Instant>,
}

/// The failures so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Interval>>);

impl Faults {
    fn intervals(&self) -> MutexGuard<'_, Vec<Interval>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a failure. Returns its index.
    pub(crate) fn begin(&self, fault: Fault) -> usize {
        let mut intervals = self.intervals();
        intervals.push(Interval { fault, from: Instant::now(), until: None });
        intervals.len() - 1
    }

    pub(crate) fn end(&self, index: usize) {
        self.intervals()[index].until = Some(Instant::now());
    }

    /// Whether a failure of one of these kinds may have had effects between two moments.
    pub(crate) fn overlap(&self, kinds: &[Fault], from: Instant, to: Instant) -> bool {
        self.intervals().iter().any(|interval| {
            kinds.contains(&interval.fault)
                && interval.from <= to
                && interval.until.is_none_or(|until| until + AFTERMATH >= from)
        })
    }

    /// The failures of the last minute, as text.
    pub(crate) fn recent(&self) -> String {
        let now = Instant::now();
        let recent = |interval: &&Interval| {
            interval.until.is_none_or(|until| now - until < Duration::from_secs(60))
        };
        let line = |interval: &Interval| {
            let until = interval.until.map_or(Duration::ZERO, |until| now - until);
            format!("{}: {:.1?} to {until:.1?} ago\n", interval.fault.as_str(), now - interval.from)
        };
        self.intervals().iter().filter(recent).map(line).collect()
    }

    /// How often a kind happened.
    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.counts().get(&fault).copied().unwrap_or(0)
    }

    /// How often each kind happened.
    pub(crate) fn counts(&self) -> BTreeMap<Fault, usize> {
        let mut counts = BTreeMap::new();
        for interval in self.intervals().iter() {
            *counts.entry(interval.fault).or_default() += 1;
        }
        counts
    }
}

/// Causes failures until the run ends, each after everything works again. Each kind happens once before any happens again.
pub(crate) async fn cause(scene: Arc<Scene>, mut random: SmallRng) -> Result<()> {
    let mut kinds = Vec::new();
    while !scene.has_ended() {
        scene.pause(random.random_range(200..1500)).await;
        if kinds.is_empty() {
            kinds = vec![Fault::Killed, Fault::Stopped, Fault::Drained, Fault::Server];
            kinds.shuffle(&mut random);
        }
        let down = Duration::from_millis(random.random_range(100..2500));
        match kinds.pop() {
            Some(Fault::Killed) => kill(&scene, &mut random, down).await?,
            Some(Fault::Stopped) => stop(&scene, &mut random, down).await?,
            Some(Fault::Drained) => drain(&scene, &mut random).await?,
            _ => kill_server(&scene, &mut random, down).await?,
        }
    }
    Ok(())
}

async fn kill(scene: &Arc<Scene>, random: &mut SmallRng, down: Duration) -> Result<()> {
    let (number, at) = (scene.any_node(random), scene.faults.begin(Fault::Killed));
    scene.nodes().kill(number)?;
    tokio::time::sleep(down).await;
    restart(scene, number).await?;
    scene.faults.end(at);
    Ok(())
}

async fn stop(scene: &Arc<Scene>, random: &mut SmallRng, down: Duration) -> Result<()> {
    let (number, at) = (scene.any_node(random), scene.faults.begin(Fault::Stopped));
    scene.nodes().signal(number, Signal::STOP)?;
    tokio::time::sleep(down).await;
    scene.nodes().signal(number, Signal::CONT)?;
    healed(scene, &format!("node {} was continued", name(number))).await?;
    scene.faults.end(at);
    Ok(())
}

async fn drain(scene: &Arc<Scene>, random: &mut SmallRng) -> Result<()> {
    let (number, at) = (scene.any_node(random), scene.faults.begin(Fault::Drained));
    scene.nodes().signal(number, Signal::TERM)?;
    let waiting = Arc::clone(scene);
    tokio::task::spawn_blocking(move || waiting.nodes().wait_ended(number)).await??;
    restart(scene, number).await?;
    scene.faults.end(at);
    Ok(())
}

async fn restart(scene: &Arc<Scene>, number: usize) -> Result<()> {
    let starting = Arc::clone(scene);
    tokio::task::spawn_blocking(move || starting.nodes().restart(number)).await??;
    healed(scene, &format!("node {} was started again", name(number))).await
}

async fn kill_server(scene: &Arc<Scene>, random: &mut SmallRng, down: Duration) -> Result<()> {
    let (number, at) = {
        let mut servers = scene.servers();
        let number = random.random_range(0..servers.count());
        let at = scene.faults.begin(Fault::Server);
        servers.kill(number)?;
        (number, at)
    };
    tokio::time::sleep(down).await;
    scene.servers().restart(number)?;
    healed(scene, &format!("NATS server {number} was started again")).await?;
    // The servers may have to elect another leader of the store of large arguments.
    super::stores_payloads(scene).await?;
    scene.faults.end(at);
    Ok(())
}

/// Waits until each client is connected and knows all nodes as ready, with the revision that it knows as active.
pub(crate) async fn healed(scene: &Scene, after: &str) -> Result<()> {
    let deadline = Instant::now() + HEAL_TIMEOUT;
    loop {
        let mut found = Vec::new();
        let mut is_healed = true;
        for client in &scene.clients {
            let cluster = client.information();
            let ready = cluster.nodes.iter().filter(|node| node.state == NodeState::Ready).count();
            is_healed &= cluster.is_connected && ready == scene.node_count;
            found.push(cluster);
        }
        if is_healed {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "not all nodes were ready again {HEAL_TIMEOUT:?} after {after}: {found:#?}\n{}",
            (0..scene.node_count)
                .map(|number| scene.nodes().output(number))
                .collect::<Vec<_>>()
                .join("\n\n")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_effects_until_shortly_after_its_end() {
        let (faults, start) = (Faults::default(), Instant::now());
        let at = faults.begin(Fault::Killed);
        let later = Instant::now() + HEAL_TIMEOUT;
        assert!(faults.overlap(&[Fault::Killed], later, later), "it goes on");
        assert!(!faults.overlap(&[Fault::Server], start, later), "another kind");
        faults.end(at);
        let end = Instant::now();
        assert!(faults.overlap(&[Fault::Killed], end + AFTERMATH / 2, later));
        assert!(!faults.overlap(&[Fault::Killed], end + AFTERMATH + AFTERMATH, later));
    }
}
