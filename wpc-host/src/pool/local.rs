//! Calls that run on the caller's thread.

use super::WorkerProcedureCall;
use crate::call::Call;
use crate::call::pending::Answer;
use crate::call::reply::BorrowedReply;
use crate::codec::arguments::{Arguments, Parameters};
use crate::codec::payload::{Refused, Unencoded};
use crate::error::Error;
use crate::id::{CallId, WorkerId};
use crate::options::CallOptions;
use crate::pool::function::Function;
use crate::pool::intake;
use crate::pool::lifecycle::Lifecycle;
use crate::registry::{self, Definition};
use crate::supervisor::workers::Pool;
use crate::worker::Local;
use crate::worker::job::Job;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use wpc_abi::Schema;

/// A worker without a thread: functions run on the thread that calls them, in sandboxes of this worker.
///
/// A call needs no thread switch and no wake-up. Nothing is copied outside the sandbox, except arguments that do not fit the
/// guest's buffer, which then grows. Registry, grants, limits, events and restarts work as on the pool's workers. A
/// function that backs off, or whose circuit breaker is open, on this worker is called on the pool instead.
///
/// The differences come from sharing the caller's thread:
///
/// * A guest is interrupted at its time limit, up to two milliseconds late.
/// * A call that is suspended blocks the caller, at most until its time limit.
/// * A host function that runs on the caller's thread and does not return blocks the caller.
/// * The guest uses the caller's stack: if less than [`max_wasm_stack`](crate::Options::max_wasm_stack) plus 256 KiB is
///   left, the call is refused.
/// * Its sandboxes count towards [`max_live_instances`](crate::Options::max_live_instances), together with those of the
///   pool's workers.
///
/// [`WorkerProcedureCall::local_worker`] creates one. Each thread needs its own.
#[derive(Debug)]
pub struct LocalWorker {
    lifecycle: Arc<Lifecycle>,
    /// Taken out while a call runs, so that none of it is used again after a panic of the host.
    state: Option<Box<State>>,
    /// The function of the typed handle that was used last. The next call usually has the same handle, and then needs no
    /// look-up.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    /// The handle's name, which identifies the handle and its clones.
    name: Arc<str>,
    function: Arc<registry::Function>,
    found: registry::Found,
}

#[derive(Debug)]
struct State {
    pool: Arc<Pool>,
    local: Local,
    /// The job of the last call, which the next call reuses.
    job: Job,
    /// The buffer for arguments that do not fit the guest's.
    spare: Vec<u8>,
    /// The ids of the next calls.
    ids: Range<u64>,
}

impl State {
    fn new(
        pool: &Arc<Pool>,
        function: &Arc<registry::Function>,
        definition: &Arc<Definition>,
        time_limit: Duration,
    ) -> Self {
        let mut ids = 0..0;
        let call = new_call(next_id(pool, &mut ids), function, definition, time_limit);
        let mut job = Job::new(call, Arc::clone(function), Arc::clone(definition), Vec::new());
        // The answer is returned to the caller directly, so dropping the job must not answer the call.
        job.is_disowned = true;
        Self { pool: Arc::clone(pool), local: pool.local(), job, spare: Vec::new(), ids }
    }

    /// Resets the job for the next call.
    // Inlining saves a call frame.
    #[inline(always)]
    fn renew(
        &mut self,
        function: &Arc<registry::Function>,
        definition: &Arc<Definition>,
        time_limit: Duration,
    ) {
        let (id, job) = (next_id(&self.pool, &mut self.ids), &mut self.job);
        match Arc::get_mut(&mut job.call) {
            Some(last) => last.renew(id, &function.name, definition.generation, time_limit),
            // Another owner, such as an async host function, still uses the state of the last call.
            None => job.call = new_call(id, function, definition, time_limit),
        }
        if !Arc::ptr_eq(&job.function, function) {
            (job.function, job.definition) = (Arc::clone(function), Arc::clone(definition));
        }
    }
}

#[inline]
fn next_id(pool: &Pool, ids: &mut Range<u64>) -> CallId {
    CallId(ids.next().unwrap_or_else(|| {
        *ids = pool.call_ids.next_many(IDS);
        // The range is not empty, so the default is never used.
        ids.next().unwrap_or_default()
    }))
}

/// How many call ids are reserved at once, so that a call rarely touches the counter that all threads share.
const IDS: u64 = 1024;

/// How much stack the host's own code may need in addition to the guest's.
const HOST_STACK: usize = 256 * 1024;

impl WorkerProcedureCall {
    /// Creates a worker that runs functions on the thread that calls them, for the lowest latency. The pool must be
    /// running with at least one worker while it is used.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let wasm = wat::parse_str(
    ///     r#"(module (func (export "add") (param i32 i32) (result i32)
    ///         local.get 0 local.get 1 i32.add))"#,
    /// )?;
    /// wpc.define_worker_function("add", &wasm)?;
    /// wpc.start_workers(1)?;
    ///
    /// let mut here = wpc.local_worker();
    /// assert_eq!(here.call::<i32>("add", (40, 2))?, 42);
    /// let add = wpc.function::<(i32, i32), i32>("add")?;
    /// assert_eq!(here.call_function(&add, (40, 2))?, 42);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn local_worker(&self) -> LocalWorker {
        LocalWorker { lifecycle: Arc::clone(&self.0), state: None, last: None }
    }
}

impl LocalWorker {
    /// Calls a function on this thread and returns its value, otherwise like [`WorkerProcedureCall::call`].
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call or to fail it, see [`Error`].
    pub fn call<R: DeserializeOwned + 'static>(
        &mut self,
        name: &str,
        arguments: impl Serialize,
    ) -> Result<R, Error> {
        self.call_with(name, arguments, &CallOptions::new()).map(|answer| answer.value)
    }

    /// Like [`call`](Self::call), with options for this call, and returns the call's metadata as well. The options
    /// `affinity` and `wait_for_capacity` only matter if the call is made on the pool instead.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call or to fail it, see [`Error`].
    pub fn call_with<R: DeserializeOwned + 'static>(
        &mut self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> Result<Answer<R>, Error> {
        let Self { lifecycle, state, .. } = self;
        let pool = &lifecycle.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        let answer = if function.types.covers::<_, R>(&arguments) {
            let read = |reply: BorrowedReply<'_>| reply.value(|| function.callee());
            run(pool, state, &function, &arguments, options, read)
                .inspect_err(|error| count_refused(&function, error))
        } else {
            run_compared(pool, state, &function, &arguments, options)
        };
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => intake::submit_by_name(pool, function, &arguments, options)?.wait_answer(),
            Err(error) => Err(*error),
        }
    }

    /// Calls a function on this thread through a typed handle of the same pool; its types are checked once for each definition.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCallOptions`] for a handle of another pool, or any other reason to refuse a call or to fail it, see
    /// [`Error`].
    pub fn call_function<P: Parameters, R: DeserializeOwned + Schema + 'static>(
        &mut self,
        function: &Function<P, R>,
        arguments: impl Arguments<P>,
    ) -> Result<R, Error> {
        let registry = &self.lifecycle.pool.registry;
        let is_current = |last: &Last| {
            Arc::ptr_eq(&last.name, function.name()) && registry.is_current(&last.found)
        };
        if !self.last.as_ref().is_some_and(is_current) {
            self.switch_to(function)?;
        }
        let Some(found) = self.last.as_ref().map(|last| &last.function) else {
            return self.call(function.name(), arguments);
        };
        let (pool, options) = (&self.lifecycle.pool, CallOptions::new());
        let found = intake::defined(pool, Some(found), function.name())?;
        function.check_again(found)?;
        let read = |reply: BorrowedReply<'_>| reply.value(|| found.callee());
        match run(pool, &mut self.state, found, &arguments, &options, read) {
            Ok(Some(answer)) => Ok(answer.value),
            Ok(None) => intake::submit(pool, Arc::clone(found), &arguments, &options)?.wait(),
            Err(error) => {
                count_refused(found, &error);
                Err(*error)
            }
        }
    }

    /// Makes the handle's current function the one that was called last.
    #[cold]
    fn switch_to<P, R>(&mut self, function: &Function<P, R>) -> Result<(), Error> {
        if !Arc::ptr_eq(function.lifecycle(), &self.lifecycle) {
            // The supervisor of this pool would not interrupt the guest.
            return Err(Error::InvalidCallOptions {
                function: function.name().to_string(),
                problem: "the handle belongs to a different pool than this local worker; get one from `function` of this worker's pool"
                    .to_owned(),
            });
        }
        let found = self.lifecycle.pool.registry.find(function.name());
        self.last = found.map(|(current, found)| {
            let name = Arc::clone(function.name());
            Last { name, function: current, found }
        });
        Ok(())
    }

    /// The worker's id, as in events and replies; `None` until it has run a call.
    #[must_use]
    pub fn id(&self) -> Option<WorkerId> {
        self.state.as_ref().map(|state| state.local.worker().id)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.pool.forget_local(self.local.worker());
    }
}

/// Like [`run`], and compares the types with those that the function declares.
#[cold]
fn run_compared<A: Serialize, R: DeserializeOwned + 'static>(
    pool: &Arc<Pool>,
    kept: &mut Option<Box<State>>,
    function: &Arc<registry::Function>,
    arguments: &A,
    options: &CallOptions,
) -> Result<Option<Answer<R>>, Box<Error>> {
    let check = intake::compare::<A, R>(function)
        .inspect_err(|error| function.meter.count_elsewhere(error.code()))?;
    let unproven = check.unproven_result();
    let read = |reply: BorrowedReply<'_>| match &unproven {
        None => reply.value(|| function.callee()),
        Some(declared) => reply.compared(function.callee(), declared),
    };
    let mut is_refused = false;
    let answer = check.arguments(arguments, |arguments| {
        run(pool, kept, function, arguments, options, read)
            .inspect_err(|error| is_refused = Refused::caused(error))
    });
    answer.inspect_err(|error| {
        if is_refused {
            function.meter.count_elsewhere(error.code());
        }
    })
}

/// Counts a call whose arguments were refused while they were encoded into the guest's buffer. The worker does not count
/// it, because it does not know whether their types were the reason.
#[cold]
fn count_refused(function: &registry::Function, error: &Error) {
    if Refused::caused(error) {
        function.meter.count_elsewhere(error.code());
    }
}

/// Runs a call on this thread and returns its answer, or `None` if this worker does not admit the function at the moment.
#[inline]
fn run<R>(
    pool: &Arc<Pool>,
    kept: &mut Option<Box<State>>,
    function: &Arc<registry::Function>,
    arguments: &impl Serialize,
    options: &CallOptions,
    read: impl FnOnce(BorrowedReply<'_>) -> Result<R, Box<Error>>,
) -> Result<Option<Answer<R>>, Box<Error>> {
    let definition = check_stack(pool, &function.name)
        .and_then(|()| intake::check_plain(pool, function, options))
        .inspect_err(|error| function.meter.count_elsewhere(error.code()))?;
    let time_limit = intake::time_limit(pool, definition, options);
    // A worker that was interrupted, because a stop timed out, is not used again after the next start.
    let mut state = match kept.take().filter(|state| !state.local.worker().is_interrupted()) {
        Some(mut state) => {
            state.renew(function, definition, time_limit);
            state
        }
        None => Box::new(State::new(pool, function, definition, time_limit)),
    };
    let State { local, job, spare, .. } = &mut *state;
    if options.context.is_some() || job.call.context.is_some() {
        set_context(job, options);
    }
    (job.fuel, job.is_trial) = (intake::fuel(definition, options), false);
    let arguments = Unencoded::new(arguments, spare, definition.limits.arguments);
    let value = local.run(job, arguments, &pool.is_open, read);
    let metadata = local.metadata(job);
    *kept = Some(state);
    Ok(value?.map(|value| Answer { value, metadata }))
}

fn new_call(
    id: CallId,
    function: &registry::Function,
    definition: &Definition,
    time_limit: Duration,
) -> Arc<Call> {
    let name = Arc::clone(&function.name);
    Arc::new(Call::with_lazy_deadline(id, name, definition.generation, time_limit))
}

#[cold]
fn set_context(job: &mut Job, options: &CallOptions) {
    // The call was just renewed or created, so it has no other owner.
    if let Some(call) = Arc::get_mut(&mut job.call) {
        call.context.clone_from(&options.context);
    }
}

/// Refuses a call that might overflow the thread's stack. If the system does not report how much is left, the stack is
/// assumed to be large enough.
#[inline]
pub(super) fn check_stack(pool: &Pool, function: &str) -> Result<(), Error> {
    let needed = pool.options.max_wasm_stack + HOST_STACK;
    match stacker::remaining_stack() {
        Some(left) if left < needed => Err(too_little_stack(function, left, needed)),
        _ => Ok(()),
    }
}

#[cold]
fn too_little_stack(function: &str, left: usize, needed: usize) -> Error {
    let problem = format!(
        "this thread has {left} bytes of stack left, but a local call needs {needed} (`Options::max_wasm_stack` plus {HOST_STACK}); create the thread with a larger stack, or call the function on the pool"
    );
    Error::InvalidCallOptions { function: function.to_owned(), problem }
}
