//! Revisions of a manifest whose functions return their revision's number, and when each was active.

use anyhow::{Result, anyhow};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wpc_cluster::{Error, Quorum, Registry, Rollback};
use wpc_deploy::Source;
use wpc_deploy::document::Packed;
use wpc_host::Sha256Hash;

const STREAMS: &[u8] = include_bytes!("../../../../fixtures/wasm/streams.wasm");
const ECHO: &[u8] = include_bytes!("../../../../fixtures/wasm/size_echo.wasm");

/// How long nodes may take to be ready. A deployer that waits longer for a node that has failed deploys another time.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// How much later than its deadline a guest counts as late, in milliseconds: on a busy machine a thread can lose its processor
/// between the last check and the guest's first instruction.
pub(crate) const LATE_MS: u64 = 250;

const MANIFEST: &str = r#"
[functions]
plain = { file = "m.wasm", grants = ["clock"] }
pure = { file = "m.wasm", grants = ["clock"], pure = true }
spin = { file = "m.wasm", grants = ["clock"] }
trap = { file = "m.wasm", grants = ["clock"] }
numbers = { file = "streams.wasm" }
echo = { file = "echo.wasm" }
"#;

/// Functions that log their call's number when they start, and whether the deadline that their caller states has passed.
fn module(value: i32) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "start ")
        (data (i32.const 64) "late ")
        (func $hex (param $start i32) (param $number i64)
            (local $at i32) (local $digit i32)
            (local.set $at (i32.add (local.get $start) (i32.const 16)))
            (loop $next
                (local.set $at (i32.sub (local.get $at) (i32.const 1)))
                (local.set $digit (i32.wrap_i64 (i64.and (local.get $number) (i64.const 15))))
                (i32.store8 (local.get $at)
                    (i32.add (local.get $digit)
                        (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
                (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
                (br_if $next (i32.gt_u (local.get $at) (local.get $start)))))
        (func $begin (param $number i64) (param $deadline i64)
            (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 0)))
            (call $hex (i32.const 22) (local.get $number))
            (call $log (i32.const 2) (i32.const 16) (i32.const 22))
            (if (i64.gt_u
                    (i64.div_u (i64.load (i32.const 0)) (i64.const 1000000))
                    (i64.add (local.get $deadline) (i64.const {LATE_MS})))
                (then
                    (call $hex (i32.const 69) (local.get $number))
                    (call $log (i32.const 2) (i32.const 64) (i32.const 21)))))
        (func $work (param $turns i32)
            (loop $next
                (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
                (br_if $next (i32.gt_s (local.get $turns) (i32.const 0)))))
        (func (export "plain") (param i64 i64 i32) (result i32)
            (call $begin (local.get 0) (local.get 1))
            (call $work (local.get 2))
            (i32.const {value}))
        (func (export "pure") (param i64 i64 i32) (result i32)
            (call $begin (local.get 0) (local.get 1))
            (call $work (local.get 2))
            (i32.const {value}))
        (func (export "spin") (param i64 i64)
            (call $begin (local.get 0) (local.get 1))
            (loop br 0))
        (func (export "trap") (param i64 i64 i32) unreachable))"#
    )
}

/// A module with a custom section that makes it another one.
fn numbered(wasm: &[u8], value: i32) -> Vec<u8> {
    let mut other = wasm.to_vec();
    // A custom section of 9 bytes with a name of 4 bytes.
    other.extend([0, 9, 4]);
    other.extend(b"copy");
    other.extend(value.to_le_bytes());
    other
}

/// The manifest whose functions return this number, with its modules.
fn packed(value: i32) -> Result<Packed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("m.wasm"), wat::parse_str(module(value))?)?;
    std::fs::write(folder.path().join("streams.wasm"), numbered(STREAMS, value))?;
    std::fs::write(folder.path().join("echo.wasm"), numbered(ECHO, value))?;
    let path: PathBuf = folder.path().join("wpc.toml");
    let source = Source::new(path, MANIFEST.to_owned());
    let manifest = source.parse().map_err(|problem| anyhow!("{problem}"))?;
    Packed::read(&source, &manifest).map_err(|problems| anyhow!("{problems:?}"))
}

/// The activation of a revision.
#[derive(Debug)]
struct Activation {
    value: i32,
    begun: Instant,
    /// Since when another one is certainly active.
    superseded: Option<Instant>,
}

/// The deployer of the cluster, and what it activated.
#[derive(Debug)]
pub(crate) struct Revisions {
    registry: Registry,
    activations: Mutex<Vec<Activation>>,
    staged: Mutex<Vec<(Sha256Hash, i32)>>,
}

impl Revisions {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, activations: Mutex::default(), staged: Mutex::default() }
    }

    fn activations(&self) -> MutexGuard<'_, Vec<Activation>> {
        self.activations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged(&self) -> MutexGuard<'_, Vec<(Sha256Hash, i32)>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the last revision that was deployed.
    pub(crate) fn last_value(&self) -> i32 {
        self.staged().last().map_or(0, |(_, value)| *value)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Activates another revision or an earlier one. Returns the outcome, which may be a refusal because a node has failed.
    pub(crate) async fn change(&self, random: &mut SmallRng, nodes: usize) -> Result<&'static str> {
        let quorum = match random.random_range(0..3) {
            0 => Quorum::All,
            _ => Quorum::Nodes(nodes.saturating_sub(1).max(1)),
        };
        let rolls_back = random.random_range(0..5) == 0 && self.staged().len() > 1;
        let changed =
            if rolls_back { self.roll_back(quorum).await } else { self.deploy(quorum).await };
        Ok(match changed {
            Ok(()) if rolls_back => "rolled back",
            Ok(()) => "activated",
            Err(Failed::Soak(error)) => return Err(error),
            Err(Failed::Cluster(Error::NotReady { .. } | Error::Refused { .. })) => "not ready",
            Err(Failed::Cluster(Error::Conflict { .. })) => "conflict",
            Err(Failed::Cluster(Error::NothingBefore)) => "nothing before",
            Err(Failed::Cluster(Error::Registry { .. })) => "registry unavailable",
            Err(Failed::Cluster(error)) => return Err(error.into()),
        })
    }

    /// Activates another revision.
    pub(crate) async fn deploy(&self, quorum: Quorum) -> Result<(), Failed> {
        let value = i32::try_from(self.staged().len()).map_err(anyhow::Error::from)? + 1;
        let packed = packed(value)?;
        self.staged().push((Sha256Hash::of(packed.text.as_bytes()), value));
        let active = self.registry.active().await?.map(|active| active.revision);
        let revision = self.registry.stage(&packed, "soak", None).await?;
        self.activate(revision.number, value, active, quorum).await
    }

    async fn roll_back(&self, quorum: Quorum) -> Result<(), Failed> {
        let active = self.registry.active().await?.map(|active| active.revision);
        let revision = self.registry.roll_back(&Rollback::new(), "soak").await?;
        let found = self.staged().iter().find(|(hash, _)| *hash == revision.document).copied();
        let (_, value) = found.ok_or_else(|| anyhow!("{revision:?} was never staged"))?;
        self.activate(revision.number, value, active, quorum).await
    }

    async fn activate(
        &self,
        number: u64,
        value: i32,
        active: Option<u64>,
        quorum: Quorum,
    ) -> Result<(), Failed> {
        let ready = self.registry.wait_ready(number, quorum, READY_TIMEOUT).await?;
        let begun = Instant::now();
        self.activations().push(Activation { value, begun, superseded: None });
        match self.registry.activate(&ready, active, "soak").await {
            Ok(_) => {
                let (now, mut activations) = (Instant::now(), self.activations());
                if let Some((_, earlier)) = activations.split_last_mut() {
                    for earlier in earlier {
                        earlier.superseded.get_or_insert(now);
                    }
                }
                Ok(())
            }
            // It was not activated.
            Err(error @ Error::Conflict { .. }) => {
                self.activations().pop();
                Err(error.into())
            }
            // Whether it was activated is not known.
            Err(error) => Err(error.into()),
        }
    }

    /// How long before a call that was sent at `sent` and answered at `answered` the revision that returned `value` was superseded:
    /// zero if it was active meanwhile, and `None` if it was not activated before the answer.
    pub(crate) fn staleness(
        &self,
        value: i32,
        sent: Instant,
        answered: Instant,
    ) -> Option<Duration> {
        let activations = self.activations();
        let of_value = activations.iter().filter(|it| it.value == value && it.begun <= answered);
        let staleness = of_value.map(|it| {
            it.superseded
                .map_or(Duration::ZERO, |superseded| sent.saturating_duration_since(superseded))
        });
        staleness.min()
    }
}

/// Why nothing was activated.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The cluster refused or could not be reached.
    Cluster(Error),
    /// The soak itself failed.
    Soak(anyhow::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Cluster(error)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Soak(error)
    }
}

impl From<Failed> for anyhow::Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Cluster(error) => error.into(),
            Failed::Soak(error) => error,
        }
    }
}
