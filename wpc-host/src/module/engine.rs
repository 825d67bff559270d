//! The compiler's profiles: how modules become code, and where their instances live.
//!
//! Profiles differ in fuel and in stack: metering slows code down, so only definitions that ask for
//! it pay, and how much stack a guest has is fixed for all code of an engine. Each profile is a
//! Wasmtime engine with an instance pool of its own, made when it is first needed.
//!
//! Modules that use exceptions or `externref` need a further heap, which Wasmtime's collector frees. Wasmtime's instance
//! pool would reserve 4 GiB of address space for each such heap, as it does for a memory. The profiles with a heap
//! therefore have no pool: each of their instances is mapped when it is created, which takes longer.

use crate::definition::limits::{Limits, MAX_TABLE_ELEMENTS};
use crate::error::Error;
use crate::event::Events;
use crate::information::{CompileCacheUsage, SandboxUsage};
use crate::module::compile_cache::CompileCache;
use crate::module::metering;
use crate::options::Options;
use crate::system::os_limits;
use arc_swap::ArcSwap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::{
    Collector, Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// How a module is compiled. Any can be interrupted, at a few per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Profile {
    /// Whether it counts fuel.
    pub(crate) is_metered: bool,
    /// Whether every NaN has the same bits on every kind of processor.
    has_canonical_nans: bool,
    /// Whether its code may use exceptions and `externref`, and its sandboxes have a heap for them.
    pub(crate) has_gc_heap: bool,
    /// How much stack a guest may use, in bytes.
    pub(crate) stack: usize,
}

impl Profile {
    /// The profile that differs from this one in that it has a heap for exceptions.
    pub(crate) const fn with_gc_heap(self) -> Self {
        Self { has_gc_heap: true, ..self }
    }
}

/// How many of a guest's functions a trap tells: two screens. Deep recursion would tell thousands.
const MAX_TRAP_FRAMES: NonZeroUsize = NonZeroUsize::new(24).unwrap();

/// How many bytes of a memory and of a table stay with their pool slot when a sandbox is dropped, so
/// that the next one does not fault them in again: what a guest of the SDK touches in small calls
/// lies within. Only worth it where the kernel can tell which pages were written, else every page of
/// it is wiped each time.
const KEEP_RESIDENT: usize = 512 * 1024;

/// How much address space Wasmtime sets aside for an instance where nothing else is chosen: what a 32-bit memory can
/// become, and the guard region behind it, with which an access past the end needs no check.
const MEMORY_RESERVATION: u64 = 4 << 30;
const MEMORY_GUARD: u64 = 32 << 20;

/// How much address space is reserved for a heap of exceptions when it is created. One that outgrows it is moved, and
/// copied. A guest that throws and catches in a loop stays below: the collector runs when 64 KiB are used.
const GC_HEAP_RESERVATION: u64 = 1 << 20;

/// The guard region behind it: a page. Accesses have explicit bounds checks.
const GC_HEAP_GUARD: u64 = 64 << 10;

/// How much address space an instance outside of a pool takes: its memory, with a guard region on either side, and the
/// sandbox's heap.
pub(crate) const INSTANCE_WITHOUT_POOL: u64 =
    MEMORY_RESERVATION + 2 * MEMORY_GUARD + GC_HEAP_RESERVATION + 2 * GC_HEAP_GUARD;

/// The stack of a fiber where a guest's needs less: that of Wasmtime.
const MIN_FIBER_STACK: usize = 2 << 20;

/// How many tables a module may have; what they have together is limited by definition.
pub(crate) const MAX_TABLES: u32 = 4;

#[derive(Debug)]
pub(crate) struct Engines {
    /// Few, and read at each tick.
    made: ArcSwap<Vec<(Profile, wasmtime::Engine)>>,
    making: Mutex<()>,
    max_live_instances: u32,
    max_wasm_stack: usize,
    /// Compiled code that other processes made or will use.
    cache: Option<Arc<CompileCache>>,
    without_pool: Arc<WithoutPool>,
}

/// What lives outside of the instance pools, in sandboxes with a heap for exceptions.
#[derive(Debug, Default)]
pub(crate) struct WithoutPool {
    instances: AtomicU64,
    memories: AtomicU64,
}

/// A sandbox outside of the pools; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedSandbox {
    counts: Arc<WithoutPool>,
    instances: u64,
    memories: u64,
}

impl WithoutPool {
    pub(crate) fn count(self: &Arc<Self>, instances: u64, memories: u64) -> CountedSandbox {
        self.instances.fetch_add(instances, Ordering::Relaxed);
        self.memories.fetch_add(memories, Ordering::Relaxed);
        CountedSandbox { counts: Arc::clone(self), instances, memories }
    }
}

impl Drop for CountedSandbox {
    fn drop(&mut self) {
        self.counts.instances.fetch_sub(self.instances, Ordering::Relaxed);
        self.counts.memories.fetch_sub(self.memories, Ordering::Relaxed);
    }
}

impl Engines {
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] where the cache's folder cannot be used.
    pub(crate) fn new(options: &Options, events: Option<&Events>) -> Result<Self, Error> {
        let folder = options.compile_cache.as_deref();
        let cache = folder.map(|folder| CompileCache::open(folder, events)).transpose()?;
        Ok(Self {
            made: ArcSwap::default(),
            making: Mutex::default(),
            max_live_instances: options.max_live_instances,
            max_wasm_stack: options.max_wasm_stack,
            cache: cache.map(Arc::new),
            without_pool: Arc::default(),
        })
    }

    pub(crate) fn max_wasm_stack(&self) -> usize {
        self.max_wasm_stack
    }

    /// The profile of definitions that ask for nothing special.
    pub(crate) const fn plain(&self) -> Profile {
        Profile {
            is_metered: false,
            has_canonical_nans: false,
            has_gc_heap: false,
            stack: self.max_wasm_stack,
        }
    }

    /// The profile for these limits. Stacks are rounded up, so that there are few.
    pub(crate) fn profile(&self, limits: &Limits, has_canonical_nans: bool) -> Profile {
        let most = self.max_wasm_stack;
        let stack = limits.stack.map_or(most, |stack| stack.next_power_of_two().min(most));
        let is_metered = limits.fuel.is_some();
        Profile { is_metered, has_canonical_nans, has_gc_heap: false, stack }
    }

    /// The profile's engine.
    ///
    /// # Errors
    ///
    /// [`Error::OsLimit`] if the operating system does not allow as much as the pool of its instances takes;
    /// [`Error::InvalidOptions`] if Wasmtime refuses it for another reason.
    pub(crate) fn get(&self, profile: Profile) -> Result<wasmtime::Engine, Error> {
        let known = |made: &[(Profile, wasmtime::Engine)]| {
            made.iter().find(|(other, _)| *other == profile).map(|(_, engine)| engine.clone())
        };
        if let Some(engine) = known(&self.made.load()) {
            return Ok(engine);
        }
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = known(&self.made.load()) {
            return Ok(engine);
        }
        let what = format!(
            "an engine for a stack of {} bytes{}{} and `max_live_instances` {}, beside the pool's {} others,",
            profile.stack,
            if profile.is_metered { " with fuel" } else { "" },
            if profile.has_gc_heap { " with exceptions" } else { "" },
            self.max_live_instances,
            self.made.load().len(),
        );
        let pooled = if profile.has_gc_heap { 0 } else { self.max_live_instances };
        let instances = u64::from(pooled);
        let address_space = instances * (MEMORY_RESERVATION + MEMORY_GUARD);
        os_limits::check_engine(&what, address_space)?;
        let made = wasmtime::Engine::new(&self.config(profile)).map_err(|error| {
            // What is free may be in pieces that are too small.
            let limit = error
                .chain()
                .any(os_limits::is_out_of_memory)
                .then(|| os_limits::no_space(&what, address_space));
            limit.flatten().unwrap_or_else(|| Error::InvalidOptions {
                problems: vec![format!("{what} cannot be created: {error:#}")],
            })
        })?;
        let mut all = Vec::clone(&self.made.load());
        all.push((profile, made.clone()));
        self.made.store(all.into());
        Ok(made)
    }

    /// What the instances of all profiles hold.
    pub(crate) fn usage(&self) -> SandboxUsage {
        let mut usage = SandboxUsage {
            live_instances: self.without_pool.instances.load(Ordering::Relaxed),
            live_memories: self.without_pool.memories.load(Ordering::Relaxed),
            ..SandboxUsage::default()
        };
        let count = |found: usize| u64::try_from(found).unwrap_or(u64::MAX);
        for (_, engine) in self.made.load().iter() {
            let Some(metrics) = engine.pooling_allocator_metrics() else { continue };
            usage.live_instances += metrics.core_instances();
            usage.live_memories += count(metrics.memories());
            usage.idle_bytes += count(metrics.unused_memory_bytes_resident());
            usage.idle_bytes += count(metrics.unused_table_bytes_resident());
        }
        usage
    }

    /// What counts the sandboxes of this profile; `None` where their instances lie in a pool.
    pub(crate) fn without_pool(&self, profile: Profile) -> Option<Arc<WithoutPool>> {
        profile.has_gc_heap.then(|| Arc::clone(&self.without_pool))
    }

    /// How the compile cache fared; `None` where there is none.
    pub(crate) fn cache_usage(&self) -> Option<CompileCacheUsage> {
        self.cache.as_ref().map(|cache| cache.usage())
    }

    /// Where compiled code is kept; `None` where it is not.
    pub(crate) fn cache(&self) -> Option<Arc<CompileCache>> {
        self.cache.clone()
    }

    /// Lets every running guest look at its deadline. Only the supervisor calls this, once a tick:
    /// the epoch belongs to all sandboxes, so hitting one call with it would hit all.
    pub(crate) fn tick(&self) {
        for (_, engine) in self.made.load().iter() {
            #[expect(clippy::disallowed_methods, reason = "the one ticker")]
            engine.increment_epoch();
        }
    }

    fn config(&self, profile: Profile) -> Config {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(self.max_live_instances)
            .total_memories(self.max_live_instances)
            .total_tables(self.max_live_instances.saturating_mul(MAX_TABLES))
            .max_memories_per_module(1)
            .max_tables_per_module(MAX_TABLES)
            .table_elements(MAX_TABLE_ELEMENTS)
            // Stacks of fibers, on which nothing runs yet: each would take two memory maps.
            .total_stacks(0)
            .pagemap_scan(Enabled::Auto);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.linear_memory_keep_resident(KEEP_RESIDENT).table_keep_resident(KEEP_RESIDENT);
        }
        let mut config = Config::new();
        config
            .allocation_strategy(if profile.has_gc_heap {
                InstanceAllocationStrategy::OnDemand
            } else {
                InstanceAllocationStrategy::Pooling(pool)
            })
            // Beside fuel as well. A fuel yield interval could look at deadlines in its place, and
            // would make tight loops over memory up to 13 % faster; but it needs a fiber under each
            // call, and a small one took ten times as long with it.
            .epoch_interruption(true)
            .consume_fuel(profile.is_metered)
            .cranelift_nan_canonicalization(profile.has_canonical_nans)
            .max_wasm_stack(profile.stack)
            // Wasmtime demands that a fiber's stack holds a guest's, though there are none.
            .async_stack_size(profile.stack.max(MIN_FIBER_STACK))
            .wasm_backtrace_max_frames(Some(MAX_TRAP_FRAMES))
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            // Exceptions and `externref` are all that the heap is for: no structs, arrays and `i31`.
            .wasm_gc(false)
            .gc_support(profile.has_gc_heap)
            .wasm_exceptions(profile.has_gc_heap)
            // The contract's pointers have 32 bits, and one memory.
            .wasm_memory64(false)
            .wasm_multi_memory(false)
            // The same call gives the same bytes on every machine, but for NaNs: canonical ones made a
            // loop of nothing but sums and products take 1.7 times as long, so they are asked for.
            .relaxed_simd_deterministic(true);
        if profile.has_gc_heap {
            config
                // It frees what a guest no longer uses, in time proportional to what it still uses.
                .collector(Collector::Copying)
                .gc_heap_reservation(GC_HEAP_RESERVATION)
                .gc_heap_reservation_for_growth(GC_HEAP_RESERVATION)
                .gc_heap_guard_size(GC_HEAP_GUARD)
                .gc_heap_may_move(true);
        }
        if profile.is_metered {
            config.operator_cost(metering::operator_cost());
        }
        config
    }
}
