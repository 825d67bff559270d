//! A sandbox: one Wasmtime store with the instance of a definition and those of its dependencies. It instantiates the
//! modules, carries one call at a time across the sandbox boundary, and classifies failures. It does not depend on
//! workers, queues or restarts.
//!
//! Other layers use [`Blueprint`], [`Sandbox`] and `keeps_sandbox`, and pass them [`Environment`], [`Node`] and [`Request`].
//! `tools/models` replaces the first three with a simulation without WebAssembly; it uses the real [`Environment`], [`Node`]
//! and [`Request`].
//!
//! * `blueprint`: the linked modules that sandboxes are created from.
//! * `environment`: what the sandboxes of a worker share.
//! * `exception`: exceptions that a guest did not catch.
//! * `failure`: why a guest ended without a reply.
//! * `fiber`: calls in sandboxes whose guests can be suspended.
//! * `imports`: the host functions that guests can call.
//! * `invoke`: how an export is called.
//! * `log_line`: log lines of guests, and their limits.
//! * `memory`: the only code that accesses guest memory.
//! * `nested`: the functions of the pool that guests call.
//! * `node`: a module with its dependencies.
//! * `request`: a call as the sandbox receives it.
//! * `scalars`: arguments and results of plain exports.
//! * `state`: the data of the store.
//! * `wasi`: the imports of WASI preview 1, the context of a module that uses them, and how it waits for clocks;
//!   `without_wasi` replaces it in a build without the feature.

mod blueprint;
mod environment;
mod exception;
mod failure;
mod fiber;
mod imports;
mod invoke;
mod log_line;
mod memory;
mod nested;
mod node;
mod request;
mod scalars;
mod state;
#[cfg_attr(not(feature = "wasi"), path = "without_wasi.rs")]
mod wasi;

pub(crate) use blueprint::Blueprint;
pub(crate) use environment::Environment;
pub(crate) use failure::keeps_sandbox;
pub(crate) use node::Node;
pub(crate) use request::Request;

use crate::call::reply::BorrowedReply;
use crate::codec::payload::Payload;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::module::engine::CountedSandbox;
use crate::system::os_limits;
use failure::Failure;
use invoke::{Entry, invoke};
use state::{State, TimeSlice};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

/// How many ticks of the engine's epoch pass between two deadline checks of a running guest: it checks at every tick.
const TICKS_BETWEEN_CHECKS: u64 = 1;

pub(crate) struct Sandbox {
    store: Store<State>,
    blueprint: Arc<Blueprint>,
    /// Entry points by the index of their export, looked up at their first call.
    entries: Vec<Option<Box<Entry>>>,
    calls: u64,
    open_files: usize,
    /// Whether the call that it was created for has not run yet. That call continues with the remaining fuel.
    is_fresh: bool,
    /// Set if its instances are not in an instance pool.
    _counted: Option<CountedSandbox>,
}

impl Sandbox {
    /// Creates a sandbox for `request`, under its deadline and limits. If a start function loops or traps, that call
    /// fails.
    pub(crate) fn new(
        blueprint: &Arc<Blueprint>,
        limits: &Limits,
        environment: &Arc<Environment>,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        let mut sandbox = Self::empty(blueprint, limits, environment, request)?;
        let created = sandbox.begin_creation(request, limits).and_then(|()| {
            let created = sandbox.blueprint.instantiate(&mut sandbox.store);
            sandbox.end(request);
            created
        });
        sandbox.created(created, request)
    }

    /// A sandbox without instances.
    fn empty(
        blueprint: &Arc<Blueprint>,
        limits: &Limits,
        environment: &Arc<Environment>,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        let what = format_args!("a sandbox of function \"{}\"", request.call.function);
        os_limits::check_instances(what, blueprint.instances(), blueprint.directories())?;
        let state = State::new(limits, environment, blueprint);
        let mut store = Store::new(blueprint.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_callback(check_deadline);
        Ok(Self {
            store,
            blueprint: Arc::clone(blueprint),
            entries: Vec::new(),
            calls: 0,
            open_files: limits.open_files,
            is_fresh: false,
            _counted: blueprint.count(),
        })
    }

    /// Begins to instantiate the modules on behalf of a call.
    fn begin_creation(&mut self, request: &Request<'_>, limits: &Limits) -> wasmtime::Result<()> {
        let wasi = self.blueprint.wasi(self.store.data(), limits).map_err(wasmtime::Error::new)?;
        self.store.data_mut().wasi = wasi;
        self.begin(request)
    }

    /// The sandbox after its modules were instantiated.
    fn created(
        mut self,
        created: wasmtime::Result<()>,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        match created {
            Ok(()) => {
                self.is_fresh = true;
                self.store.data_mut().instantiating = None;
                Ok(self)
            }
            Err(error) => Err(self.initialisation_error(error, request)),
        }
    }

    /// Called if no call follows the creation (warm-up): the next call starts with its own fuel.
    pub(crate) fn settle(&mut self) {
        self.is_fresh = false;
        self.store.data_mut().seen = None;
    }

    /// Whether its definition's limits require that it is replaced.
    #[inline]
    pub(crate) fn is_spent(&self, limits: &Limits) -> bool {
        limits.recycle_after_calls.is_some_and(|most| self.calls >= most)
            || limits
                .recycle_past_memory
                .is_some_and(|most| self.store.data().meter.memory.used > most)
    }

    /// Carries one call across the sandbox boundary, and returns what `read` returns. `read` receives the reply in the guest's
    /// memory, whose tag is known to be valid, and the arguments, whose buffer it may reuse. After an error the sandbox may be
    /// in any state and must be dropped, unless [`keeps_sandbox`] returns true.
    #[inline(always)]
    pub(crate) fn call<A: Payload, T>(
        &mut self,
        request: &Request<'_>,
        arguments: A,
        read: impl FnOnce(BorrowedReply<'_>, A) -> T,
    ) -> Result<T, Box<Error>> {
        let at = self.blueprint.instances() - 1;
        let result = self.begin(request).and_then(|()| {
            let result = self.invoke(at, request, arguments, read);
            self.end(request);
            result
        });
        self.called(result, request)
    }

    #[inline(always)]
    fn invoke<A: Payload, T>(
        &mut self,
        at: usize,
        request: &Request<'_>,
        arguments: A,
        read: impl FnOnce(BorrowedReply<'_>, A) -> T,
    ) -> wasmtime::Result<T> {
        let Self { store, entries, .. } = self;
        let entry = match entries.get(request.export_at) {
            Some(Some(entry)) => entry,
            _ => look_up(store, entries, at, request)?,
        };
        invoke(store, at, entry, arguments, |arguments| arguments, read)
    }

    /// The entry point that the request calls.
    fn entry(&mut self, at: usize, request: &Request<'_>) -> wasmtime::Result<Entry> {
        match self.entries.get(request.export_at) {
            Some(Some(entry)) => Ok(Entry::clone(entry)),
            _ => look_up(&mut self.store, &mut self.entries, at, request).cloned(),
        }
    }

    /// Counts a call that has ended, and returns its result.
    #[inline(always)]
    fn called<T>(
        &mut self,
        result: wasmtime::Result<T>,
        request: &Request<'_>,
    ) -> Result<T, Box<Error>> {
        // Only here: the call that creates a sandbox keeps the bindings that its start functions saw.
        self.store.data_mut().seen = None;
        let was_refused = || matches!(&result, Err(error) if matches!(error.downcast_ref(), Some(Failure::Refused(_))));
        self.calls += u64::from(!was_refused());
        result.map_err(|error| self.error(error, request).into())
    }

    /// Begins to run the guest on behalf of a call: sets its deadline and fuel, and clears the state of the previous call.
    /// [`end`](Self::end) follows.
    #[inline(always)]
    fn begin(&mut self, request: &Request<'_>) -> wasmtime::Result<()> {
        self.store.set_epoch_deadline(TICKS_BETWEEN_CHECKS);
        let continues = std::mem::take(&mut self.is_fresh);
        if let Some(fuel) = request.fuel {
            request.call.forget_fuel();
            if !continues {
                self.store.set_fuel(fuel)?;
            }
        }
        let state = self.store.data_mut();
        state.call = Some(Arc::clone(request.call));
        state.panic = None;
        if !continues {
            state.volume.begin_call();
        }
        state.meter.begin_call();
        state.wasi.iter().for_each(|context| context.begin_call(request.call));
        Ok(())
    }

    #[inline(always)]
    fn end(&mut self, request: &Request<'_>) {
        let state = self.store.data_mut();
        state.wasi.iter().for_each(wasi::Context::end_call);
        state.call = None;
        state.pending = Vec::new();
        if let Some(used) = self.fuel_used(request) {
            request.call.note_fuel(used);
        }
    }

    #[inline]
    fn fuel_used(&self, request: &Request<'_>) -> Option<u64> {
        // `get_fuel` fails if the store is not metered.
        let fuel = request.fuel?;
        let left = self.store.get_fuel().ok()?;
        Some(fuel.saturating_sub(left))
    }
}

/// Looks up the entry point that the request calls, and keeps it in `entries`.
#[cold]
fn look_up<'a>(
    store: &mut Store<State>,
    entries: &'a mut Vec<Option<Box<Entry>>>,
    at: usize,
    request: &Request<'_>,
) -> wasmtime::Result<&'a Entry> {
    let (instance, export) = (store.data().instances[at].instance, request.export);
    let entry = Entry::new(store, instance, &export.item(), &export.convention)
        .map_err(wasmtime::Error::new)?;
    let known = entries.len().max(request.export_at + 1);
    entries.resize(known, None);
    Ok(entries[request.export_at].insert(Box::new(entry)))
}

fn check_deadline(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    if let Some(interrupt) = store.data().interrupt(Instant::now()) {
        return Err(wasmtime::Error::new(Failure::Interrupted(interrupt)));
    }
    let slice = store.data_mut().time_slice.as_mut();
    Ok(match slice.is_some_and(TimeSlice::is_over) {
        true => UpdateDeadline::Yield(TICKS_BETWEEN_CHECKS),
        false => UpdateDeadline::Continue(TICKS_BETWEEN_CHECKS),
    })
}

#[cfg(test)]
#[cfg(feature = "wasi")]
mod tests;
