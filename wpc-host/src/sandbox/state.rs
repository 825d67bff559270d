//! The data of a store while its guest runs: the call, its limits, and its intermediate results.

use super::blueprint::Blueprint;
use super::environment::Environment;
use super::failure::Failure;
use super::log_line::LogVolume;
use super::wasi::Context;
use crate::call::{Call, Interrupt};
use crate::definition::limits::{Limits, MAX_TABLE_ELEMENTS};
use crate::host_function::bindings::{Bindings, LastBindings};
use crate::metrics::{SandboxGauge, Share};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{Memory, TypedFunc};

pub(crate) struct State {
    pub(super) environment: Arc<Environment>,
    /// The running call.
    pub(super) call: Option<Arc<Call>>,
    /// What the running call has seen of the embedder's constants and functions.
    pub(super) seen: Option<Seen>,
    /// Set when its definition was replaced.
    last_bindings: Arc<LastBindings>,
    /// The constants that its modules declare, sorted for lookup because a hostile module may declare many.
    declared: Arc<[String]>,
    /// A reply that did not fit the buffer that the guest passed for it.
    pub(super) pending: Vec<u8>,
    /// The panic message that the guest reported before it traps.
    pub(super) panic: Option<String>,
    /// The module that is being instantiated, as errors name it.
    pub(super) instantiating: Option<Arc<str>>,
    pub(super) meter: Meter,
    pub(super) volume: Arc<LogVolume>,
    /// The time slice of a guest that yields the thread.
    pub(super) time_slice: Option<TimeSlice>,
    /// The contexts of the modules that use WASI.
    pub(super) wasi: Vec<Context>,
    pub(super) argument_limit: usize,
    pub(super) result_limit: usize,
    /// The finished instances, dependencies first, indexed by the position of their module in the definition.
    pub(super) instances: Vec<Instance>,
}

impl State {
    /// The state of a sandbox before its instances are created.
    pub(super) fn new(
        limits: &Limits,
        environment: &Arc<Environment>,
        blueprint: &Blueprint,
    ) -> Self {
        Self {
            environment: Arc::clone(environment),
            call: None,
            seen: None,
            last_bindings: Arc::clone(blueprint.last_bindings()),
            declared: Arc::clone(blueprint.constants()),
            pending: Vec::new(),
            panic: None,
            instantiating: None,
            meter: Meter::new(limits, blueprint.gauge()),
            volume: Arc::new(LogVolume::new(limits.log)),
            time_slice: limits.time_slice.map(TimeSlice::new),
            wasi: Vec::new(),
            argument_limit: limits.arguments,
            result_limit: limits.result,
            instances: Vec::with_capacity(blueprint.instances()),
        }
    }

    /// The bindings for the running call, which keeps those that it found at its first access.
    pub(super) fn bindings(&mut self) -> &Bindings {
        &self.seen().bindings
    }

    fn seen(&mut self) -> &mut Seen {
        self.seen.get_or_insert_with(|| Seen {
            bindings: self.last_bindings.or_current(&*self.environment.bindings),
            missing_constant: None,
        })
    }

    /// The value of a constant for the running call.
    pub(super) fn constant(&mut self, name: &str) -> Option<Arc<[u8]>> {
        let value = self.bindings().constants.get(name).cloned();
        if value.is_none() && is_declared(&self.declared, name) {
            self.seen().missing_constant = Some(name.to_owned());
        }
        value
    }

    /// The last declared constant that the running call read and that was not defined.
    pub(super) fn missing_constant(&self) -> Option<&str> {
        self.seen.as_ref()?.missing_constant.as_deref()
    }

    /// The reason why the running call should end now, if there is one.
    pub(super) fn interrupt(&self, now: Instant) -> Option<Interrupt> {
        self.environment.interrupt(self.call.as_deref(), now)
    }

    /// Fails if the running call should end. It reads the epoch ticker's time instead of the system clock: that time is at
    /// most one tick old, as the epoch is, and cheap enough to read in each call to a host function.
    #[inline]
    pub(super) fn check_interrupt(&self) -> Result<(), Failure> {
        match self.interrupt(self.environment.ticker.last_tick()) {
            Some(interrupt) => Err(Failure::Interrupted(interrupt)),
            None => Ok(()),
        }
    }
}

fn is_declared(declared: &[String], name: &str) -> bool {
    declared.binary_search_by(|declared| declared.as_str().cmp(name)).is_ok()
}

/// What a call has seen of the embedder's constants and functions.
pub(super) struct Seen {
    bindings: Arc<Bindings>,
    missing_constant: Option<String>,
}

/// An instance with the items that the host uses in every call.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) instance: wasmtime::Instance,
    pub(super) memory: Option<Memory>,
    pub(super) buffer: Option<Buffer>,
}

/// The guest's argument buffer.
#[derive(Clone)]
pub(super) struct Buffer {
    pub(super) function: TypedFunc<u32, u32>,
    pub(super) ptr: u32,
    pub(super) capacity: u32,
}

/// How long a guest may compute before it yields the thread, in ticks of the epoch.
#[derive(Debug)]
pub(super) struct TimeSlice {
    ticks: u64,
    used: u64,
}

impl TimeSlice {
    fn new(length: Duration) -> Self {
        Self { ticks: u64::try_from(length.as_millis()).unwrap_or(u64::MAX), used: 0 }
    }

    /// Counts a tick; returns true if the slice is over, and begins the next one.
    pub(super) fn is_over(&mut self) -> bool {
        self.used += 1;
        let is_over = self.used >= self.ticks;
        if is_over {
            self.used = 0;
        }
        is_over
    }
}

/// Counts the bytes of a sandbox's memories and the elements of its tables.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) memory: Tally,
    pub(super) table_elements: Tally,
    share: Share,
}

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) used: usize,
    limit: usize,
    /// The total that was requested when it was refused.
    refused: Option<usize>,
}

impl Tally {
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = Some(used);
            return false;
        }
        self.used = used;
        true
    }

    /// The refused total and the limit.
    pub(super) fn shortage(&self) -> Option<(usize, usize)> {
        self.refused.map(|requested| (requested, self.limit))
    }
}

impl Meter {
    pub(super) fn new(limits: &Limits, gauge: &Arc<SandboxGauge>) -> Self {
        let tally = |limit| Tally { used: 0, limit, refused: None };
        Self {
            memory: tally(limits.memory),
            table_elements: tally(limits.table_elements),
            share: Share::new(gauge),
        }
    }

    /// Clears the refusals of earlier calls.
    pub(super) fn begin_call(&mut self) {
        (self.memory.refused, self.table_elements.refused) = (None, None);
    }
}

impl wasmtime::ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if is_refused_anyway(desired, maximum) {
            return Ok(true);
        }
        let is_granted = self.memory.grow(current, desired);
        self.share.set_memory(self.memory.used);
        Ok(is_granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool's own maximum is at least the limit, so exceeding it also exceeds the limit.
        let own_maximum = maximum.filter(|maximum| *maximum < MAX_TABLE_ELEMENTS);
        Ok(is_refused_anyway(desired, own_maximum) || self.table_elements.grow(current, desired))
    }
}

/// Whether the engine refuses the growth because of the module's own maximum. The engine asks the limiter first; in this case
/// the limiter must not count anything.
fn is_refused_anyway(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_some_and(|maximum| desired > maximum)
}
