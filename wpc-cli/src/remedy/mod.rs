//! Remedies of errors in the terms of the interface in use. The library's remedies are data; here they become options
//! of a command or keys of a manifest.

use crate::limit_options;
use wpc_host::{Capability, Definable, Error, Grant, Remedy, Setting};

/// How the user configures the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// With a command's options: `call`, `bench`, `inspect`.
    Options,
    /// With a manifest: `run`, `test`, `build`.
    Manifest,
}

use Interface::{Manifest, Options};

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
    rename_settings(&error.to_string(), interface)
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
    let text = match (remedy, interface) {
        (Remedy::StartWorkers, _) => "the process is stopping",
        (Remedy::AwaitRoom, Options) => "lower `--outstanding`",
        (Remedy::AwaitRoom, Manifest) => "raise `max_pending_calls_per_worker` under [pool]",
        (Remedy::RestartWorkers, Options) => "restart the command",
        (Remedy::RestartWorkers, Manifest) => {
            "wait for `hold_cool_down` under [pool], or restart the command"
        }
        (Remedy::Revive, Options) => "restart the command",
        (Remedy::Revive, Manifest) => {
            "replace its module, or wait for `hold_cool_down` under [pool]"
        }
        (Remedy::CompareSignature, _) => "`wpc inspect` lists its signature",
        (Remedy::ChooseExport, Options) => "name one of them",
        (Remedy::ChooseExport, Manifest) => "choose one with `export`",
        (Remedy::Define(what), _) => definition(*what, interface),
        (Remedy::Grant(grant), _) => return grant_text(grant, interface),
        (Remedy::Raise(settings), _) => {
            let names = settings.iter().map(|setting| setting_text(setting, interface));
            let mut names: Vec<_> = names.collect();
            // One option may set several settings.
            names.dedup();
            return format!("raise {}", names.join(" or "));
        }
        (remedy, _) => return rename_settings(&remedy.to_string(), interface),
    };
    text.to_owned()
}

fn definition(what: Definable, interface: Interface) -> &'static str {
    match (what, interface) {
        (Definable::Function, Options) => "`wpc inspect` lists a module's functions",
        (Definable::Function, Manifest) => "add it under [functions] or [modules]",
        (Definable::Dependency, Options) => "define it with --dep ALIAS=FILE",
        (Definable::Dependency, Manifest) => "define it under [dependencies]",
        (Definable::Constant, Options) => "define it with --const NAME=JSON",
        (Definable::Constant, Manifest) => "define it under [constants]",
        _ => "only a program that embeds the library can define it",
    }
}

fn grant_text(grant: &Grant, interface: Interface) -> String {
    let (options, manifest) = match grant {
        Grant::Capability(Capability::Clock) => ("--grant clock", "`grants = [\"clock\"]`"),
        Grant::Capability(Capability::Random) => ("--grant random", "`grants = [\"random\"]`"),
        Grant::Wasi(method) => wasi_grant(method),
        _ => return "only a program that embeds the library can grant it".to_owned(),
    };
    format!("grant it with {}", if interface == Options { options } else { manifest })
}

/// The grant of a part of WASI: as an option and in a manifest.
fn wasi_grant(method: &str) -> (&'static str, &'static str) {
    match method {
        "arguments" => {
            ("--grant wasi or --grant arg=TEXT", "`grants = [\"wasi\"]` or `[\"arg=TEXT\"]`")
        }
        "environment" => (
            "--grant wasi or --grant env=NAME=VALUE",
            "`grants = [\"wasi\"]` or `[\"env=NAME=VALUE\"]`",
        ),
        "stdin" => ("--grant wasi or --grant stdin", "`grants = [\"wasi\"]`"),
        "stdout" => ("--grant wasi or --grant output", "`grants = [\"wasi\"]` or `[\"output\"]`"),
        "read_directory" => (
            "--grant read=FOLDER or --grant write=FOLDER",
            "`grants = [\"read=FOLDER\"]` or `[\"write=FOLDER\"]`",
        ),
        _ => ("--grant wasi", "`grants = [\"wasi\"]`"),
    }
}

/// The interface's name of a setting of the library.
fn setting_text(setting: &Setting, interface: Interface) -> String {
    match setting {
        Setting::Limits(field) => limit(field, interface),
        Setting::Options(field) => pool_option(field, interface),
        Setting::CallOptions(field) => call_option(field, interface),
        other => other.to_string(),
    }
}

/// The interface's name of a field of `Limits`.
pub(crate) fn limit(field: &str, interface: Interface) -> String {
    match interface {
        Manifest => format!("`{field}` in its limits"),
        Options => {
            let known = limit_options::OPTIONS.iter().find(|(known, _)| *known == field);
            format!("`{}`", known.map_or(field, |(_, option)| option))
        }
    }
}

/// The interface's name of a field of `Options`.
fn pool_option(field: &str, interface: Interface) -> String {
    match (field, interface) {
        (_, Manifest) => format!("`{field}` under [pool]"),
        ("max_live_instances", Options) => "`--workers`".to_owned(),
        // `--stack` also raises the pool's maximum.
        ("max_wasm_stack", Options) => limit("stack", interface),
        (_, Options) => format!("`{field}`"),
    }
}

/// The interface's name of a method of `CallOptions`.
fn call_option(field: &str, interface: Interface) -> String {
    match (field, interface) {
        ("timeout", Manifest) => "`timeout` in the call".to_owned(),
        ("timeout", Options) => "`--timeout`".to_owned(),
        (_, Manifest) => format!("`{field}` in the call"),
        (_, Options) => format!("`--{}`", field.replace('_', "-")),
    }
}

/// Replaces the library's names of settings, such as `` `Limits::fuel` ``, with the interface's names.
fn rename_settings(text: &str, interface: Interface) -> String {
    type Name = fn(&str, Interface) -> String;
    let kinds: [(&str, Name); 3] =
        [("`Limits::", limit), ("`Options::", pool_option), ("`CallOptions::", call_option)];
    kinds.into_iter().fold(text.to_owned(), |text, (start, name)| {
        let mut renamed = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(start) {
            let Some((field, after)) = after.split_once('`') else { break };
            renamed.push_str(before);
            renamed.push_str(&name(field, interface));
            rest = after;
        }
        renamed + rest
    })
}

#[cfg(test)]
mod tests;
