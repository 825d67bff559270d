//! What a store carries while its guest runs: whose call it is, what may be used, what came up.

use super::context::Context;
use super::environment::{Constants, Environment, Failure, Volume};
use crate::call::{Call, Interrupt};
use crate::definition::limits::{Limits, MAX_TABLE_ELEMENTS};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::{Memory, TypedFunc};

pub(crate) struct State {
    pub(super) environment: Arc<Environment>,
    /// The call that runs.
    pub(super) call: Option<Arc<Call>>,
    /// The constants as the running call first saw them.
    pub(super) constants: Option<SeenConstants>,
    /// The constants that its modules declare, in order: a hostile one may declare many.
    declared: Arc<[String]>,
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
    /// The state of a sandbox with so many instances, before any of them is there.
    pub(super) fn new(
        limits: &Limits,
        environment: &Arc<Environment>,
        declared: &Arc<[String]>,
        instances: usize,
    ) -> Self {
        Self {
            environment: Arc::clone(environment),
            call: None,
            constants: None,
            declared: Arc::clone(declared),
            pending: Vec::new(),
            panic: None,
            making: None,
            meter: Meter::new(limits),
            volume: Arc::new(Volume::new(limits.log)),
            wasi: Vec::new(),
            argument_limit: limits.arguments,
            result_limit: limits.result,
            instances: Vec::with_capacity(instances),
        }
    }

    /// The value of a constant, by those that the running call first saw.
    pub(super) fn constant(&mut self, name: &str) -> Option<Arc<[u8]>> {
        let Self { constants, environment, declared, .. } = self;
        let seen = constants.get_or_insert_with(|| SeenConstants {
            all: environment.constants.load_full(),
            missing: None,
        });
        let value = seen.all.get(name).cloned();
        if value.is_none() && is_declared(declared, name) {
            seen.missing = Some(name.to_owned());
        }
        value
    }

    /// The declared constant that the running call read last without finding it.
    pub(super) fn missing_constant(&self) -> Option<&str> {
        self.constants.as_ref()?.missing.as_deref()
    }

    /// Why the running call should end now, if it should.
    pub(super) fn interrupt(&self, now: Instant) -> Option<Interrupt> {
        self.environment.interrupt(self.call.as_deref(), now)
    }

    /// Fails if the running call should end. It reads the supervisor's clock instead of the system's: behind by a tick at
    /// most, as the epoch is, and cheap enough for each call of a host function.
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

/// What the running call has seen of the constants.
pub(super) struct SeenConstants {
    all: Arc<Constants>,
    missing: Option<String>,
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
