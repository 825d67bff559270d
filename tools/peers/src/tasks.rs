//! Wasmtime itself: a tokio task for each call, which creates a store and calls through `call_async`.

use crate::wait::Wait;
use crate::waiting::Waiting;
use anyhow::{Result, anyhow};
use tokio::runtime::Runtime;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store,
};

pub(crate) struct Tasks {
    runtime: Runtime,
    waits: InstancePre<()>,
}

const GUEST: &str = r#"(module
    (import "host" "waits" (func $waits))
    (memory (export "memory") 1)
    (func (export "waits") (call $waits)))"#;

impl Tasks {
    /// Instances are allocated from a pool, which is what Wasmtime recommends for many.
    pub(crate) fn start(wait: &Wait, most: u32, threads: usize) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(most).total_memories(most).total_tables(most).total_stacks(most);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let waits = linked(&config, wait).map_err(|error| anyhow!("{error:?}"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_time()
            .build()?;
        Ok(Self { runtime, waits })
    }
}

fn linked(config: &Config, wait: &Wait) -> wasmtime::Result<InstancePre<()>> {
    let engine = Engine::new(config)?;
    let mut linker = Linker::new(&engine);
    let wait = wait.clone();
    linker.func_wrap_async("host", "waits", move |_, (): ()| {
        let wait = wait.clone();
        Box::new(wait.ended())
    })?;
    linker.instantiate_pre(&Module::new(&engine, wat::parse_str(GUEST)?)?)
}

async fn call(waits: InstancePre<()>) -> wasmtime::Result<()> {
    let mut store = Store::new(waits.module().engine(), ());
    let instance = waits.instantiate_async(&mut store).await?;
    let function = instance.get_typed_func::<(), ()>(&mut store, "waits")?;
    function.call_async(&mut store, ()).await
}

impl Waiting for Tasks {
    fn run(&mut self, calls: u32, all_wait: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let tasks: Vec<_> =
            (0..calls).map(|_| self.runtime.spawn(call(self.waits.clone()))).collect();
        all_wait()?;
        self.runtime.block_on(async {
            for task in tasks {
                task.await?.map_err(|error| anyhow!("{error:?}"))?;
            }
            Ok(())
        })
    }
}
