//! The table of error texts: what failed, for the caller of a function, an operator or a developer.

use crate::error::{CallQueue, Error, OsResource};
use std::fmt;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOptions { problems } => {
                write!(f, "invalid options: {}", problems.join("; "))
            }
            Self::InvalidCallOptions { function, problem } => {
                write!(f, "invalid call options for function \"{function}\": {problem}")
            }
            Self::InvalidName { what, name, rule } => {
                write!(f, "invalid {what} name {name:?}: a name must {rule}")
            }
            Self::Reported(report) => f.write_str(&report.text),
            Self::NotRunning => f.write_str("the workers are not running"),
            Self::AlreadyStarted => {
                f.write_str("the workers are already running, starting or stopping")
            }
            Self::StartFailed { cause } => write!(f, "the workers failed to start: {cause}"),
            Self::OsLimit { what, resource, needed, used, limit, reserve } => write!(
                f,
                "cannot create {what}: it needs {}, but {} of {} are in use{}",
                resource.amount(*needed),
                resource.bare(*used),
                resource.bare(*limit),
                reserved(*resource, *reserve)
            ),
            Self::NotWasm { what, reason } => write!(f, "{what} is not WebAssembly: {reason}"),
            Self::Component { what } => {
                write!(f, "{what} is a WebAssembly component; only core modules are supported")
            }
            Self::InvalidModule { what, reason } => {
                write!(f, "{what} is not a usable module: {reason}")
            }
            Self::UnsupportedProposal { what, proposal, reason } => write!(
                f,
                "{what} uses the WebAssembly proposal \"{proposal}\", which is not supported: {reason}"
            ),
            Self::ModuleTooLarge { what, limit, found } => write!(
                f,
                "{what} has {}, which exceeds the limit of {}",
                bytes(found),
                bytes(limit)
            ),
            Self::CompileTimeout { what, limit } => {
                write!(f, "{what} did not compile within {} ms", limit.as_millis())
            }
            Self::CompilerBusy { what, busy: 1 } => {
                write!(f, "{what} cannot be compiled now: 1 other module is being compiled")
            }
            Self::CompilerBusy { what, busy } => {
                write!(f, "{what} cannot be compiled now: {busy} other modules are being compiled")
            }
            Self::Sha256Mismatch { what, expected, found } => {
                write!(f, "{what} has the wrong SHA-256: expected {expected}, found {found}")
            }
            Self::AbiVersion { what, expected, found } => write!(
                f,
                "{what} was built for version {found} of the guest contract, but this host supports version {expected}"
            ),
            Self::MalformedSection { what, reason } => {
                write!(f, "the custom section \"wpc\" of {what} is malformed: {reason}")
            }
            Self::MissingExport { what, wanted, offered } => write!(
                f,
                "{what} has no callable export \"{wanted}\"; its callable exports: {}",
                list(offered)
            ),
            Self::AmbiguousExport { what, offered } => write!(
                f,
                "{what} has several callable exports, and none has the function's name: {}",
                list(offered)
            ),
            Self::ExportType { what, export, found } => write!(
                f,
                "the export \"{export}\" of {what} cannot be called: it is {found}; expected a function that takes i32, i64, f32 or f64 and returns at most one of them, or that follows docs/abi.md"
            ),
            Self::ExportOfCommand { what, export } => write!(
                f,
                "the export \"{export}\" of {what} cannot be called: the module is a WASI command, whose exports only `_start` initialises"
            ),
            Self::UnknownImport { what, module, name, reason } => write!(
                f,
                "{what} imports \"{name}\" from \"{module}\", which cannot be linked: {reason}"
            ),
            Self::NotGranted { what, module, name, .. } => {
                write!(f, "{what} imports \"{name}\" from \"{module}\", which it was not granted")
            }
            Self::MemoryTooLarge { what, limit, found } => write!(
                f,
                "{what} starts with {} of memory, which exceeds its limit of {}",
                bytes(found),
                bytes(limit)
            ),
            Self::TableTooLarge { what, limit, found } => write!(
                f,
                "{what} starts with a table of {found} elements, which exceeds its limit of {limit}"
            ),
            Self::DependencyCycle { path } => write!(f, "dependency cycle: {}", path.join(" -> ")),
            Self::DependencyExport { importer, alias, export, reason } => write!(
                f,
                "{importer} imports \"{export}\" from dependency \"{alias}\", which cannot be linked: {reason}"
            ),
            Self::TypeMismatch { module, item, part, expected, found } => {
                write!(f, "{item} does not have the type that is declared by {module}: ")?;
                if !part.is_empty() {
                    write!(f, "{part}: ")?;
                }
                write!(f, "expected {expected}, found {found}")
            }
            Self::DependencyChain { alias, limit } => write!(
                f,
                "the chain of dependencies that starts at \"{alias}\" is longer than {limit}"
            ),
            Self::TooManyInstances { what, needed, limit, .. } => write!(
                f,
                "{what} needs {needed} module instances including its dependencies, but may use at most {limit}"
            ),
            Self::InstancesInUse { function, needed, limit } => write!(
                f,
                "function \"{function}\" needs {}, but those that it may use of the pool's {limit} are used by running calls, local workers or abandoned threads",
                counted(*needed, "free module instance")
            ),
            Self::ConstantEncode { constant, reason } => {
                write!(f, "failed to encode constant \"{constant}\": {reason}")
            }
            Self::ChangesRefused { refusals } => {
                let refusals = refusals.iter().map(ToString::to_string).collect::<Vec<_>>();
                write!(f, "no change was made: {}", refusals.join("; "))
            }
            Self::FunctionNotDefined { function } => {
                write!(f, "function \"{function}\" is not defined")
            }
            Self::DependencyNotDefined { function, alias } => write!(
                f,
                "function \"{function}\" requires dependency \"{alias}\", which is not defined"
            ),
            Self::ConstantNotDefined { function, constant } => write!(
                f,
                "function \"{function}\" requires constant \"{constant}\", which is not defined"
            ),
            Self::HostFunctionNotDefined { function, host_function } => write!(
                f,
                "function \"{function}\" requires host function \"{host_function}\", which is not defined"
            ),
            Self::RecursiveCall { function, chain } => {
                write!(f, "recursive call to function \"{function}\": {}", chain.join(" -> "))
            }
            Self::CallDepth { function, chain, limit } => write!(
                f,
                "function \"{function}\" cannot be called, because at most {limit} calls can be nested: {}",
                chain.join(" -> ")
            ),
            Self::PinMismatch { function, expected, found } => write!(
                f,
                "the call pins function \"{function}\" to {expected}, but the defined version is {found}"
            ),
            Self::SignatureMismatch { function, part, expected, found, .. } => write!(
                f,
                "wrong types for function \"{function}\": {part}: expected {expected}, found {found}"
            ),
            Self::YieldsItems { function, .. } => {
                write!(f, "function \"{function}\" yields items, but its caller does not read them")
            }
            Self::Untyped { function } => write!(
                f,
                "function \"{function}\" does not declare its types, so it cannot be called with JSON"
            ),
            Self::ArgumentsEncode { function, reason } => {
                write!(f, "failed to encode the arguments of function \"{function}\": {reason}")
            }
            Self::ArgumentsTooLarge { function, limit, found } => write!(
                f,
                "the arguments of function \"{function}\" have {}, which exceeds the limit of {}",
                bytes(found),
                bytes(limit)
            ),
            Self::BadArguments { function, reason } => write!(
                f,
                "the arguments of function \"{function}\" do not match its parameters: {reason}"
            ),
            Self::ResultDecode { function, wanted, reason } => write!(
                f,
                "failed to decode the result of function \"{function}\" as `{wanted}`: {reason}"
            ),
            Self::PayloadDecode { function, wanted, reason } => write!(
                f,
                "failed to decode the error of function \"{function}\" as `{wanted}`: {reason}"
            ),
            Self::NoReadyWorkers { function } => write!(
                f,
                "no worker can take calls to function \"{function}\", and none will be restarted soon"
            ),
            Self::Saturated { function, queue: CallQueue::Workers, limit } => write!(
                f,
                "no worker can accept a call to function \"{function}\" (limit for each worker: {})",
                counted(*limit, "unanswered call")
            ),
            Self::Saturated { function, queue: CallQueue::Overflow, limit } => write!(
                f,
                "the overflow queue is full for function \"{function}\" (limit: {})",
                counted(*limit, "waiting call")
            ),
            Self::CircuitOpen { function, open_for, last_failure: Some(cause) } => write!(
                f,
                "function \"{function}\" keeps failing: its circuit breaker is open on every worker, on the first one for {:.1} s; last failure: {cause}",
                open_for.as_secs_f64()
            ),
            Self::CircuitOpen { function, last_failure: None, .. } => write!(
                f,
                "the circuit breaker of function \"{function}\" was open on every worker, but no longer is"
            ),
            Self::Timeout { function, limit, ran, cause } => {
                let when =
                    if *ran { "while it ran; it was interrupted" } else { "before it started" };
                write!(
                    f,
                    "the call to function \"{function}\" reached its time limit of {} ms {when}",
                    limit.as_millis()
                )?;
                match cause {
                    Some(cause) => {
                        write!(f, ": its sandbox was restarting after this failure: {cause}")
                    }
                    None => Ok(()),
                }
            }
            Self::Cancelled { function, ran } => {
                let when =
                    if *ran { "while it ran; it was interrupted" } else { "before it started" };
                write!(f, "the call to function \"{function}\" was cancelled {when}")
            }
            Self::Stopped { function, ran } => {
                let what = if *ran { "ended; it was interrupted" } else { "started" };
                write!(
                    f,
                    "the workers were stopped before the call to function \"{function}\" {what}"
                )
            }
            Self::WorkerLost { function, worker, reason, .. } => {
                write!(f, "{worker} failed during the call to function \"{function}\": {reason}")
            }
            Self::Guest { function, error, .. } => {
                write!(f, "function \"{function}\" returned an error: {error}")
            }
            Self::Trap { function, reason, .. } => {
                write!(f, "function \"{function}\" trapped: {reason}")
            }
            Self::UncaughtException { function, exception, .. } => {
                write!(f, "function \"{function}\" did not catch {exception}")
            }
            Self::Exited { function, status } => write!(
                f,
                "function \"{function}\" exited with status {status} instead of returning"
            ),
            Self::TooManyOpenFiles { function, limit } => {
                let limit = counted(*limit, "open file");
                write!(f, "function \"{function}\" tried to exceed its limit of {limit}")
            }
            Self::OutOfFuel { function, limit } => {
                write!(f, "function \"{function}\" used up its fuel of {limit}")
            }
            Self::LogLimit { function, limit, used } => write!(
                f,
                "function \"{function}\" wrote {} of log lines and output, which exceeds the limit of {}",
                bytes(used),
                bytes(limit)
            ),
            Self::OutOfMemory { function, requested, limit } => write!(
                f,
                "function \"{function}\" trapped because it was refused memory: it requested {} in total, which exceeds its limit of {}",
                bytes(requested),
                bytes(limit)
            ),
            Self::OutOfTableElements { function, requested, limit } => write!(
                f,
                "function \"{function}\" trapped because it was refused table elements: it requested {requested} in total, which exceeds its limit of {limit}"
            ),
            Self::StackOverflow { function, limit } => {
                write!(f, "function \"{function}\" overflowed its stack of {}", bytes(limit))
            }
            Self::BadReply { function, reason } => {
                write!(
                    f,
                    "function \"{function}\" violated the guest contract (docs/abi.md): {reason}"
                )
            }
            Self::ResultTooLarge { function, limit, found } => write!(
                f,
                "the result of function \"{function}\" has {}, which exceeds the limit of {}",
                bytes(found),
                bytes(limit)
            ),
            Self::Initialisation { function, reason } => {
                write!(f, "failed to instantiate the sandbox of function \"{function}\": {reason}")
            }
        }
    }
}

/// A number of bytes with its unit.
fn bytes(number: &impl fmt::Display) -> String {
    let number = number.to_string();
    format!("{number} byte{}", if number == "1" { "" } else { "s" })
}

fn reserved(resource: OsResource, reserve: u64) -> String {
    if reserve == 0 { String::new() } else { format!(" ({} are reserved)", resource.bare(reserve)) }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A number with its noun in the singular or the plural.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
