//! What the sandboxes of a worker share.

use crate::call::nested::NestedCalls;
use crate::call::{Call, Interrupt};
use crate::event::Events;
use crate::event::observer::Observer;
use crate::host_function::HostRuntime;
use crate::host_function::bindings::CurrentBindings;
use crate::id::WorkerId;
use crate::sync::atomic::AtomicBool;
use crate::system::epoch_ticker::EpochTicker;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What all sandboxes of a worker share.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) worker: WorkerId,
    pub(crate) events: Events,
    pub(crate) bindings: Arc<dyn CurrentBindings>,
    pub(crate) host_runtime: Arc<HostRuntime>,
    /// Accepts the guests' calls to functions of the pool. Weak, because the pool owns its workers.
    pub(crate) nested_calls: Weak<dyn NestedCalls>,
    /// Set when everything that runs on the worker must end.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Whether the worker's thread runs code that is not a guest's and may take any time. The scheduler then does not
    /// expect it to start another call soon.
    pub(crate) is_occupied: AtomicBool,
    /// The supervisor's epoch ticker.
    pub(crate) ticker: Arc<EpochTicker>,
    /// The observer of finished calls.
    pub(crate) observer: Arc<Observer>,
    /// The zero point of the guests' monotonic clock.
    pub(crate) started: Instant,
    pub(crate) max_wasm_stack: usize,
    /// The maximum number of live instances.
    pub(crate) max_instances: usize,
}

impl Environment {
    /// The reason why the call should end now, if there is one.
    pub(super) fn interrupt(&self, call: Option<&Call>, now: Instant) -> Option<Interrupt> {
        call?.should_end(&self.stopping, now)
    }
}
