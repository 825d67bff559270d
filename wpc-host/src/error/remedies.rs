//! The table of remedies, by error.

use crate::error::{CallQueue, Definable, Error, Grant, Remedy, Setting};

impl Error {
    /// What to do about the error, if there is a known remedy.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        use Setting::{CallOptions, Limits, Options};
        let raise = |setting| Remedy::Raise(vec![setting]);
        let advice = |text: &'static str| Remedy::Advice(text.into());
        Some(match self {
            Self::Reported(report) => return report.remedy.clone(),
            Self::NotRunning => Remedy::StartWorkers,
            Self::AlreadyStarted => Remedy::AwaitStop,
            Self::OsLimit { resource, .. } => Remedy::RaiseOsLimit(*resource),
            Self::NotWasm { .. } => advice("pass the bytes of a compiled `.wasm` file"),
            Self::Component { .. } => advice(
                "build for wasm32-unknown-unknown, or extract the core module from the component",
            ),
            Self::InvalidModule { .. } => advice("run `wasm-tools validate` for details"),
            Self::ModuleTooLarge { .. } => raise(Limits("module_size".into())),
            Self::CompileTimeout { .. } => raise(Limits("compile_time".into())),
            Self::CompilerBusy { .. } | Self::CircuitOpen { last_failure: None, .. } => {
                Remedy::Retry
            }
            Self::AbiVersion { .. } => advice("rebuild it with a matching SDK"),
            Self::MalformedSection { .. } => {
                advice("rebuild it with a matching SDK, or remove the section")
            }
            Self::AmbiguousExport { .. } => Remedy::ChooseExport,
            Self::ExportOfCommand { .. } => advice(
                "call `_start`, or build the module as a reactor (clang: `-mexec-model=reactor`, emcc: `--no-entry`, Rust: crate type `cdylib`)",
            ),
            Self::NotGranted { grant: Grant::Wasi(_), .. } if !cfg!(feature = "wasi") => {
                Remedy::EnableFeature("wasi".into())
            }
            Self::NotGranted { grant, .. } => Remedy::Grant(grant.clone()),
            Self::MemoryTooLarge { .. } | Self::OutOfMemory { .. } => {
                raise(Limits("memory".into()))
            }
            Self::TableTooLarge { .. } | Self::OutOfTableElements { .. } => {
                raise(Limits("table_elements".into()))
            }
            Self::DependencyCycle { .. } => advice("remove one of these imports"),
            Self::DependencyExport { .. } => {
                advice("define matching versions of the importing module and the dependency")
            }
            Self::DependencyChain { .. } => advice("merge some of these dependencies"),
            Self::TooManyInstances { option, .. } => raise(option.clone()),
            Self::InstancesInUse { .. } => raise(Options("max_live_instances".into())),
            Self::ChangesRefused { refusals } => return refusals.first()?.error.remedy(),
            Self::FunctionNotDefined { .. } => Remedy::Define(Definable::Function),
            Self::DependencyNotDefined { .. } => Remedy::Define(Definable::Dependency),
            Self::ConstantNotDefined { .. } => Remedy::Define(Definable::Constant),
            Self::HostFunctionNotDefined { .. } => Remedy::Define(Definable::HostFunction),
            Self::RecursiveCall { .. } => advice(
                "keep the recursion inside one function, or move the shared code into a dependency",
            ),
            Self::CallDepth { .. } => advice("link some of these functions as dependencies"),
            Self::PinMismatch { .. } => advice("define the pinned version, or pin the defined one"),
            Self::SignatureMismatch { hint: Some(hint), .. } => Remedy::WriteCall(hint.to_string()),
            Self::SignatureMismatch { .. }
            | Self::BadArguments { .. }
            | Self::ResultDecode { .. }
            | Self::PayloadDecode { .. } => Remedy::CompareSignature,
            Self::YieldsItems { .. } => Remedy::ReadItems,
            Self::Untyped { .. } => advice(
                "build it with an SDK that declares types, or call it with encoded arguments",
            ),
            Self::ArgumentsEncode { .. } => {
                advice("pass a tuple of types that serde can serialize")
            }
            Self::ArgumentsTooLarge { .. } => raise(Limits("arguments".into())),
            Self::NoReadyWorkers { .. } => Remedy::RestartWorkers,
            Self::Saturated { queue: CallQueue::Workers, .. } => Remedy::AwaitCapacity,
            Self::Saturated { queue: CallQueue::Overflow, .. } => {
                raise(Options("max_waiting_calls".into()))
            }
            Self::CircuitOpen { .. } => Remedy::Revive,
            Self::TypeMismatch { .. } => advice("give both the same type"),
            Self::UncaughtException { .. } => advice("catch it in the guest and return an error"),
            Self::Exited { .. } => advice("check its output for the reason"),
            Self::TooManyOpenFiles { .. } => raise(Limits("open_files".into())),
            Self::OutOfFuel { .. } => {
                Remedy::Raise(vec![Limits("fuel".into()), CallOptions("fuel".into())])
            }
            Self::LogLimit { .. } => raise(Limits("log".into())),
            Self::StackOverflow { .. } => {
                Remedy::Raise(vec![Limits("stack".into()), Options("max_wasm_stack".into())])
            }
            Self::ResultTooLarge { .. } => raise(Limits("result".into())),
            Self::InvalidOptions { .. }
            | Self::InvalidCallOptions { .. }
            | Self::InvalidName { .. }
            | Self::StartFailed { .. }
            | Self::UnsupportedProposal { .. }
            | Self::Sha256Mismatch { .. }
            | Self::MissingExport { .. }
            | Self::ExportType { .. }
            | Self::UnknownImport { .. }
            | Self::ConstantEncode { .. }
            | Self::Timeout { .. }
            | Self::Cancelled { .. }
            | Self::Stopped { .. }
            | Self::WorkerLost { .. }
            | Self::Guest { .. }
            | Self::Trap { .. }
            | Self::BadReply { .. }
            | Self::Initialisation { .. } => return None,
        })
    }
}
