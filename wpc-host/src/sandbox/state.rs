//! What a store carries while its guest runs: whose call it is, what may be used, what came up.

use super::wasi::Context;
use crate::call::{Call, Interrupt};
use crate::event::Events;
use crate::host_function::HostFunction;
use crate::id::WorkerId;
use crate::limits::{Limits, MAX_TABLE_ELEMENTS};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use wasmtime::{Memory, TypedFunc};

/// The constants' values, encoded, by name.
pub(crate) type Constants = HashMap<Arc<str>, Arc<[u8]>>;

/// The embedder's functions, by name.
pub(crate) type HostFunctions = HashMap<Arc<str>, Arc<HostFunction>>;

/// Why a guest's execution ended without a reply. Travels through the engine as its error.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("interrupted")]
    Interrupted(Interrupt),
    #[error("{0}")]
    Contract(String),
    #[error("the result has {found} bytes")]
    ResultTooLarge { found: usize },
    #[error("the program of module {at} exited with {status}")]
    Exited { at: usize, status: i32 },
    #[error("{used} bytes were logged")]
    LogLimit { used: usize },
    #[error("the arguments do not fit: {0}")]
    BadArguments(String),
    #[error("{0}")]
    Link(String),
    #[error("{0}")]
    Init(String),
}

/// What every sandbox of a worker shares.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) worker: WorkerId,
    pub(crate) events: Events,
    pub(crate) constants: Arc<ArcSwap<Constants>>,
    pub(crate) host_functions: Arc<ArcSwap<HostFunctions>>,
    /// Set when whatever runs on the worker has to end.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Where the monotonic clock counts from.
    pub(crate) started: Instant,
    pub(crate) max_wasm_stack: usize,
    /// How many instances the worker may keep alive.
    pub(crate) max_instances: usize,
}

pub(crate) struct State {
    pub(super) surroundings: Arc<Surroundings>,
    /// The call that runs.
    pub(super) call: Option<Arc<Call>>,
    /// The constants as the running call first saw them.
    pub(super) constants: Option<Arc<Constants>>,
    /// A reply of a dependency that did not fit the room it was given.
    pub(super) pending: Vec<u8>,
    /// Why the guest said it would trap.
    pub(super) panic: Option<String>,
    /// Which module is being made, as errors name it.
    pub(super) making: Option<String>,
    pub(super) meter: Meter,
    pub(super) volume: Arc<Volume>,
    /// What the modules that use WASI have of it.
    pub(super) wasi: Vec<Context>,
    pub(super) argument_limit: usize,
    pub(super) result_limit: usize,
    /// The finished instances, dependencies first; the index is the module's in the definition.
    pub(super) instances: Vec<Instance>,
}

impl State {
    /// Why the running call should end now, if it should.
    pub(super) fn interrupt(&self, now: Instant) -> Option<Interrupt> {
        self.surroundings.interrupt(self.call.as_deref(), now)
    }
}

impl Surroundings {
    /// Why the call should end now, if it should.
    pub(super) fn interrupt(&self, call: Option<&Call>, now: Instant) -> Option<Interrupt> {
        if self.stopping.load(Ordering::Acquire) {
            return Some(Interrupt::Stopped);
        }
        call.and_then(|call| call.interrupted(now))
    }
}

/// Counts what a call writes for people. Only the worker's thread touches it, in several places.
#[derive(Debug)]
pub(super) struct Volume {
    used: AtomicUsize,
    pub(super) limit: usize,
}

impl Volume {
    pub(super) const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    pub(super) fn begin_call(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: usize) -> Result<(), Failure> {
        let used = self.used.load(Ordering::Relaxed).saturating_add(bytes);
        self.used.store(used, Ordering::Relaxed);
        if used > self.limit { Err(Failure::LogLimit { used }) } else { Ok(()) }
    }
}

/// An instance with what the host needs of it at every call.
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

/// Counts what a sandbox's memories and tables have together.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) memory: Tally,
    pub(super) table_elements: Tally,
}

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) used: usize,
    limit: usize,
    /// What was asked for when it was refused.
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

    /// What was refused, and the limit.
    pub(super) fn shortage(&self) -> Option<(usize, usize)> {
        self.refused.map(|requested| (requested, self.limit))
    }
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        let tally = |limit| Tally { used: 0, limit, refused: None };
        Self { memory: tally(limits.memory), table_elements: tally(limits.table_elements) }
    }

    /// Forgets what earlier calls were short of.
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
        Ok(is_refused_anyway(desired, maximum) || self.memory.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool's own maximum is no less than the limit: going past it is going past the limit.
        let own_maximum = maximum.filter(|maximum| *maximum < MAX_TABLE_ELEMENTS);
        Ok(is_refused_anyway(desired, own_maximum) || self.table_elements.grow(current, desired))
    }
}

/// Whether the engine refuses this by the module's own maximum, after it asked here: nothing grows
/// then, and nothing must be counted.
fn is_refused_anyway(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_some_and(|maximum| desired > maximum)
}
