//! What an error advises, in the terms of the interface that is in use: the library's remedies are data, a command has
//! options, a manifest has keys.

use crate::limit_options;
use wpc_host::{Capability, Definable, Error, Grant, Remedy, Setting};

/// How the library is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// By a command's options: `call`, `bench`, `inspect`.
    Options,
    /// By a manifest: `run`, `test`, `build`.
    Manifest,
}

use Interface::{Manifest, Options};

/// Why a result is not JSON that could be bytes or text.
const TOO_LARGE: &str = "it is too large to be JSON";

/// What failed, and what helps.
pub(crate) fn full_text(error: &Error, interface: Interface) -> String {
    let text = text(error, interface);
    match advice(error, interface) {
        Some(advice) => format!("{text}; {advice}"),
        None => text,
    }
}

/// What failed. Where that is a setting, it has the interface's name.
pub(crate) fn text(error: &Error, interface: Interface) -> String {
    rename_settings(&error.to_string(), interface)
}

/// What helps, if something does.
pub(crate) fn advice(error: &Error, interface: Interface) -> Option<String> {
    if let Error::ResultDecode { reason, .. } = error
        && reason == TOO_LARGE
    {
        return (interface == Options)
            .then(|| "write bytes and text to a file with `--output`".to_owned());
    }
    error.remedy().map(|remedy| remedy_text(&remedy, interface))
}

/// A remedy in the terms of the interface.
pub(crate) fn remedy_text(remedy: &Remedy, interface: Interface) -> String {
    let text = match (remedy, interface) {
        (Remedy::StartWorkers, _) => "the process is stopping",
        (Remedy::AwaitRoom, Options) => "lower `--outstanding`",
        (Remedy::AwaitRoom, Manifest) => "raise `max_pending_calls_per_worker` under [pool]",
        (Remedy::RestartWorkers, Options) => "start the command again",
        (Remedy::RestartWorkers, Manifest) => {
            "wait for `hold_cool_down` under [pool], or start the command again"
        }
        (Remedy::Revive, Options) => "start the command again",
        (Remedy::Revive, Manifest) => {
            "replace its module, or wait for `hold_cool_down` under [pool]"
        }
        (Remedy::CompareSignature, _) => "`wpc inspect` lists its signature",
        (Remedy::ChooseExport, Options) => "name one of them",
        (Remedy::ChooseExport, Manifest) => "choose one with `export`",
        (Remedy::Define(what), _) => definition(*what, interface),
        (Remedy::Grant(grant), _) => return grant_text(grant, interface),
        (Remedy::Raise(settings), _) => {
            let names = settings.iter().map(|setting| setting_text(*setting, interface));
            let mut names: Vec<_> = names.collect();
            // One option may set several.
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
        _ => "only a program that hosts it can define it",
    }
}

fn grant_text(grant: &Grant, interface: Interface) -> String {
    let (options, manifest) = match grant {
        Grant::Capability(Capability::Clock) => ("--grant clock", "`grants = [\"clock\"]`"),
        Grant::Capability(Capability::Random) => ("--grant random", "`grants = [\"random\"]`"),
        Grant::Wasi("arguments") => {
            ("--grant wasi or --grant arg=TEXT", "`grants = [\"wasi\"]` or `[\"arg=TEXT\"]`")
        }
        Grant::Wasi("environment") => (
            "--grant wasi or --grant env=NAME=VALUE",
            "`grants = [\"wasi\"]` or `[\"env=NAME=VALUE\"]`",
        ),
        Grant::Wasi("stdin") => ("--grant wasi or --grant stdin", "`grants = [\"wasi\"]`"),
        Grant::Wasi("stdout") => {
            ("--grant wasi or --grant output", "`grants = [\"wasi\"]` or `[\"output\"]`")
        }
        Grant::Wasi("read_directory") => (
            "--grant read=FOLDER or --grant write=FOLDER",
            "`grants = [\"read=FOLDER\"]` or `[\"write=FOLDER\"]`",
        ),
        Grant::Wasi(_) => ("--grant wasi", "`grants = [\"wasi\"]`"),
        _ => return "only a program that hosts the module can grant it".to_owned(),
    };
    format!("grant it with {}", if interface == Options { options } else { manifest })
}

/// What sets a setting of the library.
fn setting_text(setting: Setting, interface: Interface) -> String {
    match setting {
        Setting::Limits(field) => limit(field, interface),
        Setting::Options(field) => pool_option(field, interface),
        Setting::CallOptions(field) => call_option(field, interface),
        other => other.to_string(),
    }
}

/// What sets a field of `Limits`.
pub(crate) fn limit(field: &str, interface: Interface) -> String {
    match interface {
        Manifest => format!("`{field}` in its limits"),
        Options => {
            let known = limit_options::OPTIONS.iter().find(|(known, _)| *known == field);
            format!("`{}`", known.map_or(field, |(_, option)| option))
        }
    }
}

/// What sets a field of `Options`.
fn pool_option(field: &str, interface: Interface) -> String {
    match (field, interface) {
        (_, Manifest) => format!("`{field}` under [pool]"),
        ("max_live_instances", Options) => "`--workers`".to_owned(),
        // The option raises what the pool allows as well.
        ("max_wasm_stack", Options) => limit("stack", interface),
        (_, Options) => format!("`{field}`"),
    }
}

/// What sets a choice of `CallOptions`.
fn call_option(field: &str, interface: Interface) -> String {
    match (field, interface) {
        ("time_limit", Manifest) => "`timeout` in the call".to_owned(),
        ("time_limit", Options) => "`--timeout`".to_owned(),
        (_, Manifest) => format!("`{field}` in the call"),
        (_, Options) => format!("`--{}`", field.replace('_', "-")),
    }
}

/// The text with the interface's name of each setting that the library names, such as `` `Limits::fuel` ``.
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
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use wpc_host::OsResource;

    const INTERFACES: [Interface; 2] = [Options, Manifest];

    /// Every error of the library with its remedy.
    const ERRORS: &str = include_str!("../../tests/snapshots/errors.snap");

    fn remedies() -> Vec<Remedy> {
        let settings = [
            Setting::Options("max_live_instances"),
            Setting::CallOptions("fuel"),
            Setting::CallOptions("time_limit"),
        ];
        let limits = limit_options::OPTIONS.map(|(field, _)| Setting::Limits(field));
        let raise = settings.into_iter().chain(limits).map(|setting| Remedy::Raise(vec![setting]));
        let wasi =
            ["new", "minimal", "arguments", "environment", "stdin", "stdout", "read_directory"];
        let wasi = wasi.map(|method| Remedy::Grant(Grant::Wasi(method)));
        let others = [
            Remedy::StartWorkers,
            Remedy::RestartWorkers,
            Remedy::AwaitRoom,
            Remedy::Revive,
            Remedy::Retry,
            Remedy::Define(Definable::Function),
            Remedy::Define(Definable::Dependency),
            Remedy::Define(Definable::Constant),
            Remedy::Define(Definable::HostFunction),
            Remedy::CompareSignature,
            Remedy::ChooseExport,
            Remedy::Grant(Grant::Capability(Capability::Clock)),
            Remedy::Grant(Grant::Capability(Capability::Random)),
            Remedy::Grant(Grant::HostFunction("lookup".to_owned())),
            Remedy::Raise(vec![Setting::Limits("fuel"), Setting::CallOptions("fuel")]),
            Remedy::Raise(vec![Setting::Limits("stack"), Setting::Options("max_wasm_stack")]),
            Remedy::RaiseOsLimit(OsResource::MemoryMaps),
            Remedy::RaiseOsLimit(OsResource::Threads),
            Remedy::RaiseOsLimit(OsResource::AddressSpace),
            Remedy::RaiseOsLimit(OsResource::FileDescriptors),
        ];
        others.into_iter().chain(raise).chain(wasi).collect()
    }

    /// The texts of errors and remedies in the terms of an interface.
    fn texts(interface: Interface) -> Vec<String> {
        let is_text = |line: &&str| line.starts_with("  ") && !line.starts_with("  remedy: ");
        let errors = ERRORS.lines().filter(is_text).map(|line| rename_settings(line, interface));
        errors.chain(remedies().iter().map(|remedy| remedy_text(remedy, interface))).collect()
    }

    #[test]
    fn every_remedy_that_names_the_library_is_known_here() {
        let known: Vec<_> = remedies().iter().map(ToString::to_string).collect();
        let advised = ERRORS.lines().filter_map(|line| line.strip_prefix("  remedy: "));
        // A command starts its workers once.
        let of_the_library = [
            "`define_",
            "`Limits::",
            "Options::",
            "`.grant",
            "_worker",
            "WasmModule::",
            "get_remote",
        ];
        let unknown = advised.filter(|advice| {
            of_the_library.iter().any(|theirs| advice.contains(theirs))
                && !known.iter().any(|known| known == advice)
                && *advice != Remedy::AwaitStop.to_string()
        });
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn no_text_names_a_method_of_the_library() {
        for text in INTERFACES.into_iter().flat_map(texts) {
            for theirs in [
                "define_",
                "Limits::",
                "Options::",
                ".grant",
                "WasmModule",
                "get_remote",
                "start_workers",
                "revive_",
            ] {
                assert!(!text.contains(theirs), "{text}");
            }
        }
    }

    #[test]
    fn each_interface_is_advised_only_what_it_has() {
        let options = texts(Options).join("\n");
        assert!(!options.contains("[pool]") && !options.contains("[functions]"));
        let command = crate::Arguments::command();
        let has = |name: &str, option: &str| {
            let command = command.find_subcommand(name).unwrap();
            command.get_arguments().any(|argument| argument.get_long() == Some(option))
        };
        for (field, option) in limit_options::OPTIONS {
            let option = option.strip_prefix("--").unwrap();
            assert!(has("call", option) && has("bench", option), "{option} of {field}");
            assert_eq!(limit(field, Options), format!("`--{option}`"));
        }
        // Compilers have options too.
        let advised = |text: &str| {
            let words =
                text.split(['`', ' ', ';', '\n']).filter_map(|word| word.strip_prefix("--"));
            let words = words.filter(|word| !matches!(*word, "" | "-" | "no-entry"));
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        for option in advised(&options) {
            assert!(has("call", &option) || has("bench", &option), "{option}");
        }
        assert_eq!(advised(&texts(Manifest).join("\n")), Vec::<String>::new());
    }

    #[test]
    fn a_setting_is_named_by_what_sets_it() {
        let error = Error::InvalidOptions {
            problems: vec!["`Limits::result` or `Options::call_timeout` is wrong".to_owned()],
        };
        for (interface, expected) in [
            (Options, "`--result-limit` or `call_timeout` is wrong"),
            (Manifest, "`result` in its limits or `call_timeout` under [pool] is wrong"),
        ] {
            assert!(full_text(&error, interface).ends_with(expected));
        }
    }

    #[test]
    fn what_failed_stands_apart_from_what_helps() {
        let error = Error::FunctionNotDefined { function: "resize".to_owned() };
        assert_eq!(text(&error, Manifest), "function \"resize\" is not defined");
        assert_eq!(advice(&error, Manifest).unwrap(), "add it under [functions] or [modules]");
        assert_eq!(
            full_text(&error, Options),
            "function \"resize\" is not defined; `wpc inspect` lists a module's functions"
        );
    }
}
