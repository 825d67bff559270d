//! The compiler's profiles: how modules become code, and where their instances live.
//!
//! Two profiles share everything but fuel: metering slows code down, so only definitions that ask
//! for it pay. Each profile is a Wasmtime engine with an instance pool of its own, made when it is
//! first needed.

use crate::config::Options;
use crate::error::Error;
use crate::limits::MAX_TABLE_ELEMENTS;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

/// How a module is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Profile {
    /// Can be interrupted, at a few per cent.
    Plain,
    /// Counts fuel as well.
    Metered,
}

impl Profile {
    pub(crate) const fn for_fuel(fuel: Option<u64>) -> Self {
        if fuel.is_some() { Self::Metered } else { Self::Plain }
    }
}

/// How many of a guest's functions a trap tells: two screens. Deep recursion would tell thousands.
const MAX_TRAP_FRAMES: NonZeroUsize = NonZeroUsize::new(24).unwrap();

/// How many bytes of a memory and of a table stay with their pool slot when a sandbox is dropped, so
/// that the next one does not fault them in again: what a guest of the SDK touches in small calls
/// lies within. Only worth it where the kernel can tell which pages were written, else every page of
/// it is wiped each time.
const KEEP_RESIDENT: usize = 512 * 1024;

#[derive(Debug)]
pub(crate) struct Engines {
    plain: OnceLock<wasmtime::Engine>,
    metered: OnceLock<wasmtime::Engine>,
    max_live_instances: u32,
    max_wasm_stack: usize,
}

impl Engines {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            plain: OnceLock::new(),
            metered: OnceLock::new(),
            max_live_instances: options.max_live_instances,
            max_wasm_stack: options.max_wasm_stack,
        }
    }

    pub(crate) fn max_wasm_stack(&self) -> usize {
        self.max_wasm_stack
    }

    /// The profile's engine.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] where the system does not give the address space for the pool.
    pub(crate) fn get(&self, profile: Profile) -> Result<&wasmtime::Engine, Error> {
        let engine = match profile {
            Profile::Plain => &self.plain,
            Profile::Metered => &self.metered,
        };
        if let Some(engine) = engine.get() {
            return Ok(engine);
        }
        let made = wasmtime::Engine::new(&self.config(profile)).map_err(|error| {
            Error::InvalidOptions {
                problems: vec![format!(
                    "no engine can be made for `max_live_instances` {}: {error:#}",
                    self.max_live_instances
                )],
            }
        })?;
        Ok(engine.get_or_init(|| made))
    }

    /// Lets every running guest look at its deadline. Only the supervisor calls this, once a tick:
    /// the epoch belongs to all sandboxes, so hitting one call with it would hit all.
    pub(crate) fn tick(&self) {
        for engine in [&self.plain, &self.metered].into_iter().filter_map(OnceLock::get) {
            #[expect(clippy::disallowed_methods, reason = "the one ticker")]
            engine.increment_epoch();
        }
    }

    fn config(&self, profile: Profile) -> Config {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(self.max_live_instances)
            .total_memories(self.max_live_instances)
            .total_tables(self.max_live_instances)
            .max_memories_per_module(1)
            .max_tables_per_module(1)
            .table_elements(MAX_TABLE_ELEMENTS)
            .pagemap_scan(Enabled::Auto);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.linear_memory_keep_resident(KEEP_RESIDENT).table_keep_resident(KEEP_RESIDENT);
        }
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            // One module's compilation, however long, must not hold up another's.
            .parallel_compilation(false)
            .epoch_interruption(true)
            .consume_fuel(profile == Profile::Metered)
            .max_wasm_stack(self.max_wasm_stack)
            .wasm_backtrace_max_frames(Some(MAX_TRAP_FRAMES))
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            // The contract's pointers have 32 bits, and one memory.
            .wasm_memory64(false)
            .wasm_multi_memory(false)
            // The same call gives the same bytes on every machine.
            .relaxed_simd_deterministic(true);
        config
    }
}
