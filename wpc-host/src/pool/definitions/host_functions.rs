//! Defining functions of the embedder that guests can call.

use crate::codec::arguments::Parameters;
use crate::error::{Definable, Error};
use crate::host_function::{HostContext, HostFunction};
use crate::module::signature;
use crate::pool::WorkerProcedureCall;
use crate::registry::Change;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use wpc_abi::Schema;

impl WorkerProcedureCall {
    /// Defines a function of the embedder that guests can call, or replaces it. Only definitions with
    /// [`WasmModule::grant_host_function`](crate::WasmModule::grant_host_function) may import it; a guest written with the
    /// SDK declares it in `wpc::host!`. `A` is the tuple of its arguments. Its types are compared with those that modules
    /// declare for it; [`define_untyped_host_function`](Self::define_untyped_host_function) accepts types without
    /// [`Schema`](trait@crate::Schema).
    ///
    /// It runs on the worker's thread. Its error is returned to the guest as a value, and so is a panic. A slow function
    /// should check [`HostContext::should_end`]: the caller is answered at the call's time limit even if the function
    /// still runs, and a worker that does not return within
    /// [`unresponsive_worker_grace`](crate::Options::unresponsive_worker_grace) after that is abandoned and replaced. A
    /// closure that holds a clone of the pool keeps it alive.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], or [`Error::TypeMismatch`] if a defined module imports it with other types. In that case, the
    /// previous function stays active.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// use std::collections::HashMap;
    ///
    /// let store = HashMap::from([("answer".to_owned(), 42)]);
    /// wpc.define_host_function("lookup", move |_, (key,): (String,)| {
    ///     store.get(&key).copied().ok_or("unknown key")
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_host_function<A, R, E, F>(&self, name: &str, function: F) -> Result<(), Error>
    where
        A: DeserializeOwned + Parameters,
        R: Serialize + Schema,
        E: std::fmt::Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        self.change(host_function(name, function)).map(drop)
    }

    /// Like [`define_host_function`](Self::define_host_function) for types without
    /// [`Schema`](trait@crate::Schema). They are not compared with those that modules declare: if they differ, the
    /// arguments may silently decode to different values.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// // A recursive type has no schema.
    /// #[derive(serde::Deserialize)]
    /// struct Tree {
    ///     branches: Vec<Tree>,
    /// }
    ///
    /// wpc.define_untyped_host_function("count", |_, (tree,): (Tree,)| {
    ///     Ok::<_, String>(tree.branches.len() as u32)
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_untyped_host_function<A, R, E, F>(
        &self,
        name: &str,
        function: F,
    ) -> Result<(), Error>
    where
        A: DeserializeOwned,
        R: Serialize,
        E: std::fmt::Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        let function = HostFunction::inline(name, function);
        let (name, signature) = (name.to_owned(), None);
        self.change(Change::HostFunction { name, signature, function }).map(drop)
    }

    /// Like [`define_host_function`](Self::define_host_function) for a closure that may block, for instance on a file, a
    /// database or a lock. It runs on a helper thread, and the calling function is suspended meanwhile, as by
    /// [`define_async_host_function`](Self::define_async_host_function).
    ///
    /// If its call ends before it returns, its helper thread is abandoned, and replaced up to a bound; see
    /// [`Options::max_helper_threads`](crate::Options::max_helper_threads). The worker is not replaced. A closure that takes less than
    /// a few microseconds is faster on the worker's thread.
    ///
    /// # Errors
    ///
    /// Those of [`define_async_host_function`](Self::define_async_host_function).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// wpc.define_blocking_host_function("read", |_, (name,): (String,)| {
    ///     std::fs::read_to_string(std::path::Path::new("texts").join(name))
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_blocking_host_function<A, R, E, F>(
        &self,
        name: &str,
        function: F,
    ) -> Result<(), Error>
    where
        A: DeserializeOwned + Parameters,
        R: Serialize + Schema,
        E: std::fmt::Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        self.change(typed::<A, R>(name, HostFunction::blocking(name, function))).map(drop)
    }

    /// Like [`define_host_function`](Self::define_host_function) for a closure that returns a future. While the future is
    /// pending, the call is suspended, and its worker runs other calls. The future is polled on the worker's thread when it
    /// was woken, and dropped when its call should end.
    ///
    /// Timers and sockets of tokio work in it: it is polled within [`Options::runtime`](crate::Options::runtime).
    ///
    /// The functions that import it [can suspend](crate::FunctionInformation::can_suspend) from then on. If they could not
    /// before, they are linked again, and compiled again for fibers, before this method returns.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::TypeMismatch`] if a defined module imports it with other types; errors of compiling
    /// and linking the functions that import it. In that case, the previous function stays active.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// use std::time::Duration;
    ///
    /// wpc.define_async_host_function("pause", |_, (millis,): (u64,)| async move {
    ///     tokio::time::sleep(Duration::from_millis(millis)).await;
    ///     Ok::<_, String>(())
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_async_host_function<A, R, E, F, T>(
        &self,
        name: &str,
        function: F,
    ) -> Result<(), Error>
    where
        A: DeserializeOwned + Parameters,
        R: Serialize + Schema,
        E: std::fmt::Display,
        F: Fn(HostContext, A) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, E>> + Send + 'static,
    {
        self.change(typed::<A, R>(name, HostFunction::asynchronous(name, function))).map(drop)
    }

    /// Removes a host function; returns false if it was not defined. Calls to functions that need it are refused until it is
    /// defined again.
    pub fn undefine_host_function(&self, name: &str) -> bool {
        self.remove(Definable::HostFunction, name)
    }
}

/// The definition of a host function with the types of its arguments and result.
pub(super) fn host_function<A, R, E, F>(name: &str, function: F) -> Change
where
    A: DeserializeOwned + Parameters,
    R: Serialize + Schema,
    E: std::fmt::Display,
    F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
{
    typed::<A, R>(name, HostFunction::inline(name, function))
}

/// The definition of a host function that declares these types.
fn typed<A: Parameters, R: Schema>(name: &str, function: HostFunction) -> Change {
    let signature = Some(signature::of_types::<A, R>(name));
    Change::HostFunction { name: name.to_owned(), signature, function }
}
