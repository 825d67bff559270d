//! Every way in which something can be refused or fail, with stable codes.
//!
//! A text states what failed, in words that may be shown to the caller of a function. What an operator or a developer can
//! do about it is data, see `remedy`. `error_code` has the table of the codes.

pub(crate) mod code;
mod os_resource;

pub use os_resource::OsResource;
pub(crate) mod payload_type;
pub(crate) mod remedies;
pub(crate) mod remedy;

use crate::error::payload_type::PayloadType;
use crate::error::remedy::{Grant, Setting};
use crate::id::{FunctionHash, Sha256Hash, WorkerId};
use std::time::Duration;
use wpc_abi::GuestError;

/// What went wrong.
///
/// Its text states what failed. [`remedy`](Self::remedy) has what to do about it, [`kind`](Self::kind) who can act on it,
/// [`code`](Self::code) its stable name.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Options contradict each other or are out of range.
    #[error("the options cannot be used: {}", problems.join("; "))]
    InvalidOptions {
        /// Each with the option's name and what it must be.
        problems: Vec<String>,
    },
    /// A call cannot be made so: its options do not fit the function, its handle is of another pool, or its thread has too
    /// little stack left.
    #[error("invalid call options for function \"{function}\": {problem}")]
    InvalidCallOptions {
        /// The function.
        function: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// A name is outside the rule.
    #[error("{what} name {name:?} is not allowed: a name is {rule}")]
    InvalidName {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// What it must be.
        rule: &'static str,
    },

    /// The pool is stopped or stopping.
    #[error("the workers are not running")]
    NotRunning,
    /// The pool is already up, or on its way up or down.
    #[error("the workers are already started, or are starting or stopping")]
    AlreadyStarted,
    /// A thread did not come up. Workers that did are told to end.
    #[error("the workers failed to start: {cause}")]
    StartFailed {
        /// Why.
        cause: String,
    },

    /// The process has used up what the operating system allows it, or would with what was asked for. A part is kept
    /// free, because a process that runs out of it may be aborted where nothing can be caught.
    #[error(
        "{what} cannot be created: it needs {}, and {} of {} are in use{}",
        resource.amount(*needed), resource.bare(*used), resource.bare(*limit), kept_free(*resource, *reserve)
    )]
    OsLimit {
        /// What was to be created.
        what: String,
        /// What there is too little of.
        resource: OsResource,
        /// How much it needs, in the resource's own unit.
        needed: u64,
        /// How much is in use: by the process, or where threads are limited for them, by its user or control group.
        used: u64,
        /// How much the operating system allows.
        limit: u64,
        /// How much of that is kept free.
        reserve: u64,
    },

    /// The bytes are no WebAssembly at all.
    #[error("{what} is not WebAssembly: {reason}")]
    NotWasm {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// The bytes are a WebAssembly component.
    #[error("{what} is a WebAssembly component, and only core modules can be used")]
    Component {
        /// The module, by its name or by what was to be defined of it.
        what: String,
    },
    /// The module does not validate.
    #[error("{what} cannot be used: {reason}")]
    InvalidModule {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// What the compiler says.
        reason: String,
    },
    /// The module uses a WebAssembly proposal that is not accepted, see `docs/webassembly.md`.
    #[error("{what} uses the WebAssembly proposal \"{proposal}\", which is not accepted: {reason}")]
    UnsupportedProposal {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The proposal's name; where there are several, the first.
        proposal: &'static str,
        /// Why it is not accepted, and what to do.
        reason: &'static str,
    },
    /// The module is larger than the limit.
    #[error("{what} has {found} bytes, and the limit is {limit}")]
    ModuleTooLarge {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// In bytes.
        limit: usize,
        /// In bytes.
        found: usize,
    },
    /// Compiling the module takes too long.
    #[error("{what} did not compile within {} ms", limit.as_millis())]
    CompileTimeout {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// Too many modules are being compiled at once, or still, past their limit.
    #[error("{what} cannot be compiled now: {busy} other modules are being compiled")]
    CompilerBusy {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// How many.
        busy: usize,
    },
    /// The bytes do not have the SHA-256 they must have.
    #[error("{what} is not the expected one: its SHA-256 must be {expected}, and is {found}")]
    Sha256Mismatch {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The hash given with the definition.
        expected: Sha256Hash,
        /// The hash of the bytes.
        found: Sha256Hash,
    },
    /// The guest was built for another version of the contract.
    #[error(
        "{what} was built for version {found} of the contract, and this host supports version {expected}"
    )]
    AbiVersion {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The host's version.
        expected: u32,
        /// The guest's.
        found: String,
    },
    /// The module's section about itself cannot be read.
    #[error("the custom section \"wpc\" of {what} cannot be read: {reason}")]
    MalformedSection {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// Where reading failed.
        reason: String,
    },
    /// The module does not offer the wanted function.
    #[error("{what} has no export \"{wanted}\" that could be used; it offers {}", list(offered))]
    MissingExport {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The export looked for.
        wanted: String,
        /// The functions that can be called.
        offered: Vec<String>,
    },
    /// Several functions could be meant.
    #[error("{what} has several functions, and none of that name: {}", list(offered))]
    AmbiguousExport {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The functions that can be called.
        offered: Vec<String>,
    },
    /// The export is there, but cannot be called.
    #[error(
        "the export \"{export}\" of {what} cannot be called: it is {found}; a function takes and returns i32, i64, f32 or f64 and returns at most one, or keeps the contract of docs/abi.md"
    )]
    ExportType {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The export.
        export: String,
        /// What it is.
        found: String,
    },
    /// The export belongs to a WASI command, which only its `_start` initialises.
    #[error(
        "the export \"{export}\" of {what} cannot be called: the module is a WASI command, which only its `_start` initialises"
    )]
    ExportOfCommand {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The export.
        export: String,
    },
    /// The module imports what nobody offers.
    #[error("{what} imports \"{module}\" \"{name}\", which cannot be linked: {reason}")]
    UnknownImport {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// Why not, and what is offered.
        reason: String,
    },
    /// The module imports what it was not granted.
    #[error("{what} imports \"{module}\" \"{name}\", which it was not granted")]
    NotGranted {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// What the definition lacks.
        grant: Grant,
    },
    /// The module's memory starts larger than it may become.
    #[error("{what} starts with {found} bytes of memory, and its limit is {limit}")]
    MemoryTooLarge {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// In bytes.
        limit: usize,
        /// In bytes.
        found: u64,
    },
    /// The module's tables start larger than they may become.
    #[error("{what} starts with a table of {found} elements, and its limit is {limit}")]
    TableTooLarge {
        /// The module, by its name or by what was to be defined of it.
        what: String,
        /// How many elements there may be.
        limit: usize,
        /// How many there are.
        found: u64,
    },
    /// Dependencies lead back to themselves.
    #[error("dependency cycle: {}", path.join(" -> "))]
    DependencyCircle {
        /// The aliases, the first one again at the end.
        path: Vec<String>,
    },
    /// A dependency does not offer what a module imports from it.
    #[error(
        "{importer} imports \"{export}\" from dependency \"{alias}\", and the two do not fit: {reason}"
    )]
    DependencyExport {
        /// Who imports.
        importer: String,
        /// The dependency.
        alias: String,
        /// What it should export.
        export: String,
        /// Why it does not fit.
        reason: String,
    },
    /// A constant, a dependency's function or a host function has another type than a module declares for it.
    #[error(
        "{item} does not have the type that is declared by {module}: {}expected {expected}, found {found}",
        if place.is_empty() { String::new() } else { format!("{place}: ") }
    )]
    TypeMismatch {
        /// Whose module declares the type.
        module: String,
        /// What has another type, such as `constant "LIMIT"`.
        item: String,
        /// The first place that differs, such as ``parameter 1, field `tags` of `Comment` ``; empty if it is the whole
        /// type.
        place: String,
        /// What the module declares there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Dependencies depend on each other in too long a chain.
    #[error("the chain of dependencies from \"{alias}\" is longer than {limit}")]
    DependencyChain {
        /// Where it begins.
        alias: String,
        /// How long it may be.
        limit: usize,
    },
    /// A sandbox would need more instances than there may be.
    #[error(
        "{what} needs {needed} module instances with its dependencies, and may have at most {limit} at once"
    )]
    TooManyInstances {
        /// What needs them.
        what: String,
        /// How many.
        needed: usize,
        /// How many there may be.
        limit: usize,
        /// What sets the limit.
        option: Setting,
    },
    /// All module instances that the pool may have are used by calls that run, by local workers, and by abandoned threads.
    #[error(
        "function \"{function}\" needs {needed} free module instances, and all {limit} are used by running calls, local workers or abandoned threads"
    )]
    InstancesInUse {
        /// The function whose sandbox was to be instantiated.
        function: String,
        /// How many it needs, its dependencies' included.
        needed: usize,
        /// How many there may be in the pool.
        limit: usize,
    },
    /// A constant's value does not encode.
    #[error("constant \"{constant}\" does not encode: {reason}")]
    ConstantEncode {
        /// The constant.
        constant: String,
        /// Why, and what would.
        reason: String,
    },

    /// No function has the name.
    #[error("function \"{function}\" is not defined")]
    FunctionNotDefined {
        /// The function.
        function: String,
    },
    /// The function, or a dependency of its, needs an alias that is not defined.
    #[error("function \"{function}\" requires dependency \"{alias}\", which is not defined")]
    DependencyNotDefined {
        /// The function.
        function: String,
        /// The missing alias.
        alias: String,
    },
    /// The function, or a dependency of its, read a constant that is not defined and that its module declares. The call
    /// ended with that; calls that do not read it are not affected.
    #[error("function \"{function}\" requires constant \"{constant}\", which is not defined")]
    ConstantNotDefined {
        /// The function.
        function: String,
        /// The missing constant.
        constant: String,
    },
    /// The function, or a dependency of its, needs a host function that is not defined.
    #[error(
        "function \"{function}\" requires host function \"{host_function}\", which is not defined"
    )]
    HostFunctionNotDefined {
        /// The function.
        function: String,
        /// The missing host function.
        host_function: String,
    },
    /// The function is defined in another version than the call demands.
    #[error("function \"{function}\" is pinned to {expected}, and the defined one is {found}")]
    PinMismatch {
        /// The function.
        function: String,
        /// The call's pin.
        expected: FunctionHash,
        /// The definition's hash.
        found: FunctionHash,
    },
    /// The types of a call or of a typed handle are not those that the function declares. The function did not run,
    /// unless only a value of the reply could show that the result's type differs.
    #[error("wrong types for function \"{function}\": {part}: expected {expected}, found {found}")]
    SignatureMismatch {
        /// The function.
        function: String,
        /// The first place that differs, such as ``parameter 2, field `tags` of `Comment` ``.
        part: String,
        /// What the function declares.
        expected: String,
        /// What the caller has.
        found: String,
        /// What the caller may write instead, where that is known.
        hint: Option<Box<str>>,
    },
    /// The module does not tell the function's types, so JSON cannot be made of them.
    #[error("function \"{function}\" does not declare its types, so it cannot be called with JSON")]
    Untyped {
        /// The function.
        function: String,
    },
    /// The arguments do not encode.
    #[error("the arguments of function \"{function}\" do not encode: {reason}")]
    ArgumentsEncode {
        /// The function.
        function: String,
        /// What postcard says.
        reason: String,
    },
    /// The arguments are larger than the limit.
    #[error(
        "the arguments of function \"{function}\" have {found} bytes, and the limit is {limit}"
    )]
    ArgumentsTooLarge {
        /// The function.
        function: String,
        /// In bytes.
        limit: usize,
        /// In bytes.
        found: usize,
    },
    /// The arguments are not the function's.
    #[error("the arguments of function \"{function}\" do not fit it: {reason}")]
    BadArguments {
        /// The function.
        function: String,
        /// What did not decode.
        reason: String,
    },
    /// The result is not of the wanted type.
    #[error("failed to decode the result of function \"{function}\" as `{wanted}`: {reason}")]
    ResultDecode {
        /// The function.
        function: String,
        /// The type the caller wants.
        wanted: &'static str,
        /// What postcard says.
        reason: String,
    },

    /// The payload of a guest error is not of the wanted type.
    #[error("failed to decode the error of function \"{function}\" as `{wanted}`: {reason}")]
    PayloadDecode {
        /// The function.
        function: String,
        /// The type the caller wants.
        wanted: String,
        /// What the module declares, or why the bytes are not such a value.
        reason: String,
    },

    /// No worker is left to take the call, and none is coming.
    #[error(
        "no worker is ready for function \"{function}\": all of them failed, and their restarts are used up"
    )]
    NoReadyWorkers {
        /// The function.
        function: String,
    },
    /// Every worker has as many unanswered calls as it may have, or too many calls wait already.
    #[error(
        "every worker is saturated for function \"{function}\" ({limit} unanswered calls each)"
    )]
    Saturated {
        /// The function.
        function: String,
        /// How many a worker may have.
        limit: usize,
    },
    /// The function failed so often on every worker that it is not tried any more.
    #[error(
        "function \"{function}\" is suspended after repeated failures: its circuit breaker has been open on every worker for {:.1} s; the last failure: {reason}",
        held_for.as_secs_f64()
    )]
    Held {
        /// The function.
        function: String,
        /// How long ago the first worker whose circuit breaker is still open opened it.
        held_for: Duration,
        /// The last failure.
        reason: String,
    },

    /// The call reached its time limit.
    #[error(
        "the call of function \"{function}\" reached its time limit of {} ms {}{}",
        limit.as_millis(),
        if *ran { "while it ran; it was interrupted" } else { "before it could run" },
        cause.as_ref().map(|cause| format!(": its sandbox was restarting after this failure: {cause}")).unwrap_or_default()
    )]
    Timeout {
        /// The function.
        function: String,
        /// The limit.
        limit: Duration,
        /// Whether the function had begun.
        ran: bool,
        /// Where the call waited because its function's sandbox was restarting: the failure that it restarted after.
        /// Functions that share their sandboxes share this, see
        /// [`WasmModule::separate_sandboxes`](crate::WasmModule::separate_sandboxes).
        cause: Option<String>,
    },
    /// The caller cancelled the call.
    #[error("the call of function \"{function}\" was cancelled {}", if *ran { "while it ran; it was interrupted" } else { "before it ran" })]
    Cancelled {
        /// The function.
        function: String,
        /// Whether the function had begun.
        ran: bool,
    },
    /// The workers were stopped before the call could end.
    #[error("the workers were stopped before the call of function \"{function}\" {}", if *ran { "ended; it was interrupted" } else { "could run" })]
    Stopped {
        /// The function.
        function: String,
        /// Whether the function had begun.
        ran: bool,
    },
    /// The worker died or fell silent.
    #[error("{worker} was lost during the call of function \"{function}\": {reason}")]
    WorkerLost {
        /// The function.
        function: String,
        /// The worker.
        worker: WorkerId,
        /// What is known.
        reason: String,
        /// Whether the function had begun.
        ran: bool,
    },

    /// The function returned an error.
    #[error("function \"{function}\" returned an error: {error}")]
    Guest {
        /// The function.
        function: String,
        /// What it returned. In a box, as the largest part of any error.
        error: Box<GuestError>,
        /// The type of its payload; `None` if there is no payload, or the module does not declare a type.
        payload_type: Option<PayloadType>,
    },
    /// The guest's execution was aborted.
    #[error("function \"{function}\" trapped: {reason}")]
    Trap {
        /// The function.
        function: String,
        /// The panic's message and place where the guest told it, the kind of trap otherwise.
        reason: String,
        /// The guest's functions on its stack, innermost first, a line each; may be empty.
        stack: String,
    },
    /// The guest threw an exception, and did not catch it before it left the function's export.
    #[error("function \"{function}\" did not catch {exception}")]
    UncaughtException {
        /// The function.
        function: String,
        /// Its payload, and which dependency threw it if that was called with bytes. With C++ the payload is an address.
        exception: String,
        /// The guest's functions on its stack, innermost first, a line each; may be empty.
        stack: String,
    },
    /// The guest ended its program through WASI instead of returning.
    #[error("function \"{function}\" exited with status {status} instead of returning")]
    Exited {
        /// The function.
        function: String,
        /// What it exited with; 0 where it meant no harm.
        status: i32,
    },
    /// The guest has more open through WASI than it may.
    #[error("function \"{function}\" has {limit} files open and wanted another")]
    TooManyOpenFiles {
        /// The function.
        function: String,
        /// How many it may have open.
        limit: usize,
    },
    /// The guest used up its fuel.
    #[error("function \"{function}\" used up its fuel of {limit}")]
    OutOfFuel {
        /// The function.
        function: String,
        /// What it had.
        limit: u64,
    },
    /// The guest wrote too many log lines, or too much output.
    #[error(
        "function \"{function}\" wrote {used} bytes of log lines and output, and the limit is {limit}"
    )]
    LogLimit {
        /// The function.
        function: String,
        /// In bytes.
        limit: usize,
        /// In bytes, with the line that was too much.
        used: usize,
    },
    /// The guest died after it was refused memory.
    #[error(
        "function \"{function}\" was refused memory past its limit of {limit} bytes, and trapped: it wanted {requested} in all"
    )]
    OutOfMemory {
        /// The function.
        function: String,
        /// How many bytes it wanted in all.
        requested: usize,
        /// In bytes.
        limit: usize,
    },
    /// The guest died after it was refused table elements.
    #[error(
        "function \"{function}\" was refused table elements past its limit of {limit}, and trapped: it wanted {requested} in all"
    )]
    OutOfTableElements {
        /// The function.
        function: String,
        /// How many it wanted in all.
        requested: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The guest nested its calls too deep.
    #[error("function \"{function}\" used up its stack of {limit} bytes")]
    StackOverflow {
        /// The function.
        function: String,
        /// In bytes.
        limit: usize,
    },
    /// The guest broke the contract.
    #[error("function \"{function}\" broke the contract of docs/abi.md: {reason}")]
    BadReply {
        /// The function.
        function: String,
        /// How.
        reason: String,
    },
    /// The result is larger than the limit.
    #[error("the result of function \"{function}\" has {found} bytes, and the limit is {limit}")]
    ResultTooLarge {
        /// The function.
        function: String,
        /// In bytes.
        limit: usize,
        /// In bytes.
        found: usize,
    },
    /// The function's sandbox could not be made.
    #[error("the sandbox of function \"{function}\" could not be instantiated: {reason}")]
    Initialisation {
        /// The function.
        function: String,
        /// Why: its start function failed, or a dependency does not link.
        reason: String,
    },
}

fn kept_free(resource: OsResource, reserve: u64) -> String {
    if reserve == 0 { String::new() } else { format!(" ({} stay free)", resource.bare(reserve)) }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
