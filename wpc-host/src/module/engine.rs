//! Compiler profiles: how modules are compiled, and where their instances are allocated.
//!
//! Each profile is a Wasmtime engine with its own instance pool, created when it is first needed. Profiles differ in
//! metering, because metered code is slower and only some definitions need it, and in stack size, which is fixed for all
//! code of an engine.
//!
//! Modules that use exceptions or `externref` need a GC heap. Wasmtime's instance pool would reserve 4 GiB of address
//! space for each such heap, as it does for a memory. The profiles with a GC heap therefore have no pool: each of their
//! instances is mapped when it is created, which takes longer.

use crate::definition::limits::{Limits, MAX_TABLE_ELEMENTS};
use crate::error::Error;
use crate::event::Events;
use crate::information::SandboxUsage;
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

/// How a module is compiled. Code of every profile can be interrupted, which costs a few per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Profile {
    /// Whether code counts fuel.
    pub(crate) is_metered: bool,
    /// Whether every NaN has the same bits on every kind of processor.
    has_canonical_nans: bool,
    /// Whether code may use exceptions and `externref`, and sandboxes have a GC heap for them.
    pub(crate) has_gc_heap: bool,
    /// Whether guests run on fibers, so that they can be suspended.
    pub(crate) has_fibers: bool,
    /// The stack size of guests, in bytes.
    pub(crate) stack: usize,
}

impl Profile {
    /// The same profile with a GC heap.
    pub(crate) const fn with_gc_heap(self) -> Self {
        Self { has_gc_heap: true, ..self }
    }

    /// The same profile with fibers.
    pub(crate) const fn with_fibers(self) -> Self {
        Self { has_fibers: true, ..self }
    }
}

/// How many frames of the guest's stack a trap lists at most. Deep recursion would list thousands.
const MAX_TRAP_FRAMES: NonZeroUsize = NonZeroUsize::new(24).unwrap();

/// How many bytes of a memory and of a table stay resident in their pool slot when a sandbox is dropped, so that the next
/// one does not fault them in again. A guest of the SDK uses less in small calls. It is enabled only if the kernel reports
/// which pages were written; otherwise all of these pages would be zeroed each time.
const KEEP_RESIDENT: usize = 512 * 1024;

/// The address space that Wasmtime reserves for a memory by default: the maximum size of a 32-bit memory, and the guard
/// region behind it, which makes bounds checks unnecessary.
const MEMORY_RESERVATION: u64 = 4 << 30;
const MEMORY_GUARD: u64 = 32 << 20;

/// The address space that is reserved for a GC heap when it is created. A heap that outgrows it is moved to another
/// address. A guest that throws and catches in a loop does not outgrow it: the collector runs when 64 KiB are used.
const GC_HEAP_RESERVATION: u64 = 1 << 20;

/// The guard region behind a GC heap: 64 KiB. Accesses have explicit bounds checks.
const GC_HEAP_GUARD: u64 = 64 << 10;

/// The address space of an instance outside of a pool: its memory with a guard region on either side, and the sandbox's
/// GC heap.
pub(crate) const INSTANCE_WITHOUT_POOL: u64 =
    MEMORY_RESERVATION + 2 * MEMORY_GUARD + GC_HEAP_RESERVATION + 2 * GC_HEAP_GUARD;

/// How much of a fiber's stack is for host functions and futures of the embedder, which run there beside the guest.
/// Untouched pages take no memory.
const HOST_STACK_OF_FIBER: usize = 1 << 20;

/// The memory maps of a fiber's stack: its pages, and the guard page below.
const MAPS_OF_FIBER: u64 = 2;

/// The maximum number of tables in a module. Limits of the definition bound their total size.
pub(crate) const MAX_TABLES: u32 = 4;

/// The size of a fiber's stack for a guest with this stack.
const fn fiber_stack(stack: usize) -> usize {
    stack + HOST_STACK_OF_FIBER
}

#[derive(Debug)]
pub(crate) struct Engines {
    /// Created engines. They are few, and each epoch tick reads them.
    created: ArcSwap<Vec<(Profile, wasmtime::Engine)>>,
    creating: Mutex<()>,
    max_live_instances: u32,
    max_wasm_stack: usize,
    /// The cache of compiled code, shared with other processes.
    cache: Option<Arc<CompileCache>>,
    without_pool: Arc<WithoutPool>,
}

/// Counts of instances and memories outside of the instance pools, in sandboxes with a GC heap.
#[derive(Debug, Default)]
pub(crate) struct WithoutPool {
    instances: AtomicU64,
    memories: AtomicU64,
}

/// A sandbox outside of the pools. It is counted until it is dropped.
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
    /// [`Error::InvalidOptions`] if the cache's folder cannot be used.
    pub(crate) fn new(options: &Options, events: Option<&Events>) -> Result<Self, Error> {
        Ok(Self {
            created: ArcSwap::default(),
            creating: Mutex::default(),
            max_live_instances: options.max_live_instances,
            max_wasm_stack: options.max_wasm_stack,
            cache: CompileCache::open(options, events)?.map(Arc::new),
            without_pool: Arc::default(),
        })
    }

    pub(crate) fn max_wasm_stack(&self) -> usize {
        self.max_wasm_stack
    }

    /// The profile of definitions without special settings.
    pub(crate) const fn plain(&self) -> Profile {
        Profile {
            is_metered: false,
            has_canonical_nans: false,
            has_gc_heap: false,
            has_fibers: false,
            stack: self.max_wasm_stack,
        }
    }

    /// The profile for these limits. Stack sizes are rounded up to powers of two, so that there are few profiles.
    pub(crate) fn profile(&self, limits: &Limits, has_canonical_nans: bool) -> Profile {
        let most = self.max_wasm_stack;
        let stack = limits.stack.map_or(most, |stack| stack.next_power_of_two().min(most));
        let is_metered = limits.fuel.is_some();
        let has_fibers = limits.time_slice.is_some();
        Profile { is_metered, has_canonical_nans, has_gc_heap: false, has_fibers, stack }
    }

    /// The profile's engine.
    ///
    /// # Errors
    ///
    /// [`Error::OsLimit`] if the operating system does not allow the address space of the instance pool;
    /// [`Error::InvalidOptions`] if Wasmtime refuses the engine for another reason.
    pub(crate) fn get(&self, profile: Profile) -> Result<wasmtime::Engine, Error> {
        let known = |created: &[(Profile, wasmtime::Engine)]| {
            created.iter().find(|(other, _)| *other == profile).map(|(_, engine)| engine.clone())
        };
        if let Some(engine) = known(&self.created.load()) {
            return Ok(engine);
        }
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = known(&self.created.load()) {
            return Ok(engine);
        }
        let what = format!(
            "an engine for a stack of {} bytes{}{}{} and `max_live_instances` {}, in addition to the pool's {} others,",
            profile.stack,
            if profile.is_metered { " with fuel" } else { "" },
            if profile.has_fibers { " with fibers" } else { "" },
            if profile.has_gc_heap { " with exceptions" } else { "" },
            self.max_live_instances,
            self.created.load().len(),
        );
        let pooled = if profile.has_gc_heap { 0 } else { self.max_live_instances };
        let instances = u64::from(pooled);
        let fibers = if profile.has_fibers { instances } else { 0 };
        let address_space = instances * (MEMORY_RESERVATION + MEMORY_GUARD)
            + fibers * fiber_stack(profile.stack) as u64;
        os_limits::check_engine(&what, address_space, fibers * MAPS_OF_FIBER)?;
        let engine = wasmtime::Engine::new(&self.config(profile)).map_err(|error| {
            // The free address space may be fragmented.
            let limit = error
                .chain()
                .any(os_limits::is_out_of_memory)
                .then(|| os_limits::no_space(&what, address_space));
            limit.flatten().unwrap_or_else(|| Error::InvalidOptions {
                problems: vec![format!("{what} cannot be created: {error:#}")],
            })
        })?;
        let mut all = Vec::clone(&self.created.load());
        all.push((profile, engine.clone()));
        self.created.store(all.into());
        Ok(engine)
    }

    /// The resources of all instances of all profiles.
    pub(crate) fn usage(&self) -> SandboxUsage {
        let mut usage = SandboxUsage {
            live_instances: self.without_pool.instances.load(Ordering::Relaxed),
            live_memories: self.without_pool.memories.load(Ordering::Relaxed),
            ..SandboxUsage::default()
        };
        let count = |found: usize| u64::try_from(found).unwrap_or(u64::MAX);
        for (_, engine) in self.created.load().iter() {
            let Some(metrics) = engine.pooling_allocator_metrics() else { continue };
            usage.live_instances += metrics.core_instances();
            usage.live_memories += count(metrics.memories());
            usage.idle_bytes += count(metrics.unused_memory_bytes_resident());
            usage.idle_bytes += count(metrics.unused_table_bytes_resident());
        }
        usage
    }

    /// The counter of this profile's sandboxes; `None` if their instances are in a pool.
    pub(crate) fn without_pool(&self, profile: Profile) -> Option<Arc<WithoutPool>> {
        profile.has_gc_heap.then(|| Arc::clone(&self.without_pool))
    }

    /// The compile cache, if there is one.
    pub(crate) fn cache(&self) -> Option<Arc<CompileCache>> {
        self.cache.clone()
    }

    /// Lets every running guest check its deadline. Only the supervisor calls this, once per tick: all sandboxes share the
    /// epoch, so advancing it for one call would affect all of them.
    pub(crate) fn tick(&self) {
        for (_, engine) in self.created.load().iter() {
            #[expect(clippy::disallowed_methods, reason = "the only epoch ticker")]
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
            // Each stack takes two memory maps, so there are none if they are not used. A sandbox has at most
            // one for each of its instances, when dependencies are called with bytes.
            .total_stacks(if profile.has_fibers { self.max_live_instances } else { 0 })
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
            // Also for metered code. A fuel yield interval could check deadlines instead, and would make tight loops
            // over memory up to 13 % faster. But it needs a fiber for each call, with which a small call took ten
            // times as long.
            .epoch_interruption(true)
            .consume_fuel(profile.is_metered)
            .cranelift_nan_canonicalization(profile.has_canonical_nans)
            .max_wasm_stack(profile.stack)
            // Wasmtime requires it even where fibers are not used.
            .async_stack_size(fiber_stack(profile.stack))
            .wasm_backtrace_max_frames(Some(MAX_TRAP_FRAMES))
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            // The GC heap is for exceptions and `externref` only, not for structs, arrays and `i31`.
            .wasm_gc(false)
            .gc_support(profile.has_gc_heap)
            .wasm_exceptions(profile.has_gc_heap)
            // The contract has 32-bit pointers and one memory.
            .wasm_memory64(false)
            .wasm_multi_memory(false)
            // The same call returns the same bytes on every machine, except for the bits of NaNs. Canonical NaNs are
            // opt-in, because with them a loop of only sums and products took 1.7 times as long.
            .relaxed_simd_deterministic(true);
        if profile.has_gc_heap {
            config
                // A collection takes time proportional to the live objects.
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
