//! Texts of errors and remedies in the terms of each interface.

use super::*;
use clap::CommandFactory as _;
use wpc_host::{OsResource, Setting};

const INTERFACES: [Interface; 2] = [Options, Manifest];

/// Every error of the library with its remedy.
const ERRORS: &str = include_str!("../../../wpc-host/src/error/snapshots/errors.snap");

fn remedies() -> Vec<Remedy> {
    let settings = [
        Setting::Options("max_live_instances".into()),
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
        Remedy::ChooseExport,
        Remedy::Grant(Grant::Capability(Capability::Clock)),
        Remedy::Grant(Grant::Capability(Capability::Random)),
        Remedy::Grant(Grant::HostFunction("lookup".to_owned())),
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
    let rename = |line: &str| match interface {
        Options => rename_settings(line, NAMES),
        Manifest => rename_settings(line, wpc_deploy::remedy::NAMES),
    };
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
    for text in INTERFACES.into_iter().flat_map(texts) {
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

#[test]
fn a_remedy_of_the_deployment_library_does_not_depend_on_the_command() {
    for remedy in remedies() {
        let text = wpc_deploy::remedy::remedy_text(&remedy);
        assert!(!text.contains("process") && !text.contains("command"), "{text}");
    }
}

#[test]
fn remedies_name_only_settings_of_their_interface() {
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
        assert_eq!(limit(field), format!("`--{option}`"));
    }
    // Skips options of compilers.
    let advised = |text: &str| {
        let words = text.split(['`', ' ', ';', '\n']).filter_map(|word| word.strip_prefix("--"));
        let words = words.filter(|word| !matches!(*word, "" | "-" | "no-entry"));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for option in advised(&options) {
        assert!(has("call", &option) || has("bench", &option), "{option}");
    }
    assert_eq!(advised(&texts(Manifest).join("\n")), Vec::<String>::new());
}

#[test]
fn settings_have_the_names_of_the_interface() {
    let error =
        Error::invalid_options(["`Limits::result` or `Options::call_timeout` is wrong".to_owned()]);
    for (interface, expected) in [
        (Options, "`--result-limit` or `call_timeout` is wrong"),
        (Manifest, "`result` in its limits or `call_timeout` under [pool] is wrong"),
    ] {
        assert!(full_text(&error, interface).ends_with(expected));
    }
}

#[test]
fn the_message_and_the_remedy_are_separate() {
    let error = Error::function_not_defined("resize");
    assert_eq!(text(&error, Manifest), "function \"resize\" is not defined");
    assert_eq!(advice(&error, Manifest).unwrap(), "add it under [functions] or [modules]");
    assert_eq!(
        full_text(&error, Options),
        "function \"resize\" is not defined; `wpc inspect` lists a module's functions"
    );
}
