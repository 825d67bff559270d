//! A typed handle to a function. It is looked up once, and its types are checked once for each definition.

use crate::call::future::CallFuture;
use crate::call::pending::PendingCall;
use crate::codec::arguments::{Arguments, Parameters};
use crate::error::Error;
use crate::module::signature;
use crate::options::CallOptions;
use crate::pool::intake;
use crate::pool::lifecycle::Lifecycle;
use crate::registry;
use crate::sync::ArcSwap;
use postcard_schema::schema::owned::OwnedNamedType;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wpc_abi::compare::compare_signatures;
use wpc_abi::section::{Argument, Items, Signature};

/// A handle to a function with the types of its arguments and its result, returned by
/// [`WorkerProcedureCall::function`](crate::WorkerProcedureCall::function). It is cheap to clone.
///
/// It follows redefinitions: a call runs the current definition. The types are checked when the handle is created, and
/// again at the first call after a redefinition. If they differ then, calls are rejected with
/// [`Error::SignatureMismatch`] until the function is defined with the handle's types again. `docs/types.md` lists the
/// changes that are compatible.
pub struct Function<P, R> {
    /// Keeps the pool alive.
    lifecycle: Arc<Lifecycle>,
    name: Arc<str>,
    /// Where the last call found the function.
    found: ArcSwap<registry::Found>,
    /// The generation whose types were last compared and agreed. It needs no ordering: a handle that reads an outdated
    /// value only compares once more.
    checked: AtomicU64,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> std::fmt::Debug for Function<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<P, R> Clone for Function<P, R> {
    fn clone(&self) -> Self {
        Self {
            lifecycle: Arc::clone(&self.lifecycle),
            name: Arc::clone(&self.name),
            found: ArcSwap::default(),
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
            types: PhantomData,
        }
    }
}

impl<P, R> Function<P, R> {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// The current function of the name.
    #[inline]
    fn function(&self) -> Option<Arc<registry::Function>> {
        let registry = &self.lifecycle.pool.registry;
        registry.get_if_current(&self.found.load()).or_else(|| self.find())
    }

    #[cold]
    fn find(&self) -> Option<Arc<registry::Function>> {
        let (function, found) = self.lifecycle.pool.registry.find(&self.name)?;
        self.found.store(Arc::new(found));
        Some(function)
    }
}

impl<P: Parameters, R: DeserializeOwned + wpc_abi::Schema + 'static> Function<P, R> {
    pub(crate) fn new(lifecycle: Arc<Lifecycle>, name: &str) -> Result<Self, Error> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        let (function, found) = lifecycle.pool.registry.find(name).ok_or_else(undefined)?;
        let handle = Self {
            lifecycle,
            name: Arc::clone(&function.name),
            found: ArcSwap::default(),
            checked: AtomicU64::new(0),
            types: PhantomData,
        };
        handle.found.store(Arc::new(found));
        handle.check(&function)?;
        Ok(handle)
    }

    /// Checks that the current definition still has the handle's types. If not, the call is refused and counted.
    #[inline]
    pub(crate) fn check_again(&self, function: &registry::Function) -> Result<(), Error> {
        match &function.definition {
            Ok(definition) if definition.generation.0 == self.checked.load(Ordering::Relaxed) => {
                Ok(())
            }
            _ => self
                .check(function)
                .inspect_err(|error| function.meter.count_elsewhere(error.code())),
        }
    }

    #[cold]
    fn check(&self, function: &registry::Function) -> Result<(), Error> {
        check::<P, R>(function)?;
        if let Ok(definition) = &function.definition {
            self.checked.store(definition.generation.0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Calls the function and blocks until it is answered.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call or to fail it, see [`Error`].
    pub fn call(&self, arguments: impl Arguments<P>) -> Result<R, Error> {
        self.submit(arguments)?.wait()
    }

    /// Like [`call`](Self::call), with options for this call.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call or to fail it, see [`Error`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use wpc_host::{CallOptions, Error, Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # wpc.define_worker_function("spin", wat::parse_str(r#"(module (func (export "spin") (loop br 0)))"#)?)?;
    /// # wpc.start_workers(1)?;
    /// let spin = wpc.function::<(), ()>("spin")?;
    /// let limit = CallOptions::new().timeout(Duration::from_millis(20));
    /// assert!(matches!(spin.call_with((), &limit), Err(Error::Timeout { .. })));
    /// # Ok(()) }
    /// ```
    pub fn call_with(
        &self,
        arguments: impl Arguments<P>,
        options: &CallOptions,
    ) -> Result<R, Error> {
        self.submit_with(arguments, options)?.wait()
    }

    /// Submits a call and returns its answer as a future, under any async runtime. Dropping the future cancels the call.
    ///
    /// # Errors
    ///
    /// The future resolves to any reason to refuse a call or to fail it, see [`Error`].
    pub fn call_async(&self, arguments: impl Arguments<P>) -> CallFuture<R> {
        CallFuture::new(self.submit(arguments))
    }

    /// Like [`call_async`](Self::call_async), with options for this call.
    ///
    /// # Errors
    ///
    /// The future resolves to any reason to refuse a call or to fail it, see [`Error`].
    pub fn call_async_with(
        &self,
        arguments: impl Arguments<P>,
        options: &CallOptions,
    ) -> CallFuture<R> {
        CallFuture::new(self.submit_with(arguments, options))
    }

    /// Submits a call without waiting for its answer.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn submit(&self, arguments: impl Arguments<P>) -> Result<PendingCall<R>, Error> {
        self.submit_with(arguments, &CallOptions::new())
    }

    /// Like [`submit`](Self::submit), with options for this call.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn submit_with(
        &self,
        arguments: impl Arguments<P>,
        options: &CallOptions,
    ) -> Result<PendingCall<R>, Error> {
        intake::submit(&self.lifecycle.pool, self.checked()?, &arguments, options)
    }

    /// The current definition, which has the handle's types.
    #[inline]
    pub(crate) fn checked(&self) -> Result<Arc<registry::Function>, Error> {
        let function = intake::defined(&self.lifecycle.pool, self.function(), &self.name)?;
        self.check_again(&function)?;
        Ok(function)
    }
}

/// Compares the types of the handle with those that the function's module declares.
fn check<P: Parameters, R: wpc_abi::Schema>(function: &registry::Function) -> Result<(), Error> {
    let Some(declared) = signature::known(function.export()) else { return Ok(()) };
    let found = P::schemas()
        .into_iter()
        .map(|ty| Argument { name: String::new(), ty: Some(OwnedNamedType::from(ty)) });
    let found = Signature {
        name: declared.name.clone(),
        arguments: found.collect(),
        result: Some(OwnedNamedType::from(R::SCHEMA)),
        error: None,
        items: Items::None,
    };
    compare_signatures(&declared, &found).map_err(|difference| Error::SignatureMismatch {
        function: function.name.to_string(),
        part: difference.part,
        expected: difference.expected,
        found: difference.found,
        hint: None,
    })
}
