//! Runs WebAssembly functions on a supervised pool of worker threads.
//!
//! Modules are compiled and defined by name while the pool runs. Any thread or async task calls their functions by
//! name, with typed arguments or JSON. A function that loops, traps, leaks or attacks the host is stopped and restarted
//! without affecting other functions. Start with [`WorkerProcedureCall`]. Functions are written in Rust with the crate
//! `wpc-guest-sdk`, or in any language by the contract of `docs/abi.md`.
//!
//! ```
//! use wpc_host::{Options, WorkerProcedureCall};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wpc = WorkerProcedureCall::new(Options::default())?;
//! wpc.define_worker_function(
//!     "double",
//!     wat::parse_str(
//!         r#"(module (func (export "double") (param i64) (result i64)
//!             local.get 0 i64.const 2 i64.mul))"#,
//!     )?,
//! )?;
//! wpc.start_workers(4)?;
//!
//! let twice: i64 = wpc.call("double", (21_i64,))?;
//! assert_eq!(twice, 42);
//! wpc.stop_workers();
//! # Ok(()) }
//! ```
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | module | a compiled `.wasm` file |
//! | function | an exported function of a module, defined under a name |
//! | dependency | a module that other modules link to, under an *alias* |
//! | constant | a named value that guests read |
//! | definition | one version of a function, a dependency or a constant |
//! | capability | a permission that a definition is granted, such as reading clocks |
//! | guest | the code of a module while it runs |
//! | host function | a function of the embedding application that guests call |
//! | worker | a thread and its sandboxes |
//! | sandbox | one instance of one definition, with instances of its dependencies |
//! | guest error | an error that a function returned as a value |
//! | trap | an abort of the guest's execution |
//! | circuit breaker | stops calls to a function on a worker after repeated failures |
//!
//! # Lifecycle
//!
//! 1. [`WorkerProcedureCall::new`] creates a stopped pool. From then on, in every state of the pool, items can be defined,
//!    redefined and undefined. [`apply`](WorkerProcedureCall::apply) makes several [`Changes`] at once, so that calls never
//!    see only a part of them. A call runs the definition that was current when the call was accepted.
//! 2. [`start_workers`](WorkerProcedureCall::start_workers) starts the workers. Each worker instantiates a function's
//!    sandbox at the function's first call there, and reuses it for later calls.
//! 3. A failed sandbox is replaced with backoff. After [`Options::max_restarts_per_worker`] consecutive restarts its circuit
//!    breaker opens, and a trial call is let through after [`Options::circuit_breaker_cool_down`].
//! 4. [`stop_workers`](WorkerProcedureCall::stop_workers) refuses new calls, lets accepted calls finish within
//!    [`Options::stop_timeout`], and then interrupts them. The pool can be started again.
//! 5. Dropping the last handle stops a running pool at once. The drop usually takes a few milliseconds. With the default
//!    options it blocks for at most one second because of host functions that do not return, and for at most one more
//!    because of event listeners; see [Dropping the last handle](WorkerProcedureCall#dropping-the-last-handle).
//!
//! Every accepted call completes exactly once: with a result or with an error, at the latest shortly after its time limit.
//!
//! # Threads
//!
//! A call runs on the thread of a worker. While it waits for an async or blocking host function, it is suspended, and the
//! worker runs other calls. The caller blocks ([`call`](WorkerProcedureCall::call)), awaits, or collects the
//! result later ([`submit`](WorkerProcedureCall::submit)). A [`LocalWorker`] runs calls on the caller's own thread instead,
//! without the cost of two thread switches. A supervisor thread enforces time limits and replaces unresponsive workers.
//! Event listeners have one thread. Each compilation has a thread while it runs, and so has each
//! [blocking host function](WorkerProcedureCall::define_blocking_host_function). If async host functions need a tokio runtime
//! and the embedder has none, the pool starts one with one thread. An idle pool wakes no thread. Every method may be called
//! from any thread at any time, except that code for which a running call waits must not stop the pool.
//!
//! # Async
//!
//! [`call_async`](WorkerProcedureCall::call_async) and the methods named `…_async` return futures that work under any async
//! runtime and never block. A call is submitted, and other work begins, when the method is called, not when the future is
//! first polled. Dropping the future of a call cancels the call; the documentation of each method that returns an
//! [`Operation`] states what dropping that does. Other methods may block their thread, and so may dropping the last handle
//! of a pool: [which methods block](WorkerProcedureCall#async-tasks).
//!
//! # Host functions
//!
//! [`define_host_function`](WorkerProcedureCall::define_host_function) makes a closure callable for guests whose definition is
//! [granted](WasmModule::grant_host_function) it. It runs on the worker's thread, and its panics are contained. It should check
//! [`HostContext`] if it takes a long time, because it cannot be interrupted. Closures that wait are defined with
//! [`define_async_host_function`](WorkerProcedureCall::define_async_host_function) or
//! [`define_blocking_host_function`](WorkerProcedureCall::define_blocking_host_function). A call that waits for one of these
//! does not occupy its worker. It keeps a sandbox and a stack, so [`Options::max_suspended_instances`] bounds the suspended
//! calls of the pool, and [`Limits::max_concurrent_calls`] those of a definition on each worker. `docs/library.md` describes
//! them in the section "Calls that wait".
//!
//! # Calls between functions
//!
//! A guest calls other functions of the pool that its definition was [granted](WasmModule::grant_function). Each runs in
//! its own sandbox with its own limits, while the caller is suspended; `docs/library.md` describes them. A host function
//! calls the pool with [`call_async_for`](WorkerProcedureCall::call_async_for).
//!
//! # Time slices
//!
//! A guest that computes for longer than the [time slice](Limits::time_slice) of its definition is suspended, so that the calls
//! behind it can run. By default a definition has no time slice.
//!
//! # WASI
//!
//! Modules may import WASI preview 1 if the feature `wasi` is enabled. Everything in it is denied by default. [`Wasi`]
//! grants arguments, environment variables, standard streams and directories one by one; clocks and random numbers are
//! granted by [`Capability`].
//!
//! # Errors
//!
//! The module [`error`] describes the parts of an [`Error`], and [`ErrorCode`] has the table of all errors.
//!
//! * The text of an error states what failed, and may be shown to users.
//! * [`Error::remedy`] states what to do, as data; its text names this library's methods.
//! * [`Error::kind`] states who can act on it, and [`Error::code`] is its stable name, with the codes for
//!   [HTTP](ErrorCode::http_status) and [JSON-RPC](ErrorCode::json_rpc_code).
//! * [`Error::outcome_unknown`] and [`Error::retry_can_help`] help to decide about repeating a call.
//! * [`Error::guest_payload`] decodes the error that a function returned as a value of its own type.
//!
//! # Events
//!
//! A pool reports starts, failures, restarts, circuit breakers and log lines as [`WorkerEvent`]s: to closures
//! ([`on_worker_event`](WorkerProcedureCall::on_worker_event)), to iterators and streams
//! ([`subscribe`](WorkerProcedureCall::subscribe)), and to `tracing`. Listeners and subscriptions have bounded queues that
//! count what they drop, so that a slow one delays no call. An
//! [observer](WorkerProcedureCall::observe_finished_calls) receives the times of every call that has run. It and `tracing`
//! subscribers run on the thread that reports, so they must return quickly.
//!
//! # Traces
//!
//! A caller can pass a W3C trace context and a correlation id: [`CallOptions::trace_context`] and
//! [`CallOptions::correlation_id`]. Host functions read them from [`HostContext`], and the events of a failed call and
//! [`FinishedCall`] contain them. Each call runs in a `tracing` span of the level `debug`, with the target `wpc` and the name
//! `call`. Its fields are `function`, `hash`, `worker`, `call`, `correlation_id`, `traceparent` and `outcome`: `ok` or the
//! error's code. The span is created on the thread that runs the call, and host functions run inside it, except blocking ones.
//! Without a subscriber of that level, a call only reads the current maximum level.
//!
//! # Security
//!
//! Guests are assumed to be hostile. A definition can use only what it was granted, and [`Limits`] bounds its time, memory,
//! tables, stack, fuel, output and payload sizes. Guest memory is accessed only after bounds checks. This crate forbids
//! unsafe code; the compile cache, which loads native code, verifies each entry with a key first. `docs/security.md` lists the
//! guarantees with their tests, and what is not guaranteed.
//!
//! # Features
//!
//! | feature | enabled by default | adds | crates |
//! |---|---|---|---|
//! | `wasi` | yes | WASI preview 1: [`Wasi`], [`Input`], [`Output`], [`WasmModule::grant_wasi`] | 72 |
//! | `json` | yes | calls, constants, host functions and guest errors as JSON: [`call_json`](WorkerProcedureCall::call_json) and every other method whose name ends with `_json`, [`define_worker_constant_as`](WorkerProcedureCall::define_worker_constant_as) | 3, of which `wasi` needs all |
//! | `tokio` | yes | the timers and sockets of tokio in async host functions: [`Options::runtime`] | 1, which `wasi` needs too |
//! | `compile-cache` | yes | [`Options::compile_cache`], [`CompileCacheUsage`] | 6 |
//!
//! `default-features = false` leaves 118 of 196 crates, build dependencies included. A first `cargo check` took 268 s of CPU time
//! without features and 498 s with `wasi`, on two cores that other programs kept busy. Items that require a feature state it,
//! and do not exist without it. Error codes, event names and [`WasmModule::inspect`] are the same in every build. A module that
//! imports WASI is refused in a build without `wasi`, with [`Remedy::EnableFeature`]. Without `tokio`, async host functions are
//! suspended and woken as with it, but timers and sockets of tokio find no runtime there. Workers do not run on threads of a
//! tokio runtime.
//!
//! # Platforms
//!
//! The operating system's limits on threads, memory maps, address space and descriptors are checked in advance on Linux
//! only; see [`Error::OsLimit`].
//!
//! # Stability
//!
//! Error codes, event names and the guest contract of `docs/abi.md` are stable. Error texts are not: match on
//! [`Error::code`]. Errors, events, options, limits and information types are `#[non_exhaustive]`, so that variants and
//! fields can be added. [`Options`] and [`Limits`] have a method for each field that sets it.
//!
//! # Checked calls
//!
//! A call by name ([`call`](WorkerProcedureCall::call), `call_with`, `call_async`, `submit`, and those of a [`LocalWorker`])
//! compares the types of its arguments and of its result with those that the function declares. Functions built with the
//! SDK declare them, and so does every export with WebAssembly number types. If they differ, the call is refused with
//! [`Error::SignatureMismatch`], which names the position, the expected and the found type.
//!
//! * Each integer and each float must have exactly the declared type. An integer literal without a type is an `i32`, so write
//!   `40u32` for a `u32`. Nothing is converted.
//! * Structures are compared by the names of their fields in order, and enums by the names of their variants in order. The
//!   names of types and newtypes do not matter.
//! * `usize` and `isize` have 32 bits in a guest. The host's `usize` and `isize` may be passed for them and for integers of 32
//!   and 64 bits; a guest rejects a value that does not fit.
//! * Arguments are compared while they are encoded. A type that a value does not show, such as that of the items of an empty
//!   list, is compared when a later value shows it. Once values have covered every declared part of the type, further calls
//!   with that type cost one look-up. Types whose values may differ in shape are compared in every call: `serde_json::Value`,
//!   and structs, because serde does not distinguish them from the variants of an untagged enum. A typed handle compares once.
//! * The result's type is compared before the function runs, with sample values. If the type rejects the samples while it
//!   decodes them, each reply is compared instead, so the error comes after the function ran.
//!
//! [`function`](WorkerProcedureCall::function) compares the types once, when the handle is created, by their
//! [`Schema`]. Modules that declare no types, and calls with encoded bytes, are not checked.
//!
//! # JSON
//!
//! [`call_json`](WorkerProcedureCall::call_json) converts JSON to and from the types that a module declares:
//!
//! | type | JSON |
//! |---|---|
//! | numbers | a number; one that JSON cannot represent (beyond 64 bits, `NaN`, `Infinity`) is a string; an integer may also be written as a string of its digits or, up to 53 bits, as `1.0` or `1e3`; an `f32` has its shortest form, and a number out of its range is rejected; `usize` and `isize` have 32 bits, as in a guest |
//! | `char`, `String` | a string |
//! | `()` and unit structs | `null` |
//! | `Option` | `null`, or the value; where the value itself may be `null`, `{"Some": value}` |
//! | sequences, bytes, tuples | an array |
//! | maps | an object if the keys are strings, otherwise an array of pairs |
//! | structs | an object; a missing field is `None` or the default of a field with `#[serde(default)]`; an unknown field is rejected unless it is `null` |
//! | enums | `"Name"`, or `{"Name": value}`; an unknown variant is rejected |
//!
//! `docs/types.md` lists the supported types of the standard library, and describes what happens if host and module have
//! different versions of a type.
//!
//! # Large payloads
//!
//! Use `String` and `Vec<u8>` for large payloads. Among arguments they are copied with a single memcpy at any depth. A result
//! that consists of one of them is returned without decoding; inside other results, use `serde_bytes`. Results are `'static`,
//! so that such bytes need not be copied.
//!
//! Where many large calls are outstanding, allocating costs more than copying: a fresh megabyte takes 256 page faults.
//! Therefore a pool reuses its buffers of 128 KiB or more. It holds at most 64 MiB of unused buffers, and frees a buffer after
//! it has been unused for 750 to 1,500 ms; see [`get_buffer_usage`](WorkerProcedureCall::get_buffer_usage).
//! [`PendingCall::wait_into`] exchanges the result's buffer for one that the caller has read already, so that no call
//! allocates.
#![forbid(unsafe_code)]
// The unit tests run in the library only: the types of the model checks' scheduler work only inside a model check.
#![cfg(not(all(wpc_model, test)))]
#![cfg_attr(
    wpc_model,
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        unnameable_types,
        missing_docs,
        missing_debug_implementations,
        clippy::disallowed_methods,
        unfulfilled_lint_expectations,
        reason = "the model checks use a part of the library; the lints apply to its regular build"
    )
)]

#[macro_use]
mod setters;

#[cfg(feature = "json")]
mod backend;
mod call;
mod capability;
#[cfg(wpc_model)]
#[path = "../../tools/models/src/checks/mod.rs"]
pub mod checks;
mod codec;
mod definition;
pub mod error;
mod event;
mod host_function;
mod id;
mod information;
mod inspection;
mod metrics;
mod module;
mod name_map;
mod options;
mod pool;
mod registry;
#[cfg_attr(wpc_model, path = "../../tools/models/src/sandbox.rs")]
mod sandbox;
mod supervisor;
#[cfg_attr(wpc_model, path = "../../tools/models/src/sync.rs")]
mod sync;
mod system;
mod worker;

#[cfg(feature = "json")]
pub use backend::{
    Backend, BackendReply, CallArguments, ReplyFormat, ReplyValue, StreamPart, SubmittedCall,
    SubmittedStream, Warming,
};
#[cfg(feature = "json")]
pub use call::fuel_meter::{FuelMeter, FuelReport};
pub use call::future::CallFuture;
pub use call::nested::MAX_CALL_DEPTH;
pub use call::pending::{Answer, CancelHandle, PendingCall};
pub use call::reply::ReplyMetadata;
pub use call::stream::{BlockingItems, ItemStream, StreamError};
pub use capability::Capability;
pub use codec::arguments::{Argument, Arguments, Parameters};
pub use definition::WasmModule;
pub use definition::limits::Limits;
#[cfg(feature = "wasi")]
pub use definition::wasi::grant::{Input, Output, Wasi};
pub use error::{
    CallOutcome, CallQueue, Definable, Error, ErrorCode, ErrorGroup, ErrorKind, ErrorReport, Grant,
    GuestReport, OsResource, PayloadType, Refusal, Remedy, Setting, UnknownErrorCode,
};
pub use event::observer::{FinishedCall, FinishedCallSampler};
pub use event::{
    EventDetails, EventError, EventIterator, EventSource, EventSubscription, FailureSeverities,
    HealthState, Severity, WorkerEvent,
};
pub use host_function::HostContext;
pub use id::{
    CallId, FunctionHash, InvalidTraceContext, ListenerId, ParseHashError, Sha256Hash,
    TraceContext, WorkerId,
};
pub use information::{
    BreakerCounts, CallCounts, ClusterInformation, CompilationCounts, ConstantInformation,
    DeclaredType, DependencyInformation, ExportInformation, FunctionHealth, FunctionInformation,
    FunctionItems, FunctionMetrics, FunctionParameter, FunctionSignature, FunctionState, Histogram,
    Latencies, ModuleInformation, NodeInformation, NodeState, PoolHealth, PoolMetrics,
    RequiredDependency, SandboxUsage, SuspensionCause, TypeInformation, WorkerHealth,
};
#[cfg(feature = "compile-cache")]
pub use module::compile_cache::CompileCacheUsage;
pub use module::metering::MAX_UNCOUNTED_FUEL;
pub use options::{CallOptions, Options, StreamOptions};
pub use pool::function::Function;
pub use pool::{Applied, Changes, Checked, LocalWorker, Operation, WorkerProcedureCall};
/// The crate of the structures in [`DeclaredType::structure`] and in `Schema::SCHEMA`.
pub use postcard_schema;
pub use system::buffers::BufferUsage;
pub use wpc_abi::GuestError;
/// The trait and derive that describe how a type is encoded. Typed handles compare it with what a module declares.
///
/// It is the same trait as [`wpc_abi::Schema`], whose documentation lists the supported types and serde attributes. A crate
/// of types that host and plug-in share derives `wpc_abi::Schema`, so that it depends on neither.
///
/// ```
/// use wpc_host::Schema;
///
/// #[derive(serde::Serialize, Schema)]
/// #[serde(rename_all = "camelCase")]
/// struct Order {
///     item_name: String,
/// }
/// assert_eq!(Order::SCHEMA.name, "Order");
/// ```
pub use wpc_abi::describe::Schema;
pub use wpc_schema_macros::HostSchema as Schema;

/// Items that the derive's expansion refers to; not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use wpc_abi::__private::{Comments, DEFAULTED, schema};
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<WorkerProcedureCall>();
    is_send_and_sync::<Function<(String,), String>>();
    is_send_and_sync::<PendingCall<std::rc::Rc<()>>>();
    is_send_and_sync::<Error>();
};

/// The code of `docs/library.md`, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
mod library {}

/// The README's code, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The code of `docs/observability.md`, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/observability.md")]
mod observability {}
