//! Why a guest ended without a reply, and the error that its caller receives.

use super::{Request, Sandbox, exception, wasi};
use crate::call::Interrupt;
use crate::codec::payload::Refused;
use crate::error::Error;
use crate::module::engine::INSTANCE_WITHOUT_POOL;
use crate::system::os_limits;
use wasmtime::{ThrownException, Trap, WasmBacktrace};

/// Why a guest's execution ended without a reply. Wasmtime carries it as the cause of its error.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("interrupted")]
    Interrupted(Interrupt),
    #[error("{0}")]
    Contract(String),
    #[error("the result has {found} bytes")]
    ResultTooLarge { found: usize },
    #[error("the program of module {at} exited with {status}")]
    #[cfg_attr(not(feature = "wasi"), expect(dead_code, reason = "only WASI has an exit"))]
    Exited { at: usize, status: i32 },
    #[error("{used} bytes were logged")]
    LogLimit { used: usize },
    #[error(transparent)]
    Refused(Refused),
    #[error("invalid arguments: {0}")]
    BadArguments(String),
    #[error("constant \"{0}\" is not defined")]
    ConstantNotDefined(String),
    #[error("{0}")]
    Link(String),
    #[error("{0}")]
    Init(String),
    #[error("{0}")]
    Exception(String),
    /// The host cannot run a host function.
    #[error(transparent)]
    Host(Error),
}

impl Sandbox {
    /// The error that reports why the guest ended.
    #[cold]
    pub(super) fn error(&mut self, error: wasmtime::Error, request: &Request<'_>) -> Error {
        let function = request.call.function.to_string();
        let stack = error.downcast_ref::<WasmBacktrace>().map(describe_stack).unwrap_or_default();
        match error.downcast_ref::<Failure>() {
            Some(Failure::Interrupted(interrupt)) => {
                return request.call.error_of(*interrupt, true);
            }
            Some(Failure::Contract(reason)) => {
                return Error::BadReply { function, reason: reason.clone() };
            }
            Some(Failure::Refused(refused)) => return refused.clone().error(&function),
            Some(Failure::BadArguments(reason)) => {
                return Error::BadArguments { function, reason: reason.clone() };
            }
            Some(Failure::ResultTooLarge { found }) => {
                let limit = self.store.data().result_limit;
                return Error::ResultTooLarge { function, limit, found: *found };
            }
            Some(Failure::Exited { status, .. }) => {
                return Error::Exited { function, status: *status };
            }
            Some(Failure::LogLimit { used }) => {
                let limit = self.store.data().volume.limit;
                return Error::LogLimit { function, limit, used: *used };
            }
            Some(Failure::Exception(exception)) => {
                return Error::UncaughtException { function, exception: exception.clone(), stack };
            }
            Some(Failure::ConstantNotDefined(constant)) => {
                return Error::ConstantNotDefined { function, constant: constant.clone() };
            }
            Some(Failure::Host(error)) => return error.clone(),
            Some(Failure::Init(reason)) => {
                return Error::Trap { function, reason: reason.clone(), stack: String::new() };
            }
            Some(Failure::Link(reason)) => {
                return Error::Initialisation { function, reason: reason.clone() };
            }
            None => {}
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            let needed = self.blueprint.instances();
            let limit = self.store.data().environment.max_instances;
            return Error::InstancesInUse { function, needed, limit };
        }
        if wasi::has_too_many_files(&error) {
            return Error::TooManyOpenFiles { function, limit: self.open_files };
        }
        if error.is::<ThrownException>() {
            let exception = exception::take(&mut self.store);
            return Error::UncaughtException { function, exception, stack };
        }
        if self.blueprint.is_without_pool()
            && error.chain().any(os_limits::is_out_of_memory)
            && let Some(error) = os_limits::no_space(
                format_args!("a sandbox of function \"{function}\""),
                INSTANCE_WITHOUT_POOL * self.blueprint.instances() as u64,
            )
        {
            return error;
        }
        let trap = error.downcast_ref::<Trap>().copied();
        match trap {
            Some(Trap::OutOfFuel) => {
                return Error::OutOfFuel { function, limit: request.fuel.unwrap_or_default() };
            }
            Some(Trap::StackOverflow) => {
                let limit = self.blueprint.stack();
                return Error::StackOverflow { function, limit };
            }
            _ => {}
        }
        let state = self.store.data_mut();
        if let Some(reason) = state.panic.take() {
            return Error::Trap { function, reason, stack };
        }
        if let Some((requested, limit)) = state.meter.memory.shortage() {
            return Error::OutOfMemory { function, requested, limit };
        }
        if let Some((requested, limit)) = state.meter.table_elements.shortage() {
            return Error::OutOfTableElements { function, requested, limit };
        }
        let reason = match trap {
            Some(trap) => trap.to_string(),
            None => format!("{:#}", error.root_cause()),
        };
        Error::Trap { function, reason, stack }
    }

    /// The error of a failure before the first call. Errors that the caller's options caused stay as they are; others
    /// become a failure to initialise the definition.
    pub(super) fn initialisation_error(
        &mut self,
        error: wasmtime::Error,
        request: &Request<'_>,
    ) -> Error {
        let (function, reason) = match self.error(error, request) {
            Error::UncaughtException { function, exception, .. } => {
                (function, format!("it did not catch {exception}"))
            }
            Error::Trap { function, reason, .. } => (function, reason),
            other => return other,
        };
        let module = self.store.data_mut().instantiating.take();
        let module = module.as_deref().unwrap_or("its module");
        Error::Initialisation { function, reason: format!("{module}: {reason}") }
    }
}

/// Whether the sandbox can be used again after the error: the error did not affect it, or it was never created.
pub(crate) fn keeps_sandbox(error: &Error) -> bool {
    Refused::caused(error)
        || matches!(
            error,
            Error::BadArguments { .. }
                | Error::ConstantNotDefined { .. }
                | Error::InstancesInUse { .. }
                | Error::OsLimit { .. }
        )
}

fn describe_stack(stack: &WasmBacktrace) -> String {
    let frames = stack.frames().iter().map(|frame| match frame.func_name() {
        // The module's author chooses the length of the name.
        Some(name) => format!("at {}", &name[..name.floor_char_boundary(256)]),
        None => format!("at function {}", frame.func_index()),
    });
    frames.collect::<Vec<_>>().join("\n")
}
