//! Async forms of the methods that define, start, stop and warm. None of them blocks its caller's thread.

use super::{Applied, Changes, WorkerProcedureCall};
use crate::definition::WasmModule;
use crate::error::Error;
use crate::information::FunctionInformation;
use crate::pool::intake;
use crate::pool::lifecycle::Lifecycle;
use crate::registry::{Change, Outcome, Registry};
use crate::system::background::{Dropped, Interest};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A definition, start, stop or warm-up in progress, as a future under any async runtime.
///
/// The work began on a thread of the pool when the future was created. The future keeps the pool alive. The method that
/// returns it documents what dropping it does.
#[must_use = "await it to learn the result"]
pub struct Operation<T> {
    // Dropped in this order: the last handle waits for the workers.
    future: Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>,
    _pool: Arc<Lifecycle>,
}

impl<T> std::fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(context)
    }
}

/// Async forms of the blocking methods. Each returns at once. The work is done on threads of the pool, which end when they
/// have nothing to do.
impl WorkerProcedureCall {
    /// Like [`define_worker_function`](Self::define_worker_function), for async tasks. Up to four definitions are
    /// processed at a time; further ones wait.
    ///
    /// Dropping the future withdraws the definition. If it was already being published, it is completed; otherwise nothing
    /// is changed. It never replaces a definition of the same name that begins after the drop. A compilation that has
    /// begun runs to the end.
    ///
    /// # Errors
    ///
    /// Those of [`define_worker_function`](Self::define_worker_function); [`Error::OsLimit`] or [`Error::StartFailed`] if no
    /// thread could be created.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # let wasm = wat::parse_str(r#"(module (func (export "add") (param i32 i32) (result i32)
    /// #     local.get 0 local.get 1 i32.add))"#)?;
    /// # pollster::block_on(async {
    /// wpc.start_workers_async(2).await?;
    /// wpc.define_worker_function_async("add", wasm).await?;
    /// assert_eq!(wpc.call_async::<i32>("add", (40, 2)).await?, 42);
    /// wpc.stop_workers_async().await?;
    /// # Ok(()) }) }
    /// ```
    pub fn define_worker_function_async(
        &self,
        name: &str,
        module: impl Into<WasmModule>,
    ) -> Operation<FunctionInformation> {
        let change = Change::Function { name: name.to_owned(), source: module.into() };
        let name = name.to_owned();
        self.change_registry(change, move |wpc, outcome| wpc.defined_information(&name, &outcome))
    }

    /// Like [`define_worker_module`](Self::define_worker_module), for async tasks. Dropping the future withdraws the
    /// definition, see [`define_worker_function_async`](Self::define_worker_function_async): all of the module's functions
    /// are defined, or none.
    ///
    /// # Errors
    ///
    /// Those of [`define_worker_module`](Self::define_worker_module); [`Error::OsLimit`] or [`Error::StartFailed`] if no
    /// thread could be created.
    pub fn define_worker_module_async(
        &self,
        module: impl Into<WasmModule>,
    ) -> Operation<Vec<FunctionInformation>> {
        let change = Change::Module { source: module.into(), replaced: Vec::new() };
        self.change_registry(change, |wpc, outcome| Ok(wpc.informations(&outcome)))
    }

    /// Like [`define_worker_dependency`](Self::define_worker_dependency), for async tasks. Dropping the future withdraws the
    /// definition, see [`define_worker_function_async`](Self::define_worker_function_async): all functions that reach the
    /// dependency are linked to it, or none.
    ///
    /// # Errors
    ///
    /// Those of [`define_worker_dependency`](Self::define_worker_dependency); [`Error::OsLimit`] or
    /// [`Error::StartFailed`] if no thread could be created.
    pub fn define_worker_dependency_async(
        &self,
        alias: &str,
        module: impl Into<WasmModule>,
    ) -> Operation<()> {
        let change = Change::Dependency { alias: alias.to_owned(), source: module.into() };
        self.change_registry(change, |_, _| Ok(()))
    }

    /// Like [`apply`](Self::apply), for async tasks. Dropping the future withdraws the changes, see
    /// [`define_worker_function_async`](Self::define_worker_function_async): all of them are made, or none.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply); [`Error::OsLimit`] or [`Error::StartFailed`] if no thread could be created.
    pub fn apply_async(&self, changes: Changes) -> Operation<Applied> {
        let Changes { changes, on_refusal } = changes;
        self.define_in_background(
            move |registry, interest| registry.apply(changes, on_refusal, interest),
            |wpc, result| wpc.after_changes(result),
        )
    }

    /// Like [`start_workers`](Self::start_workers), for async tasks. Dropping the future does not end the start: the pool
    /// runs afterwards unless the start fails.
    ///
    /// # Errors
    ///
    /// Those of [`start_workers`](Self::start_workers).
    pub fn start_workers_async(&self, count: usize) -> Operation<()> {
        self.change_in_background(move |lifecycle| lifecycle.start(count))
    }

    /// Like [`stop_workers`](Self::stop_workers), for async tasks. Dropping the future does not end the stop, which
    /// continues until all workers have ended.
    ///
    /// # Errors
    ///
    /// [`Error::OsLimit`] or [`Error::StartFailed`] if no thread could be created to wait for the workers. In that case, the
    /// pool keeps running.
    pub fn stop_workers_async(&self) -> Operation<()> {
        self.change_in_background(|lifecycle| {
            lifecycle.stop(lifecycle.pool.options.stop_timeout);
            Ok(())
        })
    }

    /// Like [`warm_worker_function`](Self::warm_worker_function), for async tasks. Dropping the future cancels the
    /// sandboxes that are not ready yet.
    ///
    /// # Errors
    ///
    /// Those of [`warm_worker_function`](Self::warm_worker_function).
    pub fn warm_worker_function_async(&self, name: &str) -> Operation<()> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        let function = self.registry().function(name).ok_or_else(undefined);
        let calls = function.and_then(|function| intake::warm(&self.0.pool, &function));
        self.operation(async move {
            // Awaits all of them, even if one fails.
            let mut result = Ok(());
            for call in calls? {
                result = result.and(call.answer_encoded().await.map(drop));
            }
            result
        })
    }

    fn operation<T>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Operation<T> {
        Operation { future: Box::pin(future), _pool: Arc::clone(&self.0) }
    }

    /// Makes one change on a thread of the pool.
    fn change_registry<T: Send + 'static>(
        &self,
        change: Change,
        finish: impl FnOnce(&Self, Outcome) -> Result<T, Error> + Send + 'static,
    ) -> Operation<T> {
        let (kind, name) = (change.kind(), change.name());
        self.define_in_background(
            move |registry, interest| registry.apply_one(change, interest),
            move |wpc, result| {
                wpc.after_change(kind, &name, result).and_then(|outcome| finish(wpc, outcome))
            },
        )
    }

    /// Runs `define` on a thread of the pool, then `finish` with its result.
    fn define_in_background<D, T: Send + 'static>(
        &self,
        define: impl FnOnce(&Registry, &Interest) -> Result<D, Error> + Send + 'static,
        finish: impl FnOnce(&Self, Result<D, Error>) -> Result<T, Error> + Send + 'static,
    ) -> Operation<T> {
        // A compilation whose caller has dropped every handle must not keep the workers running.
        let (pool, lifecycle) = (Arc::clone(&self.0.pool), Arc::downgrade(&self.0));
        let outcome = self.0.definitions.run(Dropped::IsWithdrawn, move |interest| {
            let defined = define(&pool.registry, interest);
            match lifecycle.upgrade() {
                Some(lifecycle) if defined.is_ok() || !interest.has_ended() => {
                    finish(&Self(lifecycle), defined)
                }
                // No handle exists any more, so this result is not read.
                _ => Err(Error::NotRunning),
            }
        });
        self.operation(async move { outcome?.await })
    }

    fn change_in_background(
        &self,
        change: impl FnOnce(&Lifecycle) -> Result<(), Error> + Send + 'static,
    ) -> Operation<()> {
        let lifecycle = Arc::clone(&self.0);
        let outcome = self.0.changes.run(Dropped::Continues, move |_| change(&lifecycle));
        self.operation(async move { outcome?.await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::system::background::Background;
    use std::sync::mpsc::sync_channel;

    /// Runs `run` with an interest that has ended, as when the outcome of a running task is dropped.
    fn with_ended_interest<T: Send + 'static>(
        run: impl FnOnce(&Interest) -> T + Send + 'static,
    ) -> T {
        let (go, gone) = sync_channel::<()>(1);
        let (begin, begun) = sync_channel(1);
        let (give, given) = sync_channel(1);
        let outcome = Background::new("wpc-test", 1).run(Dropped::IsWithdrawn, move |interest| {
            begin.send(()).unwrap();
            gone.recv().unwrap();
            give.send(run(interest)).unwrap();
            Ok(())
        });
        begun.recv().unwrap();
        drop(outcome);
        go.send(()).unwrap();
        given.recv().unwrap()
    }

    #[test]
    fn a_definition_withdrawn_before_publication_changes_nothing() {
        let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
        let module = WasmModule::new(wat::parse_str(r#"(module (func (export "f")))"#).unwrap());
        let pool = Arc::clone(&wpc.0.pool);
        with_ended_interest(move |interest| {
            let registry = &pool.registry;
            let source = || module.clone();
            for change in [
                Change::Function { name: "f".to_owned(), source: source() },
                Change::Module { source: source(), replaced: Vec::new() },
                Change::Dependency { alias: "d".to_owned(), source: source() },
            ] {
                let result = registry.apply_one(change, interest);
                assert!(matches!(result, Err(Error::Cancelled { ran: false, .. })));
            }
        });
        assert_eq!(wpc.get_remote_functions(), []);
        assert_eq!(wpc.get_worker_dependencies(), []);
    }
}
