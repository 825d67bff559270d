//! Baselines: the same work without wpc, with Wasmtime directly, copies into and out of a guest, and a pair of
//! channels.

use crossbeam_channel::{Receiver, Sender, bounded};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store, TypedFunc,
};

/// An engine with the settings of wpc's engine that affect the cost of a call or an instantiation: the pooling
/// allocator, the same resident part of a slot, and epoch interruption. wpc's engine has more slots, more and larger
/// tables, limits on stacks and on trap details, rejected proposals, and deterministic relaxed SIMD. None of them
/// affects these guests.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(100).total_memories(100).pagemap_scan(Enabled::Auto);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.linear_memory_keep_resident(512 * 1024).table_keep_resident(512 * 1024);
    }
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool)).epoch_interruption(true);
    Engine::new(&config)
}

fn store(engine: &Engine) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    store
}

/// A pre-instantiated module.
pub(crate) struct Bare {
    pre: InstancePre<()>,
    engine: Engine,
}

impl Bare {
    pub(crate) fn new(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        let module = Module::from_binary(engine, wasm)?;
        let mut linker = Linker::new(engine);
        // The imports of the module are not called here.
        linker.define_unknown_imports_as_traps(&module)?;
        Ok(Self { pre: linker.instantiate_pre(&module)?, engine: engine.clone() })
    }

    /// Repeated typed calls of `add` in one store.
    pub(crate) fn add(
        &self,
    ) -> wasmtime::Result<impl FnMut(i32, i32) -> wasmtime::Result<i32> + use<>> {
        let mut store = store(&self.engine);
        let instance = self.pre.instantiate(&mut store)?;
        let add: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "add")?;
        Ok(move |a, b| add.call(&mut store, (a, b)))
    }

    /// Creates and drops an instance with its store.
    pub(crate) fn fresh(&self) -> wasmtime::Result<()> {
        self.pre.instantiate(store(&self.engine))?;
        Ok(())
    }

    /// Creates an instance and makes one typed call to `add` in it.
    pub(crate) fn fresh_add(&self, a: i32, b: i32) -> wasmtime::Result<i32> {
        let mut store = store(&self.engine);
        let instance = self.pre.instantiate(&mut store)?;
        let add: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "add")?;
        add.call(&mut store, (a, b))
    }

    /// Copies bytes into the guest's buffer, makes one call that returns the buffer, and copies the bytes out.
    pub(crate) fn echo(
        &self,
        len: usize,
    ) -> wasmtime::Result<impl FnMut(&[u8]) -> wasmtime::Result<Vec<u8>> + use<>> {
        let mut store = store(&self.engine);
        let instance = self.pre.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::format_err!("the guest has no memory"))?;
        let buffer: TypedFunc<u32, u32> = instance.get_typed_func(&mut store, "wpc_buffer_v1")?;
        let hand_back: TypedFunc<(u32, u32), u64> =
            instance.get_typed_func(&mut store, "hand_back")?;
        let buffer = buffer.call(&mut store, u32::try_from(len)?)?;
        Ok(move |bytes: &[u8]| {
            let at = buffer as usize;
            memory.data_mut(&mut store)[at..][..bytes.len()].copy_from_slice(bytes);
            let packed = hand_back.call(&mut store, (buffer, u32::try_from(bytes.len())?))?;
            let (ptr, len) = ((packed >> 32) as usize, (packed & 0xffff_ffff) as usize);
            Ok(memory.data(&store)[ptr..][..len].to_vec())
        })
    }
}

/// A thread that returns what it receives, through a pair of channels.
pub(crate) struct PingPong {
    there: Sender<i32>,
    back: Receiver<i32>,
}

impl PingPong {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (there, received) = bounded(1);
        let (answers, back) = bounded(1);
        #[expect(clippy::disallowed_methods, reason = "the other side; ends with the channels")]
        std::thread::Builder::new().spawn(move || {
            while let Ok(ball) = received.recv() {
                if answers.send(ball).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { there, back })
    }

    pub(crate) fn round(&self, ball: i32) -> anyhow::Result<i32> {
        self.there.send(ball)?;
        Ok(self.back.recv()?)
    }
}
