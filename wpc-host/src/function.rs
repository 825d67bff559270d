//! A typed handle: a function looked up and checked once, called many times.

use crate::arguments::{Arguments, Parameters};
use crate::call_future::CallFuture;
use crate::config::CallOptions;
use crate::error::Error;
use crate::intake;
use crate::lifecycle::Lifecycle;
use crate::pending::PendingCall;
use crate::registry;
use crate::signature;
use postcard_schema::schema::owned::OwnedNamedType;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use wpc_abi::describe::NamedType;
use wpc_abi::schema::agree;
use wpc_abi::section::Signature;
use wpc_abi::text::type_text;

/// A function with the types of its arguments and its result; made by
/// [`WorkerProcedureCall::function`](crate::WorkerProcedureCall::function), cheap to clone.
///
/// It follows redefinitions: calls go to what is defined at that moment. The types were checked
/// when the handle was made; a redefinition with others is noticed when bytes do not decode.
pub struct Function<P, R> {
    /// Keeps the pool alive.
    lifecycle: Arc<Lifecycle>,
    name: Arc<str>,
    slot: Arc<registry::Slot>,
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
            slot: Arc::clone(&self.slot),
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

    pub(crate) fn slot(&self) -> &Arc<registry::Slot> {
        &self.slot
    }
}

impl<P: Parameters, R: DeserializeOwned + wpc_abi::Schema + 'static> Function<P, R> {
    pub(crate) fn new(lifecycle: Arc<Lifecycle>, name: &str) -> Result<Self, Error> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        let slot = lifecycle.pool.registry.slot(name).ok_or_else(undefined)?;
        let function = slot.load_full().ok_or_else(undefined)?;
        if let Some(signature) = signature::known(function.export()) {
            check::<P, R>(name, &signature)?;
        }
        Ok(Self { name: Arc::clone(&function.name), slot, lifecycle, types: PhantomData })
    }

    /// Calls the function and blocks until it is answered.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with or end with, see [`Error`].
    pub fn call(&self, arguments: impl Arguments<P>) -> Result<R, Error> {
        self.submit(arguments)?.wait()
    }

    /// Like [`call`](Self::call), with options for this call.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with or end with, see [`Error`].
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
    /// The future ends with everything a call can be refused with or end with, see [`Error`].
    pub fn call_async(&self, arguments: impl Arguments<P>) -> CallFuture<R> {
        CallFuture::new(self.submit(arguments))
    }

    /// Like [`call_async`](Self::call_async), with options for this call.
    ///
    /// # Errors
    ///
    /// The future ends with everything a call can be refused with or end with, see [`Error`].
    pub fn call_async_with(
        &self,
        arguments: impl Arguments<P>,
        options: &CallOptions,
    ) -> CallFuture<R> {
        CallFuture::new(self.submit_with(arguments, options))
    }

    /// Sends a call off, to be waited for later.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with, see [`Error`].
    pub fn submit(&self, arguments: impl Arguments<P>) -> Result<PendingCall<R>, Error> {
        self.submit_with(arguments, &CallOptions::new())
    }

    /// Sends a call off with choices of its own, to be waited for later.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with, see [`Error`].
    pub fn submit_with(
        &self,
        arguments: impl Arguments<P>,
        options: &CallOptions,
    ) -> Result<PendingCall<R>, Error> {
        let pool = &self.lifecycle.pool;
        // Undefined and defined again, the name may stand elsewhere.
        let function = self.slot.load_full().or_else(|| pool.registry.function(&self.name));
        intake::submit(pool, function, &self.name, &arguments, options)
    }
}

fn check<P: Parameters, R: wpc_abi::Schema>(name: &str, told: &Signature) -> Result<(), Error> {
    let mismatch = |part: String, expected: String, found: String| Error::SignatureMismatch {
        function: name.to_owned(),
        part,
        expected,
        found,
    };
    let expected = P::schemas();
    if expected.len() != told.arguments.len() {
        let expected = format!("{} arguments", expected.len());
        let found = format!("{} arguments", told.arguments.len());
        return Err(mismatch("number of arguments".to_owned(), expected, found));
    }
    for (at, (expected, told)) in expected.iter().zip(&told.arguments).enumerate() {
        compare(expected, told.ty.as_ref()).map_err(|(expected, found)| {
            mismatch(format!("type of argument {} (`{}`)", at + 1, told.name), expected, found)
        })?;
    }
    compare(R::SCHEMA, told.result.as_ref())
        .map_err(|(expected, found)| mismatch("result type".to_owned(), expected, found))
}

fn compare(expected: &NamedType, told: Option<&OwnedNamedType>) -> Result<(), (String, String)> {
    let Some(told) = told else { return Ok(()) };
    let expected = OwnedNamedType::from(expected);
    if agree(&expected, told) {
        return Ok(());
    }
    Err((type_text(&expected), type_text(told)))
}
