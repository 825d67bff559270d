//! Limits as options of commands and keys of manifests, and their names in errors.

#[cfg(target_os = "linux")]
use crate::process::{run, shell};
use crate::running::write;
use crate::support::{err, fails_with, out, sdk, wat, wpc, wpc_with};

#[test]
fn errors_name_the_option_or_key_of_the_interface() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sdk = sdk();
    let large =
        wat(folder, "large.wasm", r#"(module (memory 2) (table 20 funcref) (func (export "f")))"#);
    let deep = wat(
        folder,
        "deep.wasm",
        r#"(module (func $f (export "f") (result i32) (i32.add (call $f) (i32.const 1))))"#,
    );
    let spins = wat(folder, "spins.wasm", r#"(module (func (export "f") (loop br 0)))"#);
    for (file, function, arguments, option, value, key, code) in [
        (&sdk, "speak", "[\"a text\"]", "--log-limit", "10B", "log = 10", "log_limit"),
        (
            &sdk,
            "echo_bytes",
            "[[1, 2, 3]]",
            "--arguments-limit",
            "2B",
            "arguments = 2",
            "arguments_too_large",
        ),
        (
            &sdk,
            "echo_bytes",
            "[[1, 2, 3]]",
            "--result-limit",
            "2B",
            "result = 2",
            "result_too_large",
        ),
        (&spins, "f", "[]", "--fuel", "1000", "fuel = 1000", "out_of_fuel"),
        (&deep, "f", "[]", "--stack", "32KiB", "stack = \"32 KiB\"", "stack_overflow"),
        (&large, "f", "[]", "--memory", "1B", "memory = 1", "memory_too_large"),
        (&large, "f", "[]", "--table-elements", "10", "table_elements = 10", "table_too_large"),
        (&large, "f", "[]", "--module-size", "10B", "module_size = 10", "module_too_large"),
        (&large, "f", "[]", "--instances", "0", "instances = 0", "invalid_options"),
        (
            &large,
            "f",
            "[]",
            "--recycle-after-calls",
            "0",
            "recycle_after_calls = 0",
            "invalid_options",
        ),
        (&large, "f", "[]", "--compile-time", "0s", "compile_time = \"0s\"", "invalid_options"),
        (
            &large,
            "f",
            "[]",
            "--max-concurrent-calls",
            "0",
            "max_concurrent_calls = 0",
            "invalid_options",
        ),
        (&large, "f", "[]", "--time-slice", "0s", "time_slice = \"0s\"", "invalid_options"),
    ] {
        let values: Vec<serde_json::Value> = serde_json::from_str(arguments).unwrap();
        let values: Vec<_> = values
            .iter()
            .map(|argument| match argument {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let ran = wpc(&[&["call", file, function], &values[..], &[option, value]].concat());
        let message = err(&ran);
        assert!(
            !ran.status.success() && message.contains(&format!("`{option}`")),
            "{option}: {message}"
        );
        assert!(
            message.contains(&format!("({code})")) && !message.contains("imits"),
            "{option}: {message}"
        );

        let entry = format!("[functions.{function}]\nfile = {file:?}\nlimits = {{ {key} }}\n");
        let call = format!("{{\"function\": \"{function}\", \"arguments\": {arguments}}}\n");
        let ran = wpc_with(call.as_bytes(), &["run", &write(folder, &entry)]);
        let message = format!("{}{}", out(&ran), err(&ran));
        let key = key.split(' ').next().unwrap();
        assert!(message.contains(&format!("`{key}` in its limits")), "{key}: {message}");
        assert!(message.contains(code) && !message.contains("--"), "{key}: {message}");
    }
    let message = fails_with(2, &wpc(&["call", &spins, "f", "--timeout", "0s"]));
    assert!(message.contains("`--timeout` must be longer than zero"), "{message}");
    for (option, value) in [
        ("--memory", "1"),
        ("--table-elements", "1"),
        ("--module-size", "1"),
        ("--stack", "1TiB"),
        ("--compile-time", "0s"),
        ("--instances", "0"),
        ("--timeout", "0s"),
        ("--max-concurrent-calls", "0"),
        ("--time-slice", "0s"),
        ("--recycle-after-calls", "0"),
    ] {
        let ran = wpc(&["inspect", &large, option, value]);
        let message = format!("{}{}", out(&ran), err(&ran));
        assert!(message.contains(&format!("`{option}`")), "{option}: {message}");
    }
}

#[test]
fn every_limit_is_an_option_of_each_command_that_takes_a_module() {
    let options = |command: &str| -> Vec<String> {
        let help = out(&wpc(&[command, "--help"]));
        let (_, limits) = help.split_once("Limits:").unwrap();
        let options = limits.lines().filter_map(|line| line.trim().strip_prefix("--"));
        options.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let all = options("call");
    assert_eq!(all.len(), 16, "{all:?}");
    assert_eq!(options("bench"), all);
    assert_eq!(options("inspect"), all);
}

#[test]
fn a_limit_can_be_raised() {
    let folder = tempfile::tempdir().unwrap();
    // About 200 KiB of stack for every 1,000 recursions.
    let deep = wat(
        folder.path(),
        "deep.wasm",
        r#"(module (func $f (export "f") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
                (else (i32.const 0)))))"#,
    );
    assert!(fails_with(5, &wpc(&["call", &deep, "f", "20000"])).contains("raise `--stack`"));
    let ran = wpc(&["call", &deep, "f", "20000", "--stack", "2MiB"]);
    assert_eq!(out(&ran), "20000\n", "{}", err(&ran));
}

#[test]
fn a_function_with_a_time_slice_is_called_and_measured() {
    let sdk = sdk();
    assert_eq!(out(&wpc(&["call", &sdk, "add", "40", "2", "--time-slice", "1ms"])), "42\n");
    let options = ["--time-slice", "1ms", "--outstanding", "4", "--seconds", "1"];
    let ran = wpc(&[&["bench", &sdk, "add", "40", "2"], &options[..]].concat());
    assert!(ran.status.success(), "{}", err(&ran));
}

#[test]
#[cfg(target_os = "linux")]
fn a_call_needs_at_most_8_gib_of_address_space() {
    let limited = |arguments: &[&str]| {
        let script = "ulimit -v 8388608 && exec \"$0\" \"$@\"";
        let program = [env!("CARGO_BIN_EXE_wpc")];
        let ran = run(&mut shell(script, &[&program[..], arguments].concat()));
        assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));
        out(&ran)
    };
    let sdk = sdk();
    assert_eq!(limited(&["call", &sdk, "add", "40", "2"]), "42\n");
    assert_eq!(limited(&["call", &sdk, "add", "40", "2", "--fuel", "100000"]), "42\n");
    assert_eq!(limited(&["call", &sdk, "add", "40", "2", "--no-cache"]), "42\n");
    assert!(limited(&["inspect", &sdk]).contains("add(a: i32, b: i32) -> i32"));
    // The sandbox of this module has a second heap, for exceptions.
    let throws = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/exceptions/throws.wasm");
    assert_eq!(limited(&["call", throws, "caught", "5"]), "52\n");
    assert_eq!(limited(&["call", throws, "caught", "5", "--fuel", "100000"]), "52\n");
    fails_with(5, &wpc(&["call", throws, "uncaught", "5"]));
    limited(&["bench", &sdk, "add", "40", "2", "--seconds", "1"]);
}
