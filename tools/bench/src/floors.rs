//! What the same work costs without wpc: bare Wasmtime, with copies into a guest and out of
//! it, and a bare pair of channels.

use crossbeam_channel::{Receiver, Sender, bounded};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store, TypedFunc,
};

/// Pooled, keeps as much of a slot resident, and every guest can be interrupted: as wpc's engine in all that a call
/// or a new sandbox pays for. That one has more slots, more and larger tables in each, limits of its own on stacks
/// and on what a trap tells, refuses proposals that its contract has no place for, and makes relaxed SIMD
/// deterministic; none of the guests here comes near any of it.
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

/// A module ready to be instantiated, and an instance of it.
pub(crate) struct Bare {
    pre: InstancePre<()>,
    engine: Engine,
}

impl Bare {
    pub(crate) fn new(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        let module = Module::from_binary(engine, wasm)?;
        let mut linker = Linker::new(engine);
        // What the module imports is not called here.
        linker.define_unknown_imports_as_traps(&module)?;
        Ok(Self { pre: linker.instantiate_pre(&module)?, engine: engine.clone() })
    }

    /// A typed call of `add`, over and over in one store.
    pub(crate) fn add(
        &self,
    ) -> wasmtime::Result<impl FnMut(i32, i32) -> wasmtime::Result<i32> + use<>> {
        let mut store = store(&self.engine);
        let instance = self.pre.instantiate(&mut store)?;
        let add: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "add")?;
        Ok(move |a, b| add.call(&mut store, (a, b)))
    }

    /// A new instance, with its store, and their end.
    pub(crate) fn fresh(&self) -> wasmtime::Result<()> {
        self.pre.instantiate(store(&self.engine))?;
        Ok(())
    }

    /// A new instance, and one typed call of `add` in it.
    pub(crate) fn fresh_add(&self, a: i32, b: i32) -> wasmtime::Result<i32> {
        let mut store = store(&self.engine);
        let instance = self.pre.instantiate(&mut store)?;
        let add: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "add")?;
        add.call(&mut store, (a, b))
    }

    /// Bytes into the guest's buffer, one call that hands the buffer back, and bytes out.
    pub(crate) fn echo(
        &self,
        len: usize,
    ) -> wasmtime::Result<impl FnMut(&[u8]) -> wasmtime::Result<Vec<u8>> + use<>> {
        let mut store = store(&self.engine);
        let instance = self.pre.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::format_err!("it has no memory"))?;
        let buffer: TypedFunc<u32, u32> = instance.get_typed_func(&mut store, "wpc_buffer_v1")?;
        let hand_back: TypedFunc<(u32, u32), u64> =
            instance.get_typed_func(&mut store, "hand_back")?;
        let buffer = buffer.call(&mut store, u32::try_from(len)?)?;
        Ok(move |bytes: &[u8]| {
            let at = buffer as usize;
            memory.data_mut(&mut store)[at..][..bytes.len()].copy_from_slice(bytes);
            let place = hand_back.call(&mut store, (buffer, u32::try_from(bytes.len())?))?;
            let (ptr, len) = ((place >> 32) as usize, (place & 0xffff_ffff) as usize);
            Ok(memory.data(&store)[ptr..][..len].to_vec())
        })
    }
}

/// A thread that hands back what it is sent, through bare channels.
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
