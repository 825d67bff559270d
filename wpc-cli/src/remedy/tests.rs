//! Texts of errors and remedies in the terms of each interface.

use super::*;
use clap::CommandFactory as _;
use wpc_host::{OsResource, Setting};

const OPTIONS: Interface = Interface { definition: Definition::Options, caller: Caller::Call };
const MANIFEST: Interface = Interface::MANIFEST;

/// Every interface with the subcommands that use it.
fn interfaces() -> [(Interface, &'static [&'static str]); 6] {
    use Caller::{Bench, Call};
    let with = |definition, caller| Interface { definition, caller };
    [
        (Interface::OPTIONS, &["inspect"]),
        (with(Definition::Options, Call), &["call"]),
        (with(Definition::Options, Bench), &["bench"]),
        (Interface::MANIFEST, &["run", "test", "build"]),
        (with(Definition::Manifest, Call), &["call"]),
        (with(Definition::Manifest, Bench), &["bench"]),
    ]
}

/// Every error of the library with its remedy.
const ERRORS: &str = include_str!("../../../wpc-host/src/error/snapshots/errors.snap");

fn remedies() -> Vec<Remedy> {
    let settings = [
        Setting::Options("max_live_instances".into()),
        Setting::Options("max_waiting_calls".into()),
        Setting::CallOptions("fuel".into()),
        Setting::CallOptions("timeout".into()),
    ];
    let limits = limit_options::OPTIONS.map(|(field, _)| Setting::Limits(field.into()));
    let raise = settings.into_iter().chain(limits).map(|setting| Remedy::Raise(vec![setting]));
    let wasi = ["new", "minimal", "arguments", "environment", "stdin", "stdout", "read_directory"];
    let wasi = wasi.map(|method| Remedy::Grant(Grant::Wasi(method.into())));
    let others = [
        Remedy::StartWorkers,
        Remedy::RestartWorkers,
        Remedy::AwaitCapacity,
        Remedy::Revive,
        Remedy::Retry,
        Remedy::Define(Definable::Function),
        Remedy::Define(Definable::Dependency),
        Remedy::Define(Definable::Constant),
        Remedy::Define(Definable::HostFunction),
        Remedy::CompareSignature,
        Remedy::ReadItems,
        Remedy::ChooseExport,
        Remedy::Grant(Grant::Capability(Capability::Clock)),
        Remedy::Grant(Grant::Capability(Capability::Random)),
        Remedy::Grant(Grant::HostFunction("lookup".to_owned())),
        Remedy::Grant(Grant::Function("resize".to_owned())),
        Remedy::Grant(Grant::Function("…".to_owned())),
        Remedy::Raise(vec![Setting::Limits("fuel".into()), Setting::CallOptions("fuel".into())]),
        Remedy::Raise(vec![
            Setting::Limits("stack".into()),
            Setting::Options("max_wasm_stack".into()),
        ]),
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
    let rename = |line: &str| rename_settings(line, interface.names());
    let errors = ERRORS.lines().filter(is_text).map(rename);
    errors.chain(remedies().iter().map(|remedy| remedy_text(remedy, interface))).collect()
}

#[test]
fn every_remedy_in_terms_of_the_library_is_covered_by_these_tests() {
    let known: Vec<_> = remedies().iter().map(ToString::to_string).collect();
    let advice = ERRORS.lines().filter_map(|line| line.strip_prefix("  remedy: "));
    // `AwaitStop` is excluded, because a command does not restart its workers.
    let library_terms =
        ["`define_", "`Limits::", "Options::", "`.grant", "_worker", "WasmModule::", "get_remote"];
    let unknown = advice.filter(|advice| {
        library_terms.iter().any(|term| advice.contains(term))
            && !known.iter().any(|known| known == advice)
            && *advice != Remedy::AwaitStop.to_string()
    });
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn no_text_names_a_method_of_the_library() {
    for text in interfaces().into_iter().flat_map(|(interface, _)| texts(interface)) {
        for term in [
            "define_",
            "Limits::",
            "Options::",
            ".grant",
            "WasmModule",
            "get_remote",
            "start_workers",
            "revive_",
        ] {
            assert!(!text.contains(term), "{text}");
        }
    }
}

/// The options that a text names. Skips options of compilers.
fn advised(text: &str) -> Vec<&str> {
    let words = text.split(['`', ' ', ';', '\n']).filter_map(|word| word.strip_prefix("--"));
    words.filter(|word| !matches!(*word, "" | "-" | "no-entry")).collect()
}

fn has(command: &clap::Command, subcommand: &str, option: &str) -> bool {
    let command = command.find_subcommand(subcommand).unwrap();
    command.get_arguments().any(|argument| argument.get_long() == Some(option))
}

#[test]
fn a_remedy_of_the_deployment_library_does_not_depend_on_the_command() {
    for remedy in remedies() {
        let text = wpc_deploy::remedy::remedy_text(&remedy);
        assert!(!text.contains("process") && !text.contains("command"), "{text}");
    }
}

#[test]
fn remedies_name_only_settings_of_their_interface() {
    let command = crate::Arguments::command();
    for (interface, subcommands) in interfaces() {
        let text = texts(interface).join("\n");
        let has_manifest = interface.definition == Definition::Manifest;
        assert_eq!(text.contains("[pool]"), has_manifest, "{interface:?}");
        // `inspect` defines nothing: only remedies about limits apply to it, which the next test covers.
        for subcommand in subcommands.iter().filter(|name| **name != "inspect") {
            for option in advised(&text) {
                assert!(has(&command, subcommand, option), "{subcommand} --{option}");
            }
        }
    }
    assert_eq!(advised(&texts(MANIFEST).join("\n")), Vec::<&str>::new());
}

#[test]
fn every_limit_is_raised_by_an_option_of_the_subcommand_or_a_key_of_the_manifest() {
    let command = crate::Arguments::command();
    for (field, option) in limit_options::OPTIONS {
        let remedy = |setting| Remedy::Raise(vec![setting]);
        let of_definition = remedy(Setting::Limits(field.into()));
        let of_call = remedy(Setting::CallOptions(field.into()));
        for (interface, subcommands) in interfaces() {
            let text = remedy_text(&of_definition, interface);
            let Definition::Options = interface.definition else {
                assert_eq!(text, format!("raise `{field}` in its limits"));
                continue;
            };
            assert_eq!(text, format!("raise `{option}`"));
            for subcommand in subcommands {
                assert!(has(&command, subcommand, advised(&text)[0]), "{subcommand} {option}");
            }
        }
        for caller in [Caller::Call, Caller::Bench] {
            let interface = Interface { definition: Definition::Manifest, caller };
            if ["timeout", "fuel"].contains(&field) {
                assert_eq!(remedy_text(&of_call, interface), format!("raise `{option}`"));
            }
        }
    }
}

#[test]
fn a_call_of_a_manifest_is_configured_by_both() {
    let fuel =
        Remedy::Raise(vec![Setting::Limits("fuel".into()), Setting::CallOptions("fuel".into())]);
    for (interface, expected) in [
        (OPTIONS, "raise `--fuel`"),
        (MANIFEST, "raise `fuel` in its limits or `fuel` in the call"),
        (Interface { caller: Caller::Call, ..MANIFEST }, "raise `fuel` in its limits or `--fuel`"),
    ] {
        assert_eq!(remedy_text(&fuel, interface), expected);
    }
    let bench = Interface { caller: Caller::Bench, ..MANIFEST };
    assert_eq!(remedy_text(&Remedy::AwaitCapacity, bench), "lower `--outstanding`");
}

#[test]
fn texts_of_guests_are_not_changed() {
    let error = Error::constant_encode("WORD", "`Limits::fuel` is an unknown field");
    for (interface, _) in interfaces() {
        assert!(text(&error, interface).contains("`Limits::fuel` is an unknown field"));
    }
}

#[test]
fn settings_have_the_names_of_the_interface() {
    let error =
        Error::invalid_options(["`Limits::result` or `Options::call_timeout` is wrong".to_owned()]);
    for (interface, expected) in [
        (OPTIONS, "`--result-limit` or `call_timeout` is wrong"),
        (MANIFEST, "`result` in its limits or `call_timeout` under [pool] is wrong"),
    ] {
        assert!(full_text(&error, interface).ends_with(expected));
    }
}

#[test]
fn the_message_and_the_remedy_are_separate() {
    let error = Error::function_not_defined("resize");
    assert_eq!(text(&error, MANIFEST), "function \"resize\" is not defined");
    assert_eq!(advice(&error, MANIFEST).unwrap(), "add it under [functions] or [modules]");
    assert_eq!(
        full_text(&error, OPTIONS),
        "function \"resize\" is not defined; choose one of the functions that `wpc inspect` lists"
    );
}
