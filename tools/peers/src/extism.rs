//! Extism: a plug-in on the caller's thread, and its pool with threads of this program, as its users have to provide
//! them.

use crate::contestant::{
    Contestant, Load, MOST_OUTSTANDING, Work, as_bytes, check_echo, check_sum_bytes, payload, timed,
};
use anyhow::{Context as _, Result, bail, ensure};
use crossbeam_channel::{Receiver, Sender, bounded};
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, PoolBuilder, Wasm};
use std::sync::Arc;
use std::time::Duration;

/// Compiles the guest once for every plug-in. Without WASI, which the guest does not need and which slows down the
/// start of plug-ins. Without the compile cache, which only helps a later process.
pub(crate) fn compile(guest: &[u8]) -> Result<CompiledPlugin> {
    compiled(Manifest::new([Wasm::data(guest)]))
}

/// The same with a time limit for each call.
pub(crate) fn compile_limited(guest: &[u8], limit: Duration) -> Result<CompiledPlugin> {
    compiled(Manifest::new([Wasm::data(guest)]).with_timeout(limit))
}

fn compiled(manifest: Manifest) -> Result<CompiledPlugin> {
    PluginBuilder::new(manifest).with_cache_disabled().compile()
}

/// A plug-in, by default without a time limit.
pub(crate) struct Local {
    compiled: CompiledPlugin,
    plugin: Plugin,
}

impl Local {
    pub(crate) fn start(compiled: &CompiledPlugin) -> Result<Self> {
        let plugin = Plugin::new_from_compiled(compiled)?;
        Ok(Self { compiled: compiled.clone(), plugin })
    }
}

/// Reads the answer in place in the plug-in's memory, which is the cheapest way in Extism.
fn sum(plugin: &mut Plugin, number: i32) -> Result<()> {
    check_sum_bytes(number, plugin.call::<&[u8], &[u8]>("add", &as_bytes(number))?)
}

impl Contestant for Local {
    fn series(&self) -> &'static str {
        "Extism, caller's thread"
    }

    fn run(&mut self, load: Load) -> Result<Duration> {
        let Self { compiled, plugin } = self;
        match load.work {
            Work::Add => timed(|| load.numbers().try_for_each(|number| sum(plugin, number))),
            Work::Echo(len) => {
                let bytes = payload(len);
                timed(|| {
                    (0..load.calls).try_for_each(|_| {
                        check_echo(&bytes, plugin.call::<&[u8], &[u8]>("echo", &bytes)?)
                    })
                })
            }
            Work::Fresh => timed(|| {
                load.numbers()
                    .try_for_each(|number| sum(&mut Plugin::new_from_compiled(compiled)?, number))
            }),
            // Extism keeps using the trapped instance, so its user has to replace it.
            Work::AfterTrap => load
                .numbers()
                .map(|number| {
                    ensure!(
                        plugin.call::<&[u8], &[u8]>("traps", &[]).is_err(),
                        "the call should trap"
                    );
                    timed(|| {
                        *plugin = Plugin::new_from_compiled(compiled)?;
                        sum(plugin, number)
                    })
                })
                .sum(),
        }
    }
}

/// The time limit for getting a plug-in from the pool. There is one for each thread, so no thread waits.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Extism's pool with this number of plug-ins.
pub(crate) fn plugins(compiled: &CompiledPlugin, most: usize) -> Result<extism::Pool> {
    let compiled = compiled.clone();
    let pool = PoolBuilder::new()
        .with_max_instances(most)
        .build(move || Plugin::new_from_compiled(&compiled));
    // Taking all plug-ins at once creates them now.
    let plugins = (0..most).map(|_| pool.get(PLUGIN_TIMEOUT)).collect::<Result<Vec<_>>>()?;
    drop(plugins);
    Ok(pool)
}

/// The sum of two numbers by a plug-in of the pool.
pub(crate) fn add(pool: &extism::Pool, a: i32, b: i32) -> Result<i32> {
    pool.get(PLUGIN_TIMEOUT)?.context("no plug-in is free")?.call("add", numbers(a, b).as_slice())
}

/// The same by a new plug-in.
pub(crate) fn add_fresh(compiled: &CompiledPlugin, a: i32, b: i32) -> Result<i32> {
    Plugin::new_from_compiled(compiled)?.call("add", numbers(a, b).as_slice())
}

fn numbers(a: i32, b: i32) -> Vec<u8> {
    [a.to_le_bytes(), b.to_le_bytes()].concat()
}

/// Extism's pool blocks threads until a plug-in is free, so 1,000 outstanding calls would block 1,000 threads. Its user
/// therefore has as many threads as plug-ins, which take work from a channel. All answers return through one channel in
/// any order, which is cheaper than a channel for each call.
pub(crate) struct Pool {
    jobs: Sender<Job>,
    answers: Receiver<Result<Answer>>,
}

enum Job {
    Add(i32),
    /// Shared, so that sending it copies nothing.
    Echo(Arc<[u8]>),
}

enum Answer {
    Sum(i32, i32),
    Echo(Vec<u8>),
}

impl Pool {
    pub(crate) fn start(compiled: &CompiledPlugin, workers: usize) -> Result<Self> {
        let pool = plugins(compiled, workers)?;
        let (jobs, taken) = bounded::<Job>(MOST_OUTSTANDING);
        let (answered, answers) = bounded(MOST_OUTSTANDING);
        for _ in 0..workers {
            let (pool, taken, answered) = (pool.clone(), taken.clone(), answered.clone());
            #[expect(clippy::disallowed_methods, reason = "ends when the pool drops its jobs")]
            std::thread::Builder::new().spawn(move || {
                for job in taken {
                    if answered.send(answer(&pool, job)).is_err() {
                        break;
                    }
                }
            })?;
        }
        Ok(Self { jobs, answers })
    }

    fn check_next(&self, bytes: &[u8]) -> Result<()> {
        match self.answers.recv()?? {
            Answer::Sum(number, sum) => crate::contestant::check_sum(number, sum),
            Answer::Echo(back) => check_echo(bytes, &back),
        }
    }
}

fn answer(pool: &extism::Pool, job: Job) -> Result<Answer> {
    let mut plugin = pool.get(PLUGIN_TIMEOUT)?.context("no plug-in is free")?;
    Ok(match job {
        Job::Add(number) => Answer::Sum(number, plugin.call("add", as_bytes(number).as_slice())?),
        Job::Echo(bytes) => Answer::Echo(plugin.call("echo", &*bytes)?),
    })
}

impl Contestant for Pool {
    fn series(&self) -> &'static str {
        "Extism"
    }

    fn run(&mut self, load: Load) -> Result<Duration> {
        let bytes: Arc<[u8]> = match load.work {
            Work::Add => Arc::default(),
            Work::Echo(len) => payload(len).into(),
            Work::Fresh | Work::AfterTrap => bail!("Extism's pool keeps its plug-ins"),
        };
        timed(|| {
            for (sent, number) in load.numbers().enumerate() {
                if sent >= load.outstanding {
                    self.check_next(&bytes)?;
                }
                self.jobs.send(match load.work {
                    Work::Echo(_) => Job::Echo(Arc::clone(&bytes)),
                    _ => Job::Add(number),
                })?;
            }
            (0..load.outstanding.min(load.calls as usize)).try_for_each(|_| self.check_next(&bytes))
        })
    }
}
