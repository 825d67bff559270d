//! What an error advises, in the terms of the interface that is in use: the library's errors name its
//! methods and fields, a command has options, a manifest has keys.

use crate::limit_options;

/// How the library is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// By a command's options: `call`, `bench`, `inspect`.
    Options,
    /// By a manifest: `run`, `test`, `build`.
    Manifest,
}

/// What the library's errors advise, what a command does, and what a manifest does.
struct Remedy {
    library: &'static str,
    options: &'static str,
    manifest: &'static str,
}

const fn remedy(library: &'static str, options: &'static str, manifest: &'static str) -> Remedy {
    Remedy { library, options, manifest }
}

const fn both(library: &'static str, command: &'static str) -> Remedy {
    Remedy { library, options: command, manifest: command }
}

/// Each is replaced wherever it stands, in this order: what contains another comes before it.
const REMEDIES: [Remedy; 28] = [
    remedy(
        "define it with `define_worker_function`",
        "`wpc inspect` lists a module's functions",
        "add it under [functions] or [modules]",
    ),
    remedy(
        "define it with `define_worker_dependency`",
        "define it with --dep ALIAS=FILE",
        "define it under [dependencies]",
    ),
    remedy(
        "define it with `define_worker_constant`",
        "define it with --const NAME=JSON",
        "define it under [constants]",
    ),
    both(
        "which is not defined; define it with `define_host_function`",
        "which only a program that hosts it can define",
    ),
    both("`get_remote_functions` tells its signature", "`wpc inspect` lists its signature"),
    remedy("choose one with `.export(…)`", "name one of them", "choose one with `export`"),
    remedy(
        "grant it with `.grant(Capability::Clock)`",
        "grant it with --grant clock",
        "grant it with `grants = [\"clock\"]`",
    ),
    remedy(
        "grant it with `.grant(Capability::Random)`",
        "grant it with --grant random",
        "grant it with `grants = [\"random\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::new())`",
        "grant it with --grant wasi",
        "grant it with `grants = [\"wasi\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::minimal())`",
        "grant it with --grant wasi",
        "grant it with `grants = [\"wasi\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::new().arguments([…]))`",
        "grant it with --grant wasi or --grant arg=TEXT",
        "grant it with `grants = [\"wasi\"]` or `[\"arg=TEXT\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::new().environment([…]))`",
        "grant it with --grant wasi or --grant env=NAME=VALUE",
        "grant it with `grants = [\"wasi\"]` or `[\"env=NAME=VALUE\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::new().stdin(…))`",
        "grant it with --grant wasi or --grant stdin",
        "grant it with `grants = [\"wasi\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::new().stdout(Output::events()))`",
        "grant it with --grant wasi or --grant output",
        "grant it with `grants = [\"wasi\"]` or `[\"output\"]`",
    ),
    remedy(
        "grant it with `.grant_wasi(Wasi::new().read_directory(…, …))`",
        "grant it with --grant read=FOLDER or --grant write=FOLDER",
        "grant it with `grants = [\"read=FOLDER\"]` or `[\"write=FOLDER\"]`",
    ),
    remedy(
        "raise `Limits::fuel` or `CallOptions::fuel`",
        "raise `--fuel`",
        "raise `fuel` in its limits, or in the call",
    ),
    remedy(
        "define the function with `Limits::fuel`",
        "meter it with `--fuel`",
        "meter it with `fuel` in its limits",
    ),
    remedy(
        "raise `Limits::stack` or the pool's `Options::max_wasm_stack`",
        "raise `--stack`",
        "raise `stack` in its limits or `max_wasm_stack` under [pool]",
    ),
    remedy(
        "to `Options::max_wasm_stack`, which is ",
        "to ",
        "to `max_wasm_stack` under [pool], which is ",
    ),
    remedy(
        "call with `wait_for_room`, or raise `Options::max_pending_calls_per_worker`",
        "lower `--outstanding`",
        "raise `max_pending_calls_per_worker` under [pool]",
    ),
    both("call `start_workers` first", "the process is stopping"),
    remedy(
        "it is too large to be JSON",
        "it is too large to be JSON; bytes and text can be written to a file with `--output`",
        "it is too large to be JSON",
    ),
    remedy(
        "lower `Options::max_live_instances`",
        "lower `--workers`",
        "lower `max_live_instances` under [pool]",
    ),
    remedy("`time_limit`", "`--timeout`", "`timeout`"),
    remedy("the pool's `Options::", "the pool's `", "the pool's `"),
    remedy("`CallOptions::fuel`", "`--fuel`", "`fuel` in the call"),
    remedy("`CallOptions::time_limit`", "`--timeout`", "`timeout` in the call"),
    remedy("`CallOptions::", "`", "`"),
];

/// What only a program can grant.
const HOST_FUNCTION: &str = "; grant it with `.grant_host_function(";

/// A message of the library in the terms of this interface.
pub(crate) fn translate(message: &str, interface: Interface) -> String {
    let mut message = message.to_owned();
    if let Some(at) = message.find(HOST_FUNCTION) {
        message.truncate(at);
        message.push_str("; only a program that hosts the module can grant it");
    }
    for Remedy { library, options, manifest } in &REMEDIES {
        if message.contains(library) {
            let ours = if interface == Interface::Options { options } else { manifest };
            message = message.replace(library, ours);
        }
    }
    let message = rename(&message, "Limits", |field| limit(field, interface));
    rename(&message, "Options", |field| match interface {
        Interface::Options => format!("`{field}`"),
        Interface::Manifest => format!("`{field}` under [pool]"),
    })
}

/// Replaces each `` `Type::field` `` of the message.
fn rename(message: &str, ty: &str, name: impl Fn(&str) -> String) -> String {
    let start = format!("`{ty}::");
    let mut renamed = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(&start) {
        let Some((field, after)) = after.split_once('`') else { break };
        renamed.push_str(before);
        renamed.push_str(&name(field));
        rest = after;
    }
    renamed + rest
}

/// What sets a field of `Limits`.
pub(crate) fn limit(field: &str, interface: Interface) -> String {
    match interface {
        Interface::Manifest => format!("`{field}` in its limits"),
        Interface::Options => {
            let known = limit_options::OPTIONS.iter().find(|(known, _)| *known == field);
            format!("`{}`", known.map_or(field, |(_, option)| option))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    const INTERFACES: [Interface; 2] = [Interface::Options, Interface::Manifest];

    #[test]
    fn no_error_names_a_method_of_the_library() {
        let errors = include_str!("../../tests/snapshots/errors.snap");
        for interface in INTERFACES {
            let ours = translate(errors, interface);
            for theirs in [
                "define_",
                "Limits::",
                "Options::",
                ".grant",
                ".export",
                "get_remote",
                "start_workers",
            ] {
                let line =
                    ours.lines().find(|line| line.contains(theirs) && line.starts_with("  "));
                assert_eq!(line, None, "{theirs}");
            }
        }
        let pieces = include_str!("../../wpc-host/src/wasi.rs").lines();
        for piece in pieces.filter(|line| line.contains("=> \".grant_wasi")) {
            let grant = piece.split('"').nth(1).unwrap();
            let advised = format!("it was not granted; grant it with `{grant}`");
            assert!(translate(&advised, Interface::Options).contains("--grant "), "{grant}");
            assert!(translate(&advised, Interface::Manifest).contains("`grants = ["), "{grant}");
        }
    }

    #[test]
    fn each_interface_is_advised_only_what_it_has() {
        let errors = include_str!("../../tests/snapshots/errors.snap");
        let options = translate(errors, Interface::Options);
        assert!(!options.contains("[pool]") && !options.contains("[functions]"));
        let command = crate::Arguments::command();
        let has = |name: &str, option: &str| {
            let command = command.find_subcommand(name).unwrap();
            command.get_arguments().any(|argument| argument.get_long() == Some(option))
        };
        for (field, option) in limit_options::OPTIONS {
            let option = option.strip_prefix("--").unwrap();
            assert!(has("call", option) && has("bench", option), "{option} of {field}");
            assert_eq!(limit(field, Interface::Options), format!("`--{option}`"));
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
        assert_eq!(advised(&translate(errors, Interface::Manifest)), Vec::<String>::new());
    }

    #[test]
    fn a_field_is_named_by_what_sets_it() {
        let message = "the result has 12 bytes; raise `Limits::result`, or `Options::call_timeout`";
        assert_eq!(
            translate(message, Interface::Options),
            "the result has 12 bytes; raise `--result-limit`, or `call_timeout`"
        );
        assert_eq!(
            translate(message, Interface::Manifest),
            "the result has 12 bytes; raise `result` in its limits, or `call_timeout` under [pool]"
        );
    }
}
