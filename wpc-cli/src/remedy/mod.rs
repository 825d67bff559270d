//! Remedies of errors in the terms of the interface in use. The library's remedies are data; here they become options
//! of a command. `wpc_deploy` names keys of a manifest.

use crate::limit_options;
use wpc_deploy::remedy::{NAMES, SettingNames, rename_settings, setting_text, text_with};
use wpc_host::{Capability, Definable, Error, Grant, Remedy};

/// How the user configures the library. Remedies about a definition name the interface that defines
/// it, and remedies about a call the interface that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) definition: Definition,
    pub(crate) caller: Caller,
}

/// What defines functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Definition {
    /// A command's options.
    Options,
    Manifest,
    /// The manifest that was deployed to a cluster.
    Cluster,
}

/// What makes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The command `call`.
    Call,
    /// The command `bench`.
    Bench,
    /// A line of `run` or a test of a manifest; other commands make no calls.
    Other,
}

impl Interface {
    /// Of commands with a manifest: `run`, `test`, `build`.
    pub(crate) const MANIFEST: Self =
        Self { definition: Definition::Manifest, caller: Caller::Other };

    /// Of other commands that make no calls.
    pub(crate) const OPTIONS: Self =
        Self { definition: Definition::Options, caller: Caller::Other };

    /// The names of settings: of limits, of options of the pool, and of options of a call.
    fn names(self) -> SettingNames {
        let [limit, option, call_option] = match self.definition {
            Definition::Options => OPTION_NAMES,
            Definition::Manifest | Definition::Cluster => NAMES,
        };
        let call_option = match self.caller {
            Caller::Call | Caller::Bench => OPTION_NAMES[2],
            Caller::Other => call_option,
        };
        [limit, option, call_option]
    }
}

/// The reason in the error for a result that is too large for JSON but may be bytes or text.
const TOO_LARGE: &str = "it is too large to be JSON";

/// The error message, followed by the remedy if there is one.
pub(crate) fn full_text(error: &Error, interface: Interface) -> String {
    let text = text(error, interface);
    match advice(error, interface) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

/// The error message, with the interface's names of settings.
pub(crate) fn text(error: &Error, interface: Interface) -> String {
    text_with(error, interface.names())
}

/// The remedy, if there is one.
pub(crate) fn advice(error: &Error, interface: Interface) -> Option<String> {
    if let Error::ResultDecode { reason, .. } = error
        && reason == TOO_LARGE
    {
        return (interface.caller == Caller::Call)
            .then(|| "write a `Vec<u8>` or `String` result to a file with `--output`".to_owned());
    }
    error.remedy().map(|remedy| remedy_text(&remedy, interface))
}

/// A remedy in the terms of the interface.
pub(crate) fn remedy_text(remedy: &Remedy, interface: Interface) -> String {
    match (remedy, interface.definition) {
        // The workers of a command run as long as its process.
        (Remedy::StartWorkers, _) => "the process is stopping".to_owned(),
        (Remedy::RestartWorkers, Definition::Manifest) => {
            "wait for `circuit_breaker_cool_down` under [pool], or restart the command".to_owned()
        }
        (Remedy::AwaitCapacity, _) if interface.caller == Caller::Bench => {
            "lower `--outstanding`".to_owned()
        }
        (Remedy::ReadItems, _) => match interface.caller {
            Caller::Call => "read them with `--stream`",
            Caller::Bench => "measure a function that yields none",
            Caller::Other => "set `stream` of the call, or `items` of the test",
        }
        .to_owned(),
        (Remedy::Raise(settings), _) => {
            let names = interface.names();
            let mut names: Vec<_> =
                settings.iter().map(|setting| setting_text(setting, names)).collect();
            // One option may set several settings.
            names.dedup();
            format!("raise {}", names.join(" or "))
        }
        (Remedy::Define(Definable::Function), Definition::Cluster) => {
            "choose one of the functions that `wpc ls --cluster` lists".to_owned()
        }
        (Remedy::CompareSignature, Definition::Cluster) => {
            "compare the types with the signature that `wpc ls --cluster` lists".to_owned()
        }
        (remedy, Definition::Manifest | Definition::Cluster) => {
            wpc_deploy::remedy::remedy_text(remedy)
        }
        (remedy, Definition::Options) => option_text(remedy),
    }
}

/// A remedy that a command's options follow.
fn option_text(remedy: &Remedy) -> String {
    let text = match remedy {
        Remedy::AwaitCapacity => return Remedy::Retry.to_string(),
        Remedy::RestartWorkers | Remedy::Revive => "restart the command",
        Remedy::CompareSignature => "compare the types with the signature that `wpc inspect` lists",
        Remedy::ChooseExport => "name one of them",
        Remedy::Define(Definable::Function) => {
            "choose one of the functions that `wpc inspect` lists"
        }
        Remedy::Define(Definable::Dependency) => "define it with --dep ALIAS=FILE",
        Remedy::Define(Definable::Constant) => "define it with --const NAME=JSON",
        Remedy::Define(_) => "only a program that embeds the library can define it",
        Remedy::Grant(grant) => return grant_text(grant),
        Remedy::RaiseOsLimit(_) => return rename_settings(&remedy.to_string(), OPTION_NAMES),
        remedy => return remedy.to_string(),
    };
    text.to_owned()
}

fn grant_text(grant: &Grant) -> String {
    let options = match grant {
        Grant::Function(name) => {
            let name = if name == "…" { "NAME" } else { name };
            return format!("grant it with `--grant function={name}`");
        }
        Grant::Capability(Capability::Clock) => "--grant clock",
        Grant::Capability(Capability::Random) => "--grant random",
        Grant::Wasi(method) => match &**method {
            "arguments" => "--grant wasi or --grant arg=TEXT",
            "environment" => "--grant wasi or --grant env=NAME=VALUE",
            "stdin" => "--grant wasi or --grant stdin",
            "stdout" => "--grant wasi or --grant output",
            "read_directory" => "--grant read=FOLDER or --grant write=FOLDER",
            _ => "--grant wasi",
        },
        _ => return "only a program that embeds the library can grant it".to_owned(),
    };
    format!("grant it with {options}")
}

/// The options for settings of the library.
const OPTION_NAMES: SettingNames = [
    limit,
    |field| match field {
        "max_live_instances" => "`--workers`".to_owned(),
        // `--stack` also raises the pool's maximum.
        "max_wasm_stack" => limit("stack"),
        field => format!("`{field}`"),
    },
    |field| format!("`--{}`", field.replace('_', "-")),
];

/// The option for a field of `Limits`.
pub(crate) fn limit(field: &str) -> String {
    let known = limit_options::OPTIONS.iter().find(|(known, _)| *known == field);
    format!("`{}`", known.map_or(field, |(_, option)| option))
}

#[cfg(test)]
mod tests;
