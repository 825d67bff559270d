//! The descriptions of the error codes of calls, for `GET /problems/{code}` and the manual.

use wpc_host::ErrorCode;

/// What the code means, as a sentence. Empty for a code that is not in the table; a test compares it with all codes.
pub(super) const fn description(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidOptions => {
            "Options of the pool contradict each other or are out of range."
        }
        ErrorCode::InvalidCallOptions => {
            "An option of the call is invalid, or does not apply to the function."
        }
        ErrorCode::InvalidName => "A name has characters that are not allowed, or is too long.",
        ErrorCode::NotRunning => "The pool has not been started, has been stopped, or is stopping.",
        ErrorCode::AlreadyStarted => "The pool is already running, starting or stopping.",
        ErrorCode::StartFailed => "The thread of a worker did not start.",
        ErrorCode::OsLimit => "The operation would exceed a limit of the operating system.",
        ErrorCode::NotWasm => "The bytes are not WebAssembly.",
        ErrorCode::Component => "The bytes are a WebAssembly component instead of a module.",
        ErrorCode::InvalidModule => "The module is invalid or cannot be compiled.",
        ErrorCode::UnsupportedProposal => {
            "The module uses a WebAssembly proposal that is not supported."
        }
        ErrorCode::ModuleTooLarge => "The module is larger than its size limit.",
        ErrorCode::CompileTimeout => "The module did not compile within its time limit.",
        ErrorCode::CompilerBusy => "Too many other modules are being compiled.",
        ErrorCode::Sha256Mismatch => "The module does not have the required SHA-256.",
        ErrorCode::AbiVersion => "The module was built for another version of the guest contract.",
        ErrorCode::MalformedSection => "The module's custom section `wpc` is malformed.",
        ErrorCode::MissingExport => "The module does not export the function.",
        ErrorCode::AmbiguousExport => {
            "The module exports several functions, none of which has the definition's name."
        }
        ErrorCode::ExportType => "The export has a type that cannot be called.",
        ErrorCode::ExportOfCommand => {
            "The export belongs to a WASI command, whose exports cannot be called because only `_start` initialises them."
        }
        ErrorCode::UnknownImport => "The module imports an item that does not exist.",
        ErrorCode::NotGranted => "The module imports an item that it was not granted.",
        ErrorCode::MemoryTooLarge => "The module's initial memory exceeds its limit.",
        ErrorCode::TableTooLarge => "The initial size of a table exceeds the module's limit.",
        ErrorCode::DependencyCycle => "The dependencies form a cycle.",
        ErrorCode::DependencyExport => {
            "A dependency does not export what the module imports from it."
        }
        ErrorCode::TypeMismatch => {
            "An item's types differ from those that a module declares for it."
        }
        ErrorCode::DependencyChain => "The chain of dependencies is too long.",
        ErrorCode::TooManyInstances => {
            "The definition needs more module instances than are allowed."
        }
        ErrorCode::InstancesInUse => {
            "Other calls use all of the module instances that the call could use."
        }
        ErrorCode::ConstantEncode => {
            "The value of a constant does not have the constant's declared type, or cannot be encoded."
        }
        ErrorCode::ChangesRefused => "One of several changes was rejected; nothing was changed.",
        ErrorCode::FunctionNotDefined => "No function of this name is defined.",
        ErrorCode::DependencyNotDefined => "The function needs a dependency that is not defined.",
        ErrorCode::ConstantNotDefined => "The function needs a constant that is not defined.",
        ErrorCode::HostFunctionNotDefined => {
            "The function needs a host function that is not defined."
        }
        ErrorCode::RecursiveCall => {
            "The function called itself, directly or through other functions of the pool."
        }
        ErrorCode::CallDepth => "The chain of calls between functions is too deep.",
        ErrorCode::PinMismatch => {
            "The function is not defined by the module that the caller requires."
        }
        ErrorCode::SignatureMismatch => {
            "The caller's types differ from those that the function declares."
        }
        ErrorCode::YieldsItems => {
            "The function yields items, and the caller did not ask for a stream."
        }
        ErrorCode::Untyped => {
            "The module does not declare the types of the function, so the function cannot be called with JSON."
        }
        ErrorCode::ArgumentsEncode => "The arguments cannot be encoded.",
        ErrorCode::ArgumentsTooLarge => {
            "The encoded arguments are larger than the function's limit."
        }
        ErrorCode::BadArguments => "The arguments do not have the function's types.",
        ErrorCode::ResultDecode => {
            "The function ran, but its result does not have the requested format or the declared type."
        }
        ErrorCode::PayloadDecode => {
            "The function returned an error whose payload does not have the declared type."
        }
        ErrorCode::Denied => {
            "The process that runs the function does not permit this caller to call it."
        }
        ErrorCode::Unreachable => "No node that can run the function can be reached.",
        ErrorCode::ConnectionLost => "The node that ran the call did not answer.",
        ErrorCode::NoReadyWorkers => "No worker is ready, and none will be ready soon.",
        ErrorCode::Saturated => "The queues of the workers, or the overflow queue, are full.",
        ErrorCode::CircuitOpen => "The function keeps failing, so its circuit breaker is open.",
        ErrorCode::Timeout => "The time limit of the call passed.",
        ErrorCode::Cancelled => "The caller cancelled the call.",
        ErrorCode::Stopped => "The pool stopped before the call ended.",
        ErrorCode::WorkerLost => "The worker of the call panicked or became unresponsive.",
        ErrorCode::Guest => "The function returned an error.",
        ErrorCode::Trap => "The function trapped.",
        ErrorCode::UncaughtException => "The function threw an exception and did not catch it.",
        ErrorCode::Exited => "The program exited instead of returning.",
        ErrorCode::TooManyOpenFiles => "The function opened more files than its limit allows.",
        ErrorCode::OutOfFuel => "The function used up its fuel.",
        ErrorCode::LogLimit => "The function logged more than its limit allows.",
        ErrorCode::OutOfMemory => "The function needed more memory than its limit allows.",
        ErrorCode::OutOfTableElements => "The function needed larger tables than its limit allows.",
        ErrorCode::StackOverflow => "The function used up its stack.",
        ErrorCode::BadReply => "The function's reply violates the guest contract.",
        ErrorCode::ResultTooLarge => "The function's result is larger than its limit.",
        ErrorCode::Initialisation => "The module failed to initialise.",
        _ => "",
    }
}
