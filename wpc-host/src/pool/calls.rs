//! Calls by name: blocking, as a future, or pending.

use crate::call::future::CallFuture;
use crate::call::pending::PendingCall;
use crate::codec::arguments::Parameters;
use crate::error::Error;
use crate::options::CallOptions;
use crate::pool::function::Function;
use crate::pool::{WorkerProcedureCall, intake};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl WorkerProcedureCall {
    /// Calls a function and blocks until it is answered, see [`PendingCall::wait`]. `arguments` is a
    /// tuple: `(a, b)`, `(a,)`, `()`.
    ///
    /// The types of the arguments and of the result are compared with those that the function declares, until they are
    /// proven; see [checked calls](crate#checked-calls). Each integer must have exactly the declared type: write
    /// `1u64` for a `u64`. Calls to a module that declares no types are not checked.
    ///
    /// # Errors
    ///
    /// [`Error::SignatureMismatch`] if the types differ, or any other reason to refuse a call or to fail it, see
    /// [`Error`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Error, Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # let wasm = wat::parse_str(r#"(module (func (export "double") (param i64) (result i64)
    /// #     local.get 0 i64.const 2 i64.mul))"#)?;
    /// wpc.define_worker_function("double", &wasm)?;
    /// wpc.start_workers(1)?;
    /// assert_eq!(wpc.call::<i64>("double", (21i64,))?, 42);
    /// // The literal is an `i32`.
    /// let refused = wpc.call::<i64>("double", (21,));
    /// assert!(matches!(refused, Err(Error::SignatureMismatch { .. })));
    /// # Ok(()) }
    /// ```
    pub fn call<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> Result<R, Error> {
        self.submit(name, arguments)?.wait()
    }

    /// Like [`call`](Self::call), with options for this call.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call or to fail it, see [`Error`].
    pub fn call_with<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> Result<R, Error> {
        self.submit_with(name, arguments, options)?.wait()
    }

    /// Submits a call and returns its answer as a future, under any async runtime. The call is submitted now, not when the
    /// future is first polled. Dropping the future cancels the call.
    ///
    /// # Errors
    ///
    /// The future resolves to any reason to refuse a call or to fail it, see [`Error`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # wpc.define_worker_function("add", wat::parse_str(r#"(module (func (export "add") (param i32 i32) (result i32)
    /// #     local.get 0 local.get 1 i32.add))"#)?)?;
    /// # wpc.start_workers(2)?;
    /// # pollster::block_on(async {
    /// // Both run at the same time.
    /// let (one, other) = (wpc.call_async("add", (1, 2)), wpc.call_async("add", (30, 4)));
    /// let (one, other): (i32, i32) = (one.await?, other.await?);
    /// assert_eq!(one + other, 37);
    /// # Ok(()) }) }
    /// ```
    pub fn call_async<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> CallFuture<R> {
        CallFuture::new(self.submit(name, arguments))
    }

    /// Like [`call_async`](Self::call_async), with options for this call.
    ///
    /// # Errors
    ///
    /// The future resolves to any reason to refuse a call or to fail it, see [`Error`].
    pub fn call_async_with<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> CallFuture<R> {
        CallFuture::new(self.submit_with(name, arguments, options))
    }

    /// Submits a call without waiting for its answer, so that many can be submitted before their answers are collected.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn submit<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> Result<PendingCall<R>, Error> {
        self.submit_with(name, arguments, &CallOptions::new())
    }

    /// Like [`submit`](Self::submit), with options for this call.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn submit_with<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> Result<PendingCall<R>, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        intake::submit_by_name(pool, function, &arguments, options)
    }

    /// Returns a typed handle to a function. The function is looked up once, and its types are compared with those that
    /// the module declares once for each definition. `P` is the tuple of its parameters.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`], or [`Error::SignatureMismatch`] with the first part of the types that differs.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    /// #     local.get 0 f64.const 2 f64.div))"#)?;
    /// wpc.define_worker_function("half", &wasm)?;
    /// wpc.start_workers(1)?;
    /// let half = wpc.function::<(f64,), f64>("half")?;
    /// assert_eq!(half.call((3.0,))?, 1.5);
    /// assert!(wpc.function::<(String,), f64>("half").is_err());
    /// # Ok(()) }
    /// ```
    pub fn function<P: Parameters, R: DeserializeOwned + wpc_abi::Schema + 'static>(
        &self,
        name: &str,
    ) -> Result<Function<P, R>, Error> {
        Function::new(Arc::clone(&self.0), name)
    }
}
