//! A sandbox: one store with one definition's instance and its dependencies' instances. It makes
//! them, carries one call at a time across the wall, and says what a failure was. It knows nothing
//! of workers, queues or restarts.
//!
//! * `blueprint`: what it is made from.
//! * `context`: what a module has of WASI, once it was granted some.
//! * `exception`: exceptions that a guest did not catch.
//! * `imports`: what its guest can call.
//! * `invoke`: how an export is called.
//! * `poll`: how a guest of WASI waits for clocks.
//! * `memory`: the only code that touches guest memory.
//! * `state`: what the store carries.
//! * `environment`: what sandboxes of a worker share; why a guest ends; lines for people.
//! * `wasi`: the imports of WASI preview 1.

mod blueprint;
mod context;
mod environment;
mod exception;
mod imports;
mod invoke;
mod memory;
mod poll;
mod state;
mod wasi;

pub(crate) use blueprint::{Blueprint, Node};
pub(crate) use environment::{Constants, Environment, HostFunctions};

use crate::call::Call;
use crate::call::reply::RawReply;
use crate::codec::payload::{Payload, Refused};
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::module::Export;
use crate::module::engine::{CountedSandbox, INSTANCE_WITHOUT_POOL};
use crate::system::os_limits;
use environment::Failure;
use invoke::{Entry, invoke};
use state::State;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::ResourceTableError;
use wasmtime::{Store, StoreContextMut, ThrownException, Trap, UpdateDeadline, WasmBacktrace};

/// After how many ticks of the engine's epoch a running guest looks at its deadline: at each.
const TICKS_BETWEEN_LOOKS: u64 = 1;

/// What a call asks of a sandbox.
pub(crate) struct Request<'a> {
    pub(crate) call: &'a Arc<Call>,
    pub(crate) export: &'a Export,
    /// Which of its module's.
    pub(crate) export_at: usize,
    /// How much fuel it may use; `None` where the definition does not meter it.
    pub(crate) fuel: Option<u64>,
}

pub(crate) struct Sandbox {
    store: Store<State>,
    blueprint: Arc<Blueprint>,
    /// By export, looked up when first called.
    entries: Vec<Option<Entry>>,
    calls: u64,
    open_files: usize,
    /// The call it was made for has not run yet, and goes on with the fuel that is left.
    is_fresh: bool,
    /// Where it has no place in an instance pool.
    _counted: Option<CountedSandbox>,
}

impl Sandbox {
    /// Makes a sandbox for `request`, under its deadline and limits: a start function that loops
    /// or traps is that call's failure.
    pub(crate) fn new(
        blueprint: &Arc<Blueprint>,
        limits: &Limits,
        environment: &Arc<Environment>,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        let what = format_args!("a sandbox of function \"{}\"", request.call.function);
        os_limits::check_instances(what, blueprint.instances(), blueprint.directories())?;
        let state = State::new(limits, environment, blueprint.constants(), blueprint.instances());
        let mut store = Store::new(blueprint.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_callback(look_at_the_deadline);
        let mut sandbox = Self {
            store,
            blueprint: Arc::clone(blueprint),
            entries: Vec::new(),
            calls: 0,
            open_files: limits.open_files,
            is_fresh: false,
            _counted: blueprint.count(),
        };
        let made =
            sandbox.blueprint.wasi(sandbox.store.data(), limits).map_err(wasmtime::Error::new);
        let made = made.and_then(|wasi| {
            sandbox.store.data_mut().wasi = wasi;
            sandbox.within(request, |sandbox| sandbox.blueprint.instantiate(&mut sandbox.store))
        });
        match made {
            Ok(()) => {
                sandbox.is_fresh = true;
                Ok(sandbox)
            }
            Err(error) => Err(sandbox.initialisation_error(error, request)),
        }
    }

    /// Says that no call follows the making: the next one has its own fuel.
    pub(crate) fn settle(&mut self) {
        self.is_fresh = false;
    }

    /// Whether it has served its time, by its definition's limits.
    #[inline]
    pub(crate) fn is_spent(&self, limits: &Limits) -> bool {
        limits.recycle_after_calls.is_some_and(|most| self.calls >= most)
            || limits
                .recycle_past_memory
                .is_some_and(|most| self.store.data().meter.memory.used > most)
    }

    /// Carries one call across the wall; `read` is given the reply, which has a kind, where it lies, and the arguments,
    /// whose room may be of use. After an error the sandbox may be in any state and must be dropped, unless
    /// [`keeps_sandbox`] says otherwise.
    #[inline(always)]
    pub(crate) fn call<A: Payload>(
        &mut self,
        request: &Request<'_>,
        arguments: A,
        read: impl FnOnce(RawReply<'_>, A),
    ) -> Result<(), Box<Error>> {
        let at = self.blueprint.instances() - 1;
        let result = self.within(request, |sandbox| {
            if sandbox.entries.get(request.export_at).is_none_or(Option::is_none) {
                sandbox.look_up(at, request)?;
            }
            let Self { store, entries, .. } = sandbox;
            match &entries[request.export_at] {
                Some(entry) => invoke(store, at, entry, arguments, |arguments| arguments, read),
                None => unreachable!("it was just looked up"),
            }
        });
        let was_refused = || matches!(&result, Err(error) if matches!(error.downcast_ref(), Some(Failure::Refused(_))));
        self.calls += u64::from(!was_refused());
        result.map_err(|error| self.error(error, request).into())
    }

    /// Runs the guest on behalf of a call: its deadline, its fuel, and nothing left of the last.
    #[inline(always)]
    fn within<T>(
        &mut self,
        request: &Request<'_>,
        run: impl FnOnce(&mut Self) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        self.store.set_epoch_deadline(TICKS_BETWEEN_LOOKS);
        let goes_on = std::mem::take(&mut self.is_fresh);
        if let Some(fuel) = request.fuel.filter(|_| !goes_on) {
            self.store.set_fuel(fuel)?;
        }
        let state = self.store.data_mut();
        state.call = Some(Arc::clone(request.call));
        state.panic = None;
        if !goes_on {
            state.volume.begin_call();
        }
        state.meter.begin_call();
        state.wasi.iter().for_each(|context| context.begin_call(request.call));
        let result = run(self);
        let state = self.store.data_mut();
        state.wasi.iter().for_each(context::Context::end_call);
        state.call = None;
        state.constants = None;
        state.pending = Vec::new();
        if let Some(used) = self.fuel_used(request) {
            request.call.note_fuel(used);
        }
        result
    }

    /// Looks up what the request calls.
    #[cold]
    fn look_up(&mut self, at: usize, request: &Request<'_>) -> wasmtime::Result<()> {
        let (instance, export) = (self.store.data().instances[at].instance, request.export);
        let entry = Entry::new(&mut self.store, instance, &export.item(), &export.convention)
            .map_err(wasmtime::Error::new)?;
        let known = self.entries.len().max(request.export_at + 1);
        self.entries.resize(known, None);
        self.entries[request.export_at] = Some(entry);
        Ok(())
    }

    #[inline]
    fn fuel_used(&self, request: &Request<'_>) -> Option<u64> {
        // A store that is not metered would make an error of the question.
        let fuel = request.fuel?;
        let left = self.store.get_fuel().ok()?;
        Some(fuel.saturating_sub(left))
    }

    /// Says what ended the guest.
    #[cold]
    fn error(&mut self, error: wasmtime::Error, request: &Request<'_>) -> Error {
        let function = request.call.function.to_string();
        let stack = error.downcast_ref::<WasmBacktrace>().map(describe_stack).unwrap_or_default();
        match error.downcast_ref::<Failure>() {
            Some(Failure::Interrupted(interrupt)) => {
                return request.call.error_of(*interrupt, true);
            }
            Some(Failure::Contract(reason)) => {
                return Error::BadReply { function, reason: reason.clone() };
            }
            Some(Failure::Refused(refused)) => return refused.clone().error(&function),
            Some(Failure::BadArguments(reason)) => {
                return Error::BadArguments { function, reason: reason.clone() };
            }
            Some(Failure::ResultTooLarge { found }) => {
                let limit = self.store.data().result_limit;
                return Error::ResultTooLarge { function, limit, found: *found };
            }
            Some(Failure::Exited { status, .. }) => {
                return Error::Exited { function, status: *status };
            }
            Some(Failure::LogLimit { used }) => {
                let limit = self.store.data().volume.limit;
                return Error::LogLimit { function, limit, used: *used };
            }
            Some(Failure::Exception(exception)) => {
                return Error::UncaughtException { function, exception: exception.clone(), stack };
            }
            Some(Failure::ConstantNotDefined(constant)) => {
                return Error::ConstantNotDefined { function, constant: constant.clone() };
            }
            Some(Failure::Init(reason)) => {
                return Error::Trap { function, reason: reason.clone(), stack: String::new() };
            }
            Some(Failure::Link(reason)) => {
                return Error::Initialisation { function, reason: reason.clone() };
            }
            None => {}
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            let needed = self.blueprint.instances();
            let limit = self.store.data().environment.max_instances;
            return Error::InstancesInUse { function, needed, limit };
        }
        if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
            return Error::TooManyOpenFiles { function, limit: self.open_files };
        }
        if error.is::<ThrownException>() {
            let exception = exception::take(&mut self.store);
            return Error::UncaughtException { function, exception, stack };
        }
        if self.blueprint.is_without_pool()
            && error.chain().any(os_limits::is_out_of_memory)
            && let Some(error) = os_limits::no_space(
                format_args!("a sandbox of function \"{function}\""),
                INSTANCE_WITHOUT_POOL * self.blueprint.instances() as u64,
            )
        {
            return error;
        }
        let trap = error.downcast_ref::<Trap>().copied();
        match trap {
            Some(Trap::OutOfFuel) => {
                return Error::OutOfFuel { function, limit: request.fuel.unwrap_or_default() };
            }
            Some(Trap::StackOverflow) => {
                let limit = self.blueprint.stack();
                return Error::StackOverflow { function, limit };
            }
            _ => {}
        }
        let state = self.store.data_mut();
        if let Some(reason) = state.panic.take() {
            return Error::Trap { function, reason, stack };
        }
        if let Some((requested, limit)) = state.meter.memory.shortage() {
            return Error::OutOfMemory { function, requested, limit };
        }
        if let Some((requested, limit)) = state.meter.table_elements.shortage() {
            return Error::OutOfTableElements { function, requested, limit };
        }
        let reason = match trap {
            Some(trap) => trap.to_string(),
            None => format!("{:#}", error.root_cause()),
        };
        Error::Trap { function, reason, stack }
    }

    /// A failure before the first call. What the caller asked for stays what it is; the rest is
    /// the definition's failure to come up.
    fn initialisation_error(&mut self, error: wasmtime::Error, request: &Request<'_>) -> Error {
        let (function, reason) = match self.error(error, request) {
            Error::UncaughtException { function, exception, .. } => {
                (function, format!("it did not catch {exception}"))
            }
            Error::Trap { function, reason, .. } => (function, reason),
            other => return other,
        };
        let making = self.store.data_mut().making.take();
        let making = making.unwrap_or_else(|| "its module".to_owned());
        Error::Initialisation { function, reason: format!("{making}: {reason}") }
    }
}

/// Whether the error is none of the sandbox's: it is as good as before, or was never made.
pub(crate) fn keeps_sandbox(error: &Error) -> bool {
    Refused::caused(error)
        || matches!(
            error,
            Error::BadArguments { .. }
                | Error::ConstantNotDefined { .. }
                | Error::InstancesInUse { .. }
                | Error::OsLimit { .. }
        )
}

fn look_at_the_deadline(store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    match store.data().interrupt(Instant::now()) {
        Some(interrupt) => Err(wasmtime::Error::new(Failure::Interrupted(interrupt))),
        None => Ok(UpdateDeadline::Continue(TICKS_BETWEEN_LOOKS)),
    }
}

fn describe_stack(stack: &WasmBacktrace) -> String {
    let frames = stack.frames().iter().map(|frame| match frame.func_name() {
        // A name may be as long as its module likes.
        Some(name) => format!("at {}", &name[..name.floor_char_boundary(256)]),
        None => format!("at function {}", frame.func_index()),
    });
    frames.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::wasi::{Output, Wasi};
    use crate::event::Events;
    use crate::id::{CallId, Generation, WorkerId};
    use crate::module::engine::{Engines, Profile};
    use crate::module::{self, DependencyImports, Origin, Requirements};
    use crate::options::Options;
    use crate::system::epoch_ticker::EpochTicker;
    use std::collections::{BTreeSet, HashMap};
    use std::sync::atomic::AtomicBool;
    use wasmtime::{Extern, Func, Linker, Val, ValType};

    fn environment() -> Arc<Environment> {
        Arc::new(Environment {
            worker: WorkerId(1),
            events: Events::new(1),
            constants: Arc::default(),
            host_functions: Arc::default(),
            stopping: Arc::default(),
            is_occupied: AtomicBool::new(false),
            ticker: Arc::new(EpochTicker::new()),
            observer: Arc::default(),
            started: Instant::now(),
            max_wasm_stack: 1 << 20,
            max_instances: 1,
        })
    }

    /// Everything that the host links, for a module with an import of each origin.
    fn every_import(engine: &wasmtime::Engine, profile: Profile) -> Linker<State> {
        let compiled = |what: &str, text: &str| {
            let bytes = wat::parse_str(text).unwrap();
            Arc::new(module::compile(what, &bytes, engine, None, profile).unwrap())
        };
        let callee = compiled("a dependency", r#"(module (func (export "function")))"#);
        let importer = compiled(
            "every import",
            r#"(module
                (import "wpc" "wpc_take" (func (param i32 i32) (result i64)))
                (import "wpc-host" "host_function" (func (param i32 i32 i32 i32) (result i64)))
                (import "wpc:callee" "function" (func (param i32 i32 i32 i32) (result i64)))
                (import "callee" "function" (func))
                (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#,
        );
        // Each field by name: an import of a new kind is added above.
        let Requirements {
            constants: _,
            constant_types: _,
            capabilities: _,
            dependencies,
            host_functions,
            host_function_types: _,
            wasi,
        } = &importer.requirements;
        let DependencyImports { typed, linked } = &dependencies["callee"];
        assert!(!(host_functions.is_empty() || wasi.is_empty()), "host functions and WASI");
        assert!(!(typed.is_empty() || linked.is_empty()), "a dependency in both ways");
        // The same for where imports come from; the host links nothing of the last, which is a guest's.
        let origins = importer.wasm.imports().map(|import| {
            match module::origin(import.module(), import.name()).unwrap() {
                Origin::Host(_) => 0,
                Origin::HostFunction => 1,
                Origin::Typed(_) => 2,
                Origin::Wasi(_) => 3,
                Origin::Linked(_) => 4,
            }
        });
        assert_eq!(origins.collect::<BTreeSet<_>>(), (0..=4).collect());
        let node = |what: &str, module, dependencies| Node {
            what: what.into(),
            module,
            dependencies,
            wasi: None,
        };
        let nodes = [
            node("a dependency", callee, HashMap::new()),
            node("every import", importer, HashMap::from([("callee".to_owned(), 0)])),
        ];
        blueprint::link_host_side(engine, &nodes, 1).unwrap().linker
    }

    /// A guest that calls nothing but this, and then traps.
    fn calls_once(module: &str, name: &str, function: &Func, store: &Store<State>) -> Vec<u8> {
        let ty = function.ty(store);
        let list = |types: &mut dyn Iterator<Item = ValType>| {
            types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(" ")
        };
        let (parameters, results) = (list(&mut ty.params()), list(&mut ty.results()));
        let arguments: String = ty.params().map(|ty| format!("({ty}.const 8)")).collect();
        let drops = "drop ".repeat(ty.results().len());
        wat::parse_str(format!(
            r#"(module
                (import "{module}" "{name}" (func $import (param {parameters}) (result {results})))
                (memory (export "memory") 1)
                (func (export "f") {arguments} call $import {drops} unreachable))"#
        ))
        .unwrap()
    }

    #[test]
    fn every_linked_function_ends_a_guest_whose_call_should_end() {
        let engines =
            Engines::new(&Options { max_live_instances: 1, ..Options::default() }, None).unwrap();
        let engine = engines.get(engines.plain()).unwrap();
        let linker = every_import(&engine, engines.plain());
        let environment = environment();
        let limits = Limits::default();
        let new_store = || {
            let mut state = State::new(&limits, &environment, &Arc::default(), 1);
            let granted = Wasi::minimal().stdout(Output::discard());
            let volume = Arc::clone(&state.volume);
            state.wasi.push(context::Context::new(&granted, 8, &environment, &volume).unwrap());
            let mut store = Store::new(&engine, state);
            store.set_epoch_deadline(1);
            store
        };
        let mut listing = new_store();
        let linked: Vec<_> = linker
            .iter(&mut listing)
            .map(|(module, name, found)| (module.to_owned(), name.to_owned(), found))
            .collect();
        for name in
            ["wpc_constant", "wpc_panic", "host_function", "function", "fd_write", "poll_oneoff"]
        {
            assert!(linked.iter().any(|(_, linked, _)| linked == name), "{name} is linked");
        }
        let mut wasm = Vec::new();
        for (module, name, found) in linked {
            let Extern::Func(function) = found else { panic!("{name} is a function") };
            wasm.push((calls_once(&module, &name, &function, &listing), name));
        }
        drop(listing);
        for (bytes, name) in wasm {
            let mut store = new_store();
            let module = wasmtime::Module::new(&engine, bytes).unwrap();
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let limit = std::time::Duration::from_secs(60);
            let call = Call::new(CallId(1), "f".into(), Generation(1), Instant::now(), limit);
            assert!(call.begin());
            call.cancel();
            store.data_mut().call = Some(Arc::new(call));
            let function = instance.get_func(&mut store, "f").unwrap();
            let error = function.call(&mut store, &[], &mut [] as &mut [Val]).unwrap_err();
            assert!(
                matches!(error.downcast_ref(), Some(Failure::Interrupted(_))),
                "{name} does not look: {error:#}"
            );
        }
    }
}
