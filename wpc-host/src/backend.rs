//! The interface between a server and the pool that runs its calls, or a client of pools on other machines.

use crate::call::fuel_meter::FuelMeter;
use crate::call::reply::ReplyMetadata;
use crate::call::stream::StreamError;
use crate::error::Error;
use crate::event::EventSubscription;
use crate::event::observer::FinishedCallSampler;
use crate::id::{CallId, FunctionHash};
use crate::information::{
    ClusterInformation, FunctionHealth, FunctionInformation, PoolHealth, PoolMetrics,
};
use crate::options::{CallOptions, StreamOptions};
use futures_core::Stream;
use serde_json::{Map, Value};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Runs calls by name for a server. A pool implements it. A server that uses only this trait can also serve functions that
/// run elsewhere. Requires the feature `json`.
///
/// Its methods do not block. Every accepted call completes exactly once.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use wpc_host::{Backend, CallArguments, CallOptions, Options, ReplyFormat, ReplyValue, WorkerProcedureCall};
///
/// let wpc = WorkerProcedureCall::new(Options::default())?;
/// # let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
/// #     local.get 0 f64.const 2 f64.div))"#)?;
/// wpc.define_worker_function("half", &wasm)?;
/// wpc.start_workers(1)?;
/// let backend: &dyn Backend = &wpc;
/// let arguments = CallArguments::Positional(vec![json!(3)]);
/// let call = backend.submit("half", arguments, ReplyFormat::Json, &CallOptions::new())?;
/// let reply = pollster::block_on(call)?;
/// assert_eq!(reply.value, ReplyValue::Json(json!(1.5)));
/// # Ok(()) }
/// ```
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Submits a call. Its result will have this format.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call. [`Error::BadArguments`] if the arguments do not have the function's types.
    fn submit(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error>;

    /// Submits a call and returns its items as a stream, followed by its result. Both will be JSON.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call.
    fn stream(
        &self,
        function: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error>;

    /// Information about a function; `None` if it is not defined.
    fn function(&self, name: &str) -> Option<FunctionInformation>;

    /// The defined functions, sorted by name.
    fn functions(&self) -> Vec<FunctionInformation>;

    /// Passes the names of the defined functions to `visit`, in any order, until it returns `false`.
    fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool);

    /// The SHA-1 of a function's module; `None` if the function is not defined. It costs one look-up.
    fn function_hash(&self, name: &str) -> Option<FunctionHash>;

    /// A number that changes with every change to the functions that [`functions`](Self::functions) lists, so that data derived
    /// from the list can be cached. Other changes may change it too. Calls do not change it.
    fn definitions_version(&self) -> u64;

    /// Closes the circuit breaker of a function and ends its backoff; returns whether that changed anything.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`].
    fn revive(&self, function: &str) -> Result<bool, Error>;

    /// Creates a sandbox of a function on each worker. Dropping the future cancels that.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`], or why a sandbox cannot be created.
    fn warm(&self, function: &str) -> Warming;

    /// Subscribes to events. The subscription keeps at most `capacity` events that were not read.
    fn subscribe(&self, capacity: usize) -> EventSubscription;

    /// Passes every call that has run to the sampler, on the thread that ran it, until another sampler replaces it or `None`
    /// removes it. It does not replace an [observer](crate::WorkerProcedureCall::observe_finished_calls). The sampler must
    /// not block; it adds its own time and about 100 ns to each call. By default nothing is sampled.
    fn sample_finished_calls(&self, sampler: Option<FinishedCallSampler>) {
        drop(sampler);
    }

    /// The current metrics.
    fn metrics(&self) -> PoolMetrics;

    /// The processes that run the functions together with this one. Default `None`: there is only this one.
    fn cluster(&self) -> Option<ClusterInformation> {
        None
    }

    /// Makes a node of a cluster refuse calls from other processes, or accept them again, because an operator drains the server. The
    /// server itself decides about calls of its own clients. By default there are no other processes.
    fn set_draining(&self, is_draining: bool) {
        let _ = is_draining;
    }

    /// The health of the workers, which probes read often. By default it is taken from the metrics.
    fn health(&self) -> PoolHealth {
        PoolHealth::from(&self.metrics())
    }

    /// The health of each function, sorted by name. By default it is derived from the metrics, which do not contain reasons.
    fn function_health(&self) -> Vec<FunctionHealth> {
        self.metrics().functions.into_iter().map(FunctionHealth::from).collect()
    }
}

/// The future of [`Backend::warm`].
pub type Warming = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The arguments of a call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CallArguments {
    /// JSON, by position.
    Positional(Vec<Value>),
    /// JSON, by parameter name. A parameter may be absent if its type has a value `null`.
    Named(Map<String, Value>),
    /// Postcard, as `docs/abi.md` describes it.
    Encoded(Vec<u8>),
    /// The content of the only argument, which is a byte sequence or a string.
    Bytes(Vec<u8>),
}

/// The format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyFormat {
    /// JSON, converted by the declared type.
    Json,
    /// The same as text in UTF-8, which takes less time and memory if the value is only passed on.
    JsonText,
    /// Postcard, as `docs/abi.md` describes it.
    Encoded,
    /// The content of the result, which is a byte sequence or a string.
    Bytes,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ReplyValue {
    /// In the format [`ReplyFormat::Json`].
    Json(Value),
    /// In the format [`ReplyFormat::JsonText`].
    JsonText(Vec<u8>),
    /// In the format [`ReplyFormat::Encoded`].
    Encoded(Vec<u8>),
    /// In the format [`ReplyFormat::Bytes`].
    Bytes(Vec<u8>),
}

/// The result of a call with its metadata.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BackendReply {
    /// The value, in the requested format.
    pub value: ReplyValue,
    /// Which module and worker answered, and the fuel used.
    pub metadata: ReplyMetadata,
}

impl BackendReply {
    /// A reply with this value.
    #[must_use]
    pub fn new(value: ReplyValue, metadata: ReplyMetadata) -> Self {
        Self { value, metadata }
    }
}

type Reply = Pin<Box<dyn Future<Output = Result<BackendReply, Error>> + Send>>;

/// A submitted call of a [`Backend`]: the future of its reply. Dropping it cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct SubmittedCall {
    id: CallId,
    function_hash_sha1: FunctionHash,
    fuel: FuelMeter,
    reply: Reply,
}

impl fmt::Debug for SubmittedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmittedCall").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SubmittedCall {
    /// A call with its number, the hash of the module that it runs, and its reply.
    pub fn new(
        id: CallId,
        function_hash_sha1: FunctionHash,
        reply: impl Future<Output = Result<BackendReply, Error>> + Send + 'static,
    ) -> Self {
        let fuel = FuelMeter::default();
        Self { id, function_hash_sha1, fuel, reply: Box::pin(reply) }
    }

    /// Sets what reads the fuel of the call. Without it, only the fuel of calls that succeed is known, from their metadata.
    pub fn with_fuel_meter(mut self, fuel: FuelMeter) -> Self {
        self.fuel = fuel;
        self
    }

    /// Reads the fuel of the call, even after this call was dropped.
    #[must_use]
    pub fn fuel_meter(&self) -> FuelMeter {
        self.fuel.clone()
    }

    /// The call's number.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.id
    }

    /// The SHA-1 of the module that it runs.
    #[must_use]
    pub fn function_hash_sha1(&self) -> FunctionHash {
        self.function_hash_sha1
    }
}

impl Future for SubmittedCall {
    type Output = Result<BackendReply, Error>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        self.reply.as_mut().poll(context)
    }
}

/// A part of a [`SubmittedStream`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StreamPart {
    /// An item.
    Item(Value),
    /// The function's result, the last part.
    Reply(BackendReply),
}

type Parts = Pin<Box<dyn Stream<Item = Result<StreamPart, StreamError>> + Send>>;

/// A submitted call of a [`Backend`], as a stream of the items that its function yields, followed by its result or error.
/// Dropping it cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct SubmittedStream {
    id: CallId,
    function_hash_sha1: FunctionHash,
    fuel: FuelMeter,
    parts: Parts,
}

impl fmt::Debug for SubmittedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmittedStream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SubmittedStream {
    /// A call with its number, the hash of the module that it runs, and its parts.
    pub fn new(
        id: CallId,
        function_hash_sha1: FunctionHash,
        parts: impl Stream<Item = Result<StreamPart, StreamError>> + Send + 'static,
    ) -> Self {
        let fuel = FuelMeter::default();
        Self { id, function_hash_sha1, fuel, parts: Box::pin(parts) }
    }

    /// Sets what reads the fuel of the call. Without it, only the fuel of calls that succeed is known, from their metadata.
    pub fn with_fuel_meter(mut self, fuel: FuelMeter) -> Self {
        self.fuel = fuel;
        self
    }

    /// Reads the fuel of the call, even after this stream was dropped.
    #[must_use]
    pub fn fuel_meter(&self) -> FuelMeter {
        self.fuel.clone()
    }

    /// The call's number.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.id
    }

    /// The SHA-1 of the module that it runs.
    #[must_use]
    pub fn function_hash_sha1(&self) -> FunctionHash {
        self.function_hash_sha1
    }
}

impl Stream for SubmittedStream {
    type Item = Result<StreamPart, StreamError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.parts.as_mut().poll_next(context)
    }
}
