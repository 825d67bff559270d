//! The errors themselves. Other files of this folder have a table each with one part of every error.

use crate::error::{CallQueue, ErrorReport, Grant, OsResource, PayloadType, Refusal, Setting};
use crate::id::{FunctionHash, Sha256Hash, WorkerId};
use std::sync::Arc;
use std::time::Duration;
use wpc_abi::GuestError;

/// What went wrong.
///
/// * The text states what failed, and may be shown to users.
/// * [`remedy`](Self::remedy) states what to do about it.
/// * [`kind`](Self::kind) states who can act on it.
/// * [`code`](Self::code) is the error's stable name, for programs, logs and metrics.
///
/// In every variant `function` is the name of the called function. Where `what` is not documented, it names the module:
/// by its own name, or by what it was to define. `ran` states whether the function had begun. Sizes are in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the enum documents fields that many variants have")]
pub enum Error {
    /// Options contradict each other or are out of range. There is one problem for each: its name and what it must be.
    #[non_exhaustive]
    InvalidOptions { problems: Vec<String> },
    /// The function yields items, and its caller does not read them.
    #[non_exhaustive]
    YieldsItems { function: String, ran: bool },
    /// The call's options do not suit the function, its handle belongs to another pool, or its thread has too little
    /// stack left.
    #[non_exhaustive]
    InvalidCallOptions { function: String, problem: String },
    /// A name is not allowed.
    #[non_exhaustive]
    InvalidName {
        /// The kind of item: `function`, `dependency`, `constant` or `host function`.
        what: &'static str,
        name: String,
        /// The rule that it breaks. It completes "a name must".
        rule: &'static str,
    },

    /// The pool has not been started, has been stopped, or is stopping.
    NotRunning,
    /// The pool is already running, starting or stopping.
    AlreadyStarted,
    /// A worker's thread did not start, for this cause. The workers that did start are stopped.
    #[non_exhaustive]
    StartFailed { cause: String },

    /// The operation would exceed a limit of the operating system. Part of each resource is reserved, because exhausting
    /// it may abort the process where no error can be returned.
    #[non_exhaustive]
    OsLimit {
        /// What was to be created.
        what: String,
        /// The resource that is short.
        resource: OsResource,
        /// How much the operation needs, in the resource's unit.
        needed: u64,
        /// How much is in use by the process; for threads, by the process, its user or its control group, whichever the limit
        /// applies to.
        used: u64,
        /// How much the operating system allows.
        limit: u64,
        /// How much of that is reserved.
        reserve: u64,
    },

    /// The bytes are not WebAssembly.
    #[non_exhaustive]
    NotWasm {
        what: String,
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// The bytes are a WebAssembly component.
    #[non_exhaustive]
    Component { what: String },
    /// The module is invalid or cannot be compiled.
    #[non_exhaustive]
    InvalidModule {
        what: String,
        /// What the validator or the compiler reported.
        reason: String,
    },
    /// The module uses a WebAssembly proposal that is not supported, see `docs/webassembly.md`.
    #[non_exhaustive]
    UnsupportedProposal {
        what: String,
        /// The proposal's name; the first one if there are several.
        proposal: &'static str,
        /// Why it is not supported, and what to do instead.
        reason: &'static str,
    },
    /// The module is larger than its size limit.
    #[non_exhaustive]
    ModuleTooLarge { what: String, limit: usize, found: usize },
    /// The module did not compile within its time limit.
    #[non_exhaustive]
    CompileTimeout { what: String, limit: Duration },
    /// Too many other modules are being compiled.
    #[non_exhaustive]
    CompilerBusy {
        what: String,
        /// How many are being compiled.
        busy: usize,
    },
    /// The bytes do not have the required SHA-256.
    #[non_exhaustive]
    Sha256Mismatch {
        what: String,
        /// The hash that the definition requires.
        expected: Sha256Hash,
        /// The hash of the bytes.
        found: Sha256Hash,
    },
    /// The guest was built for another version of the guest contract.
    #[non_exhaustive]
    AbiVersion {
        what: String,
        /// The host's version.
        expected: u32,
        /// The guest's.
        found: String,
    },
    /// The module's custom section `wpc` is malformed.
    #[non_exhaustive]
    MalformedSection { what: String, reason: String },
    /// The module does not export the function.
    #[non_exhaustive]
    MissingExport {
        what: String,
        /// The missing export.
        wanted: String,
        /// The functions that can be called.
        offered: Vec<String>,
    },
    /// The module exports several functions, none of which has the definition's name.
    #[non_exhaustive]
    AmbiguousExport {
        what: String,
        /// The functions that can be called.
        offered: Vec<String>,
    },
    /// The export cannot be called.
    #[non_exhaustive]
    ExportType {
        what: String,
        export: String,
        /// What it is, such as `a memory`.
        found: String,
    },
    /// The export belongs to a WASI command, which only its `_start` initialises.
    #[non_exhaustive]
    ExportOfCommand { what: String, export: String },
    /// The module imports an item that does not exist.
    #[non_exhaustive]
    UnknownImport {
        what: String,
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// Why it cannot be linked, and what is available.
        reason: String,
    },
    /// The module imports an item that it was not granted.
    #[non_exhaustive]
    NotGranted {
        what: String,
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// The missing grant.
        grant: Grant,
    },
    /// The module's initial memory exceeds its limit.
    #[non_exhaustive]
    MemoryTooLarge { what: String, limit: usize, found: u64 },
    /// A table's initial size exceeds the module's limit.
    #[non_exhaustive]
    TableTooLarge {
        what: String,
        /// In elements.
        limit: usize,
        /// In elements.
        found: u64,
    },
    /// The dependencies form a cycle.
    #[non_exhaustive]
    DependencyCycle {
        /// The aliases along the cycle; the last one is the first one again.
        path: Vec<String>,
    },
    /// A dependency does not provide what a module imports from it.
    #[non_exhaustive]
    DependencyExport {
        /// The importing module.
        importer: String,
        /// The dependency.
        alias: String,
        /// The import.
        export: String,
        /// Why the dependency cannot provide it.
        reason: String,
    },
    /// A constant, a dependency's function, a host function or a function of the pool does not have the type that a module declares for
    /// it.
    #[non_exhaustive]
    TypeMismatch {
        /// The definition whose module declares the type.
        module: String,
        /// The item that has another type, such as `constant "LIMIT"`.
        item: String,
        /// The first difference, such as ``parameter 1, field `tags` of `Comment` ``; empty if the whole types differ.
        part: String,
        /// The declared type at this position.
        expected: String,
        /// The actual type.
        found: String,
    },
    /// A chain of dependencies is too long.
    #[non_exhaustive]
    DependencyChain {
        /// The alias at which the chain starts.
        alias: String,
        /// The maximum length.
        limit: usize,
    },
    /// A sandbox would need more module instances than the limit allows.
    #[non_exhaustive]
    TooManyInstances {
        /// The definition whose sandbox needs them.
        what: String,
        /// How many it needs, including one for each dependency.
        needed: usize,
        limit: usize,
        /// The setting that sets the limit.
        option: Setting,
    },
    /// The module instances that the function may use are in use by running calls, local workers or abandoned threads.
    #[non_exhaustive]
    InstancesInUse {
        function: String,
        /// How many its sandbox needs, including one for each dependency.
        needed: usize,
        /// How many the pool may have.
        limit: usize,
    },
    /// A constant's value cannot be encoded.
    #[non_exhaustive]
    ConstantEncode {
        /// The constant.
        constant: String,
        /// Why it cannot be encoded.
        reason: String,
    },

    /// At least one of several changes was refused, so none was made. Each refusal states the position of its change.
    #[non_exhaustive]
    ChangesRefused { refusals: Vec<Refusal> },

    /// No function of that name is defined.
    #[non_exhaustive]
    FunctionNotDefined { function: String },
    /// The function, or one of its dependencies, requires a dependency that is not defined.
    #[non_exhaustive]
    DependencyNotDefined {
        function: String,
        /// The missing alias.
        alias: String,
    },
    /// The function, or one of its dependencies, read a declared constant that is not defined. Calls that do not read
    /// the constant are not affected.
    #[non_exhaustive]
    ConstantNotDefined {
        function: String,
        /// The missing constant.
        constant: String,
    },
    /// The function, or one of its dependencies, requires a host function that is not defined.
    #[non_exhaustive]
    HostFunctionNotDefined {
        function: String,
        /// The missing host function.
        host_function: String,
    },
    /// A function called one of its own callers, or itself. Each function of the `chain` called the next one.
    #[non_exhaustive]
    RecursiveCall { function: String, chain: Vec<String> },
    /// Too many calls are nested. Each function of the `chain` called the next one.
    #[non_exhaustive]
    CallDepth { function: String, chain: Vec<String>, limit: usize },
    /// The defined version of the function is not the one that the call pins.
    #[non_exhaustive]
    PinMismatch {
        function: String,
        /// The pinned hash.
        expected: FunctionHash,
        /// The definition's hash.
        found: FunctionHash,
    },
    /// The types of a call or of a typed handle differ from those that the function declares. The function did not run,
    /// unless the difference could only be found in a value of the result.
    #[non_exhaustive]
    SignatureMismatch {
        function: String,
        /// The first difference, such as ``parameter 2, field `tags` of `Comment` ``.
        part: String,
        /// The declared type.
        expected: String,
        /// The caller's type.
        found: String,
        /// What the caller can write instead, if known.
        hint: Option<Box<str>>,
    },
    /// The module does not declare the function's types, so its values cannot be converted to and from JSON.
    #[non_exhaustive]
    Untyped { function: String },
    /// The arguments cannot be encoded.
    #[non_exhaustive]
    ArgumentsEncode {
        function: String,
        /// What the encoder reported.
        reason: String,
    },
    /// The encoded arguments exceed the limit.
    #[non_exhaustive]
    ArgumentsTooLarge { function: String, limit: usize, found: usize },
    /// The guest could not decode the arguments.
    #[non_exhaustive]
    BadArguments {
        function: String,
        /// What the guest reported.
        reason: String,
    },
    /// The result cannot be decoded as the type that the caller expects.
    #[non_exhaustive]
    ResultDecode {
        function: String,
        /// The type that the caller expects.
        wanted: &'static str,
        /// What the decoder reported.
        reason: String,
    },
    /// The payload of a guest error cannot be decoded as the type that the caller expects.
    #[non_exhaustive]
    PayloadDecode {
        function: String,
        /// The type that the caller expects.
        wanted: String,
        /// The type that the module declares, or what the decoder reported.
        reason: String,
    },

    /// An error of a call that ran, or was to run, in another process. Its parts are those of the report.
    Reported(Box<ErrorReport>),
    /// All workers failed and used up their restarts, or too many threads are abandoned, so none will take the call.
    #[non_exhaustive]
    NoReadyWorkers { function: String },
    /// Every worker has reached its limit of unanswered calls, or the overflow queue is full.
    #[non_exhaustive]
    Saturated {
        function: String,
        queue: CallQueue,
        /// How many calls may be in this queue.
        limit: usize,
    },
    /// The function's circuit breaker is open on every worker, because the function failed repeatedly.
    #[non_exhaustive]
    CircuitOpen {
        function: String,
        /// How long the earliest of the open circuit breakers has been open.
        open_for: Duration,
        /// The last failure; `None` if a circuit breaker was reset, or its cool-down ended, at that moment.
        last_failure: Option<Arc<Error>>,
    },

    /// The call reached its time limit.
    #[non_exhaustive]
    Timeout {
        function: String,
        limit: Duration,
        ran: bool,
        /// The failure after which the sandbox was restarting, if the call waited for that. It may be a failure of another
        /// function that shares the sandbox, see
        /// [`WasmModule::separate_sandboxes`](crate::WasmModule::separate_sandboxes).
        cause: Option<Arc<Error>>,
    },
    /// The caller cancelled the call.
    #[non_exhaustive]
    Cancelled { function: String, ran: bool },
    /// The workers were stopped before the call ended.
    #[non_exhaustive]
    Stopped { function: String, ran: bool },
    /// The call's worker panicked or became unresponsive.
    #[non_exhaustive]
    WorkerLost {
        function: String,
        worker: WorkerId,
        /// What is known about the cause.
        reason: String,
        ran: bool,
    },

    /// The function returned an error.
    #[non_exhaustive]
    Guest {
        function: String,
        /// What it returned. Boxed, because it is the largest field of any variant.
        error: Box<GuestError>,
        /// The payload's declared type; `None` without a payload or without a declared type.
        payload_type: Option<PayloadType>,
    },
    /// The guest's execution was aborted.
    #[non_exhaustive]
    Trap {
        function: String,
        /// The panic's message and location if the guest reported them, otherwise the kind of trap.
        reason: String,
        /// The guest's functions on its stack, innermost first, a line each; may be empty.
        stack: String,
    },
    /// An exception left the function's export without being caught.
    #[non_exhaustive]
    UncaughtException {
        function: String,
        /// The exception's payload, and, if a dependency called with encoded arguments threw it, the name of that dependency.
        /// In C++ the payload is an address.
        exception: String,
        /// The guest's functions on its stack, innermost first, a line each; may be empty.
        stack: String,
    },
    /// The guest exited through WASI instead of returning.
    #[non_exhaustive]
    Exited {
        function: String,
        /// The exit status; 0 stands for success.
        status: i32,
    },
    /// The guest tried to open more files through WASI than its limit allows.
    #[non_exhaustive]
    TooManyOpenFiles {
        function: String,
        /// How many files it may have open.
        limit: usize,
    },
    /// The guest used up its fuel.
    #[non_exhaustive]
    OutOfFuel {
        function: String,
        /// The fuel that it was given.
        limit: u64,
    },
    /// The guest wrote more log lines and output than its limit allows.
    #[non_exhaustive]
    LogLimit {
        function: String,
        limit: usize,
        /// In bytes, including the line that exceeded the limit.
        used: usize,
    },
    /// The guest trapped after it was refused memory.
    #[non_exhaustive]
    OutOfMemory {
        function: String,
        /// The requested total, in bytes.
        requested: usize,
        limit: usize,
    },
    /// The guest trapped after it was refused table elements.
    #[non_exhaustive]
    OutOfTableElements {
        function: String,
        /// The requested total.
        requested: usize,
        limit: usize,
    },
    /// The guest's calls nested too deeply for its stack.
    #[non_exhaustive]
    StackOverflow { function: String, limit: usize },
    /// The guest violated the guest contract.
    #[non_exhaustive]
    BadReply {
        function: String,
        /// What it did.
        reason: String,
    },
    /// The result exceeds its size limit.
    #[non_exhaustive]
    ResultTooLarge { function: String, limit: usize, found: usize },
    /// The function's sandbox could not be instantiated.
    #[non_exhaustive]
    Initialisation {
        function: String,
        /// Why: a start function or an init hook failed, a dependency could not be linked, or the function backs off or its circuit
        /// breaker is open while it is warmed.
        reason: String,
    },
}
