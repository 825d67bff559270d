//! Remedies of errors in the terms of the interface in use. The library's remedies are data; here they become options
//! of a command. `wpc_deploy` names keys of a manifest.

use crate::limit_options;
use wpc_deploy::remedy::{SettingNames, rename_settings, setting_text};
use wpc_host::{Capability, Definable, Error, Grant, Remedy};

/// How the user configures the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// With a command's options: `call`, `bench`, `inspect`.
    Options,
    /// With a manifest: `run`, `test`, `build`.
    Manifest,
}

use Interface::{Manifest, Options};

/// The remedy for calls without workers, which a command only makes when it stops.
const STOPPING: &str = "the process is stopping";

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
    match interface {
        Options => rename_settings(&error.to_string(), NAMES),
        Manifest => wpc_deploy::remedy::text(error),
    }
}

/// The remedy, if there is one.
pub(crate) fn advice(error: &Error, interface: Interface) -> Option<String> {
    if let Error::ResultDecode { reason, .. } = error
        && reason == TOO_LARGE
    {
        return (interface == Options)
            .then(|| "write a `Vec<u8>` or `String` result to a file with `--output`".to_owned());
    }
    error.remedy().map(|remedy| remedy_text(&remedy, interface))
}

/// A remedy in the terms of the interface.
pub(crate) fn remedy_text(remedy: &Remedy, interface: Interface) -> String {
    if interface == Manifest {
        // The workers of a command run as long as its process.
        return match remedy {
            Remedy::StartWorkers => STOPPING.to_owned(),
            Remedy::RestartWorkers => {
                "wait for `circuit_breaker_cool_down` under [pool], or restart the command"
                    .to_owned()
            }
            remedy => wpc_deploy::remedy::remedy_text(remedy),
        };
    }
    let text = match remedy {
        Remedy::StartWorkers => STOPPING,
        Remedy::AwaitCapacity => "lower `--outstanding`",
        Remedy::RestartWorkers | Remedy::Revive => "restart the command",
        Remedy::CompareSignature => "`wpc inspect` lists its signature",
        Remedy::ChooseExport => "name one of them",
        Remedy::Define(Definable::Function) => "`wpc inspect` lists a module's functions",
        Remedy::Define(Definable::Dependency) => "define it with --dep ALIAS=FILE",
        Remedy::Define(Definable::Constant) => "define it with --const NAME=JSON",
        Remedy::Define(_) => "only a program that embeds the library can define it",
        Remedy::Grant(grant) => return grant_text(grant),
        Remedy::Raise(settings) => {
            let names = settings.iter().map(|setting| setting_text(setting, NAMES));
            let mut names: Vec<_> = names.collect();
            // One option may set several settings.
            names.dedup();
            return format!("raise {}", names.join(" or "));
        }
        remedy => return rename_settings(&remedy.to_string(), NAMES),
    };
    text.to_owned()
}

fn grant_text(grant: &Grant) -> String {
    let options = match grant {
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
const NAMES: SettingNames = [
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
