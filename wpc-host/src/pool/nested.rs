//! Calls on behalf of other calls: those of guests, and those of host functions for the call that they serve.

use super::WorkerProcedureCall;
use crate::call::Call;
use crate::call::future::CallFuture;
use crate::call::nested::{CalledFunction, NestedCalls};
use crate::call::pending::PendingCall;
use crate::codec::payload::check_size;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::host_function::HostContext;
use crate::module::signature;
use crate::pool::intake;
use crate::registry::Function;
use crate::supervisor::workers::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl WorkerProcedureCall {
    /// Like [`call_async`](Self::call_async), on behalf of the call that an async host function serves.
    ///
    /// The call ends at the latest when that one must end, and has its trace and correlation id. It is a
    /// [nested call](crate::WasmModule::grant_function): it finds a sandbox even if the callers of host functions use all
    /// those that calls from outside may use. Use [`call_async`](Self::call_async) for a call that may outlast the host
    /// function.
    ///
    /// # Errors
    ///
    /// The future resolves to [`Error::RecursiveCall`] or [`Error::CallDepth`] if the call cannot be nested, or to any other
    /// reason to refuse a call or to fail it, see [`Error`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let pool = wpc.clone();
    /// wpc.define_async_host_function("price_of", move |context, (item,): (String,)| {
    ///     let price = pool.call_async_for::<u32>(&context, "price", (item,));
    ///     async move { price.await }
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn call_async_for<R: DeserializeOwned + 'static>(
        &self,
        context: &HostContext,
        name: &str,
        arguments: impl Serialize,
    ) -> CallFuture<R> {
        let pool = &self.0.pool;
        CallFuture::new(defined(pool, name).and_then(|function| {
            intake::submit_by_name_for(pool, &context.call, function, &arguments)
        }))
    }
}

impl NestedCalls for Pool {
    fn submit(
        &self,
        caller: &Arc<Call>,
        called: &CalledFunction,
        arguments: Vec<u8>,
    ) -> Result<PendingCall<()>, Error> {
        let function = defined(self, &called.name)?;
        let encode = |function: &Function, limits: &Limits| {
            check_types(called, function)?;
            check_size(arguments.len(), limits.arguments)
                .map_err(|refused| refused.error(&function.name))?;
            Ok(arguments)
        };
        intake::submit_encoded_for(self, caller, function, encode).map(PendingCall::new)
    }
}

/// The function of this name. A pool that is stopping accepts nested calls as long as its workers run, because it lets
/// their callers finish.
fn defined(pool: &Pool, name: &str) -> Result<Arc<Function>, Error> {
    pool.registry.function(name).ok_or_else(|| {
        let error = Error::FunctionNotDefined { function: name.to_owned() };
        pool.registry.count_elsewhere(name, &error);
        error
    })
}

/// Compares the types that the calling module declares with those of the function, once for each definition of it.
fn check_types(called: &CalledFunction, function: &Function) -> Result<(), Error> {
    let Ok(definition) = &function.definition else { return Ok(()) };
    if called.fits(definition.generation) {
        return Ok(());
    }
    if let Some(found) = signature::known(function.export()) {
        let what = || format!("function \"{}\"", function.name);
        signature::check(&called.importer, what, &called.declared, &found)?;
    }
    called.set_fitting(definition.generation);
    Ok(())
}
