//! The pool under test with its definitions, the random calls and changes, and the allowed outcomes.

use anyhow::{Result, bail, ensure};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use wpc_host::{
    CallOptions, Error, Limits, LocalWorker, Options, PendingCall, StreamOptions, WasmModule,
    WorkerProcedureCall,
};

const WORKERS: usize = 4;

/// The time limit of calls that should reach it.
const SHORT: Duration = Duration::from_millis(5);

/// A definition that is repeated with increasing numbers.
struct Versions {
    /// The last number whose definition has started.
    begun: AtomicU32,
    /// The last number whose definition has completed.
    done: AtomicU32,
}

impl Versions {
    fn new() -> Self {
        Self { begun: AtomicU32::new(0), done: AtomicU32::new(0) }
    }

    fn next(&self, define: impl FnOnce(u32) -> Result<()>) -> Result<()> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        define(number)?;
        self.done.store(number, Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) struct Scene {
    wpc: WorkerProcedureCall,
    function: Versions,
    dependency: Versions,
    constant: Versions,
}

/// How a call is made.
enum Way<'a> {
    Pool,
    /// On the caller's thread.
    Here(&'a mut LocalWorker),
    /// On the pool, and cancelled at once.
    Cancelled,
}

impl Way<'_> {
    const fn cancels(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// How often each kind of call had each outcome.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<(&'static str, &'static str), u64>);

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.0.values().sum();
        writeln!(f, "{total} calls")?;
        for ((kind, outcome), count) in &self.0 {
            writeln!(f, "{count:>10}  {kind:<12} {outcome}")?;
        }
        Ok(())
    }
}

fn wat(text: &str) -> Result<WasmModule> {
    Ok(WasmModule::new(wat::parse_str(text)?))
}

fn returns(number: u32) -> Result<WasmModule> {
    wat(&format!(r#"(module (func (export "get") (result i32) i32.const {number}))"#))
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Result<Self> {
        let wpc = WorkerProcedureCall::new(
            Options::default()
                .call_timeout(Duration::from_secs(20))
                .stop_timeout(Duration::from_millis(100))
                .unresponsive_worker_grace(Duration::from_millis(20))
                .max_pending_calls_per_worker(64)
                .restart_base_delay(Duration::from_millis(1))
                .restart_max_delay(Duration::from_millis(20))
                .restart_jitter(Duration::from_millis(1))
                .restart_jitter_seed(seed)
                .circuit_breaker_cool_down(Duration::from_millis(50))
                .max_restarts_per_worker(20),
        )?;
        wpc.define_worker_dependency("dep", returns(0)?)?;
        wpc.define_worker_function("current", returns(0)?)?;
        wpc.define_worker_function("linked", wat(LINKED)?.export("get"))?;
        wpc.define_worker_constant("NUMBER", &0_i32)?;
        wpc.define_worker_function("constant", wat(CONSTANT)?)?;
        // Both functions of the module call by name; `chain` calls `nested`.
        let nested = wat(NESTED)?.grant_function("current").separate_sandboxes();
        wpc.define_worker_module(nested.grant_function("nested").grant_function("trap"))?;
        wpc.define_worker_function("items", wat(ITEMS)?)?;
        let limits = Limits::default().memory(2 << 20);
        wpc.define_worker_module(wat(MISCHIEF)?.limits(limits).grant_host_function("block"))?;
        wpc.define_host_function("block", |context, (): ()| {
            // Longer than the time limit and the grace, so that the worker is abandoned.
            while !context.should_end() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(40));
            Ok::<_, String>(())
        })?;
        let [function, dependency, constant] = [(); 3].map(|()| Versions::new());
        Ok(Self { wpc, function, dependency, constant })
    }

    pub(crate) fn start(&self) -> Result<()> {
        Ok(self.wpc.start_workers(WORKERS)?)
    }

    /// A worker for one of the callers' threads.
    pub(crate) fn local_worker(&self) -> LocalWorker {
        self.wpc.local_worker()
    }

    pub(crate) fn stop(&self) {
        self.wpc.stop_workers();
    }

    /// Instantiates every function on every worker, so that memory can be compared later.
    pub(crate) fn warm_up(&self) -> Result<()> {
        for name in ["current", "linked", "constant"] {
            for _ in 0..4 * WORKERS {
                self.wpc.call::<i32>(name, ())?;
            }
        }
        Ok(())
    }

    /// Makes a random change to the pool.
    pub(crate) fn change(&self, random: &mut SmallRng) -> Result<()> {
        let wpc = &self.wpc;
        match random.random_range(0..1000) {
            0..300 => self.function.next(|number| {
                wpc.define_worker_function("current", returns(number)?)?;
                Ok(())
            }),
            300..600 => self
                .dependency
                .next(|number| Ok(wpc.define_worker_dependency("dep", returns(number)?)?)),
            600..970 => self
                .constant
                .next(|number| Ok(wpc.define_worker_constant("NUMBER", &number.cast_signed())?)),
            970..997 => {
                wpc.revive_worker_function("trap")?;
                ensure!(wpc.get_worker_health_states().len() >= WORKERS, "a worker is missing");
                Ok(())
            }
            _ => {
                wpc.stop_workers();
                Ok(wpc.start_workers(WORKERS)?)
            }
        }
    }

    /// Makes one random call and checks its outcome.
    pub(crate) fn call(
        &self,
        random: &mut SmallRng,
        here: &mut LocalWorker,
        tally: &mut Tally,
    ) -> Result<()> {
        let way = match random.random_range(0..50) {
            0 => Way::Cancelled,
            1..10 => Way::Here(here),
            _ => Way::Pool,
        };
        match random.random_range(0..1000) {
            0..200 => self.versioned("current", &self.function, way, tally),
            200..250 => self.versioned("nested", &self.function, way, tally),
            250..300 => self.versioned("chain", &self.function, way, tally),
            300..550 => self.versioned("linked", &self.dependency, way, tally),
            550..850 => self.versioned("constant", &self.constant, way, tally),
            850..900 => self.streamed(random, way.cancels(), tally),
            900..930 => self.mischief("trap", &["trap"], way, tally),
            930..940 => self.mischief("calls_trap", &["value"], way, tally),
            940..960 => self.mischief("spin", &["timeout"], way, tally),
            960..980 => self.mischief("recurse", &["stack_overflow"], way, tally),
            980..999 => self.mischief("hoard", &["out_of_memory"], way, tally),
            _ => self.mischief("block", &["timeout"], way, tally),
        }
    }

    fn versioned(
        &self,
        kind: &'static str,
        versions: &Versions,
        way: Way<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        let (cancels, oldest) = (way.cancels(), versions.done.load(Ordering::SeqCst));
        let result = self.outcome::<i32>(kind, CallOptions::new().wait_for_capacity(), way)?;
        // A nested call may be refused or ended by a stop that its caller survives.
        let result = match result {
            Err(Error::Guest { error, .. })
                if ["NotRunning", "Stopped"].contains(&error.name.as_str()) =>
            {
                Err(Error::NotRunning)
            }
            result => result,
        };
        let newest = versions.begun.load(Ordering::SeqCst);
        if let Ok(number) = &result {
            let number = number.cast_unsigned();
            ensure!(
                (oldest..=newest).contains(&number),
                "{kind} returned {number}, but {oldest} to {newest} were current"
            );
        }
        check_outcome(kind, result.map(drop), &["value"], cancels, tally)
    }

    /// Reads some or all items of a stream, which must arrive in order, and then drops, cancels or finishes it.
    fn streamed(&self, random: &mut SmallRng, cancels: bool, tally: &mut Tally) -> Result<()> {
        const KIND: &str = "items";
        let (items, read) = (random.random_range(0..300_i64), random.random_range(0..300_usize));
        let options = StreamOptions::new()
            .call(CallOptions::new().wait_for_capacity())
            .max_waiting_items(random.random_range(1..8));
        let mut stream = match self.wpc.stream_with::<u8, i64>(KIND, (items,), &options) {
            Ok(stream) => stream,
            Err(error) => return check_outcome(KIND, Err(error), &[], cancels, tally),
        };
        if cancels {
            stream.cancel();
        }
        let mut expected = (0..items).map(|item| item.to_le_bytes()[0]);
        for item in (&mut stream).into_iter().take(read) {
            match item {
                Ok(item) => ensure!(Some(item) == expected.next(), "{item} is not the next item"),
                Err(failed) => {
                    return check_outcome(KIND, Err(failed.into()), &[], cancels, tally);
                }
            }
        }
        if random.random() {
            // The stream is dropped.
            return Ok(());
        }
        let result = stream.finish().map_err(Error::from);
        if let Ok(number) = result {
            ensure!(number == items, "{number} items were yielded, not {items}");
        }
        check_outcome(KIND, result.map(drop), &["value"], cancels, tally)
    }

    fn mischief(
        &self,
        kind: &'static str,
        outcomes: &[&str],
        way: Way<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        let cancels = way.cancels();
        let options = CallOptions::new().timeout(if kind == "spin" || kind == "block" {
            SHORT
        } else {
            20 * SHORT
        });
        let result = self.outcome::<()>(kind, options, way)?;
        // A function that keeps failing may have an open circuit breaker, or time out during its backoff.
        let outcomes = [outcomes, &["circuit_open", "timeout"]].concat();
        check_outcome(kind, result, &outcomes, cancels, tally)
    }

    fn outcome<R: for<'a> Deserialize<'a> + 'static>(
        &self,
        name: &str,
        options: CallOptions,
        way: Way<'_>,
    ) -> Result<Result<R, Error>> {
        let begun = Instant::now();
        let submit = || self.wpc.submit_with::<R>(name, (), &options);
        let result = match way {
            Way::Pool => submit().and_then(PendingCall::wait),
            Way::Here(here) => here.call_with(name, (), &options).map(|answer| answer.value),
            Way::Cancelled => submit().and_then(|call| {
                call.cancel();
                call.wait()
            }),
        };
        if matches!(result, Err(Error::NotRunning)) {
            // Do not spin between a stop and a start.
            std::thread::sleep(Duration::from_millis(1));
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(30),
            "a call to {name} took {:?}",
            begun.elapsed()
        );
        Ok(result)
    }

    pub(crate) fn check_idle(&self) -> Result<()> {
        // A call whose host function blocks keeps its slot until its worker is abandoned.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let states = self.wpc.get_worker_health_states();
            let Some(busy) = states.iter().find(|worker| worker.pending_call_count > 0) else {
                return Ok(());
            };
            ensure!(Instant::now() < deadline, "{} has calls in flight", busy.worker_id);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Scene {
    /// Whether every sandbox is dropped, including those of abandoned threads.
    pub(crate) fn has_no_sandboxes(&self) -> bool {
        let usage = self.wpc.get_sandbox_usage();
        usage.live_instances == 0 && usage.live_memories == 0
    }
}

fn check_outcome(
    kind: &'static str,
    result: Result<(), Error>,
    outcomes: &[&str],
    cancels: bool,
    tally: &mut Tally,
) -> Result<()> {
    let outcome = result.as_ref().map_or_else(|error| error.code().as_str(), |()| "value");
    *tally.0.entry((kind, outcome)).or_default() += 1;
    // The pool may be stopped or saturated at any time.
    let always = ["not_running", "stopped", "saturated"].contains(&outcome);
    if always || outcomes.contains(&outcome) || (cancels && outcome == "cancelled") {
        return Ok(());
    }
    bail!("{kind} ended with {result:?}, which is not an allowed outcome")
}

/// Yields the lowest bytes of the numbers from 0 up to its argument, and returns the argument.
const ITEMS: &str = r#"(module
    (import "wpc" "wpc_yield" (func $yield (param i32 i32)))
    (memory (export "memory") 1)
    (func (export "items") (param $items i64) (result i64)
        (local $at i64)
        (block $end
            (loop $next
                (br_if $end (i64.ge_u (local.get $at) (local.get $items)))
                (i64.store8 (i32.const 0) (local.get $at))
                (call $yield (i32.const 0) (i32.const 1))
                (local.set $at (i64.add (local.get $at) (i64.const 1)))
                (br $next)))
        local.get $items))"#;

const LINKED: &str = r#"(module
    (import "dep" "get" (func $get (result i32)))
    (func (export "get") (result i32) call $get))"#;

/// Returns the bytes of the constant, which encode a number.
const CONSTANT: &str = r#"(module
    (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 16) "NUMBER")
    (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
    (func (export "constant") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.const 63) (i64.const 32))
            (i64.add (i64.const 1) (call $constant (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 16))))))"#;

/// Functions that call others and return their replies; `calls_trap` ignores it.
const NESTED: &str = r#"(module
    (import "wpc" "wpc_call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 16) "current")
    (data (i32.const 32) "nested")
    (data (i32.const 48) "trap")
    (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
    (func $reply (param $name i32) (param $len i32) (result i64)
        (i64.or (i64.shl (i64.const 1024) (i64.const 32))
            (call $call (local.get $name) (local.get $len) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 2048))))
    (func (export "nested") (param i32 i32) (result i64)
        (call $reply (i32.const 16) (i32.const 7)))
    (func (export "chain") (param i32 i32) (result i64)
        (call $reply (i32.const 32) (i32.const 6)))
    (func (export "calls_trap") (param i32 i32) (result i64)
        (drop (call $reply (i32.const 48) (i32.const 4)))
        (i32.store8 (i32.const 1024) (i32.const 0))
        (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 1))))"#;

const MISCHIEF: &str = r#"(module
    (import "wpc-host" "block" (func $block (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (func (export "trap") unreachable)
    (func (export "spin") (loop br 0))
    (func $recurse (export "recurse") call $recurse)
    (func (export "hoard")
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) unreachable)
    (func (export "block") (drop (call $block (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))"#;
