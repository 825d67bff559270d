//! `call`, `bench`, `inspect`, `completions`, and what they exit with.

use crate::support::{err, fails_with, out, root, sdk, wat, wpc, wpc_with};

#[test]
fn a_call_takes_json_and_prints_json() {
    let sdk = sdk();
    let sum = wpc(&["call", &sdk, "add", "40", "-2"]);
    assert_eq!((sum.status.code(), out(&sum).as_str()), (Some(0), "38\n"), "{}", err(&sum));
    let orders = r#"[{"item": "tea", "count": 2}]"#;
    let answer = wpc(&["call", &sdk, "order", orders, r#"{"tea": 3}"#]);
    assert_eq!(out(&answer), "{\"Accepted\":{\"total\":6}}\n");
    let joined = wpc(&["call", &sdk, "join", "no quotes", "\" needed\""]);
    assert_eq!(out(&joined), "\"no quotes needed\"\n");
    let whole = wpc(&["--json", "call", &sdk, "add", "1", "2", "--fuel", "100000"]);
    let told: serde_json::Value = serde_json::from_str(&out(&whole)).unwrap();
    assert_eq!(told["value"], 3);
    assert!(told["fuel_used"].as_u64().unwrap() > 0);
}

#[test]
fn raw_bytes_go_in_and_out() {
    let answer = wpc_with(b"\x02ab\x01c", &["call", &sdk(), "join", "--raw"]);
    assert_eq!(answer.stdout, b"\x03abc", "{}", err(&answer));
}

#[test]
fn constants_dependencies_and_log_lines() {
    let guests = root("examples/guests/wasm");
    let [function, path] =
        ["function1", "path"].map(|name| guests.join(format!("{name}.wasm")).display().to_string());
    let told = wpc(&["inspect", &function]);
    let name = out(&told).lines().find(|line| line.starts_with("  ")).unwrap().trim().to_owned();
    assert!(out(&told).contains("dependencies"), "{}", out(&told));
    let dependency = format!("path_dep={path}");
    let name = name.split('(').next().unwrap();
    let lacks = wpc(&["call", &function, name, "/a/b.txt", "--dep", &dependency]);
    assert!(fails_with(3, &lacks).contains("constant_not_defined"));
    let spoken = wpc(&["call", &sdk(), "speak", "hello"]);
    assert_eq!(err(&spoken), "[warn] hello\n");
    let line: serde_json::Value =
        serde_json::from_str(&err(&wpc(&["--json", "call", &sdk(), "speak", "hello"]))).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"warn".into(), &"hello".into()));
    let constant = wpc(&[
        "call",
        &sdk(),
        "constant",
        "WORD",
        "--const",
        "WORD=\"value\"",
        "--const",
        "N:u8=3",
    ]);
    assert_eq!(out(&constant), "\"value\"\n", "{}", err(&constant));
}

#[test]
fn exit_codes_tell_kinds_of_failure_apart() {
    let sdk = sdk();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let spins = wat(folder, "spins.wasm", r#"(module (func (export "spins") (loop br 0)))"#);
    let asks = wat(
        folder,
        "asks.wasm",
        r#"(module (import "wpc" "wpc_clock" (func (param i32) (result i64))) (func (export "f")))"#,
    );
    let traps = wat(folder, "traps.wasm", r#"(module (func (export "f") unreachable))"#);
    for (code, word, arguments) in [
        (1, "(machine)", vec!["call", "no-such-file.wasm", "f"]),
        (2, "Usage", vec!["call"]),
        (2, "`b`: expected i32, found \"x\"", vec!["call", &sdk, "add", "1", "x"]),
        (2, "NAME=JSON", vec!["call", &sdk, "add", "1", "2", "--const", "WORD"]),
        (
            2,
            "unknown grant `everything`; there are clock",
            vec!["call", &sdk, "nothing", "--grant", "everything"],
        ),
        (3, "(not_granted)", vec!["call", &asks, "f"]),
        (3, "(missing_export)", vec!["call", &sdk, "nobody"]),
        (4, "-3 is too small", vec!["call", &sdk, "fails", "-3"]),
        (5, "(trap)", vec!["call", &traps, "f"]),
        (5, "(out_of_fuel)", vec!["call", &spins, "spins", "--fuel", "1000"]),
        (6, "(timeout)", vec!["call", &spins, "spins", "--timeout", "50ms"]),
    ] {
        let said = fails_with(code, &wpc(&arguments));
        assert!(said.contains(word), "{said}");
        assert!(!said.contains('\u{1b}'), "colours are for terminals");
    }
    let granted = wpc(&["call", &asks, "f", "--grant", "clock"]);
    assert_eq!(out(&granted), "null\n", "{}", err(&granted));
}

#[test]
fn failures_are_json_where_that_is_wanted() {
    let said = fails_with(4, &wpc(&["--json", "call", &sdk(), "fails", "7"]));
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told["error"]["code"], "guest_error");
    assert_eq!(told["error"]["guest"]["name"], "TooSmall");
    for wrong in [vec!["--json", "call"], vec!["--json", "bench", "x", "f", "--outstanding", "0"]] {
        let told: serde_json::Value = serde_json::from_str(&fails_with(2, &wpc(&wrong))).unwrap();
        assert_eq!(told["error"]["code"], "usage");
    }
    let both = ["call", &sdk(), "join", "--raw", "--grant", "stdin"];
    assert!(
        fails_with(2, &wpc(&both)).contains("--raw and --grant stdin both read standard input")
    );
}

#[test]
fn a_whole_program_reads_standard_input_and_prints() {
    let program = root("fixtures/wasi/wasm/program.wasm").display().to_string();
    let mut arguments = vec!["call", &program, "_start"];
    for grant in ["wasi", "stdin", "arg=shout"] {
        arguments.extend(["--grant", grant]);
    }
    let ran = wpc_with(b"some words", &arguments);
    assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));
    assert_eq!((out(&ran).as_str(), err(&ran).as_str()), ("SOME WORDS", ""));
    arguments.swap(4, 6);
    let ran = wpc_with(b"in any order", &arguments);
    assert_eq!(out(&ran), "IN ANY ORDER");
    let exits = [&arguments[..], &["--grant", "arg=9"]].concat();
    assert!(fails_with(5, &wpc(&exits)).contains("status 9"));
}

#[test]
fn inspect_tells_what_a_module_offers_and_needs() {
    let told = out(&wpc(&["inspect", &sdk()]));
    assert!(told.contains("contract        version 1"), "{told}");
    assert!(told.contains("  add(a: i32, b: i32) -> i32"), "{told}");
    assert!(told.contains("  Order { item: String, count: u32, note: Option<String> }"), "{told}");
    let tool = root("fixtures/wasi/wasm/tool.wasm").display().to_string();
    let told = out(&wpc(&["--json", "inspect", &tool]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["required_wasi_imports"].as_array().unwrap().contains(&"path_open".into()));
    assert_eq!(told["required_capabilities"], serde_json::json!(["random", "clock"]));
    let folder = tempfile::tempdir().unwrap();
    let plain = wat(
        folder.path(),
        "plain.wasm",
        r#"(module (import "env" "x" (func)) (memory 1 2) (table 3 4 funcref) (func (export "f") (param i64)))"#,
    );
    let told = out(&wpc(&["inspect", &plain]));
    assert!(
        told.contains("dependencies    env (x)") && told.contains("f(argument1: i64) -> ()"),
        "{told}"
    );
    assert!(told.contains("65536 bytes to begin with, at most 131072"), "{told}");
    assert!(told.contains("at most 4 elements each"), "{told}");
    let not_wasm = root("README.md").display().to_string();
    let said = fails_with(3, &wpc(&["inspect", &not_wasm]));
    assert!(said.contains("README.md\" is not WebAssembly") && said.contains("not_wasm"), "{said}");
}

#[test]
fn inspect_tells_of_modules_that_wpc_cannot_run() {
    let folder = tempfile::tempdir().unwrap();
    let inspected = |text: &str| {
        let told = wpc(&["inspect", &wat(folder.path(), "module.wasm", text)]);
        assert_eq!(told.status.code(), Some(0), "{}", err(&told));
        out(&told)
    };
    let told = inspected(
        r#"(module
            (import "./app_bg.js" "__wbg_alert" (func (param i32)))
            (import "env" "log" (func))
            (import "wasi_snapshot_preview1" "path_open" (func))
            (import "wasi_snapshot_preview1" "fd_write" (func))
            (import "wasi_snapshot_preview1" "random_get" (func))
            (table 0 1 funcref)
            (memory (export "memory") 1)
            (func (export "greet"))
            (func (export "x\1b[31m\n  fake()")))"#,
    );
    for line in [
        "refused         module \"",
        r#"module.wasm" imports "./app_bg.js" "__wbg_alert", which cannot be linked"#,
        "contract        none of wpc's\n",
        "tables          at most 1 element each\n",
        "dependencies    env (log)\n",
        "capabilities    random\n",
        "WASI grants     wasi, read=FOLDER or write=FOLDER\n",
        "imports         ./app_bg.js.__wbg_alert: a function (i32) -> ()\n",
        "other exports   memory: a memory\n",
        "  greet() -> ()\n",
        "  x\\u{1b}[31m\\n  fake()() -> ()\n",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let told = inspected(r#"(component (import "wasi:cli/run@0.2.0" (instance)))"#);
    assert!(told.contains("module.wasm\" is a WebAssembly component"), "{told}");
    assert!(told.contains("imports         wasi:cli/run@0.2.0: an instance\n"), "{told}");
    assert!(!told.contains("memory"), "{told}");
}

#[test]
fn completions_and_help_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&wpc(&["completions", shell])).contains("wpc"));
    }
    let help = out(&wpc(&["call", "--help"]));
    assert!(help.contains("Examples:") && help.contains("--grant"), "{help}");
    assert!(out(&wpc(&["--help"])).contains("Exit codes:"));
}

#[test]
fn bench_tells_rate_and_latencies() {
    let sdk = sdk();
    let common = ["bench", &sdk, "add", "1", "2", "--seconds", "1", "--outstanding", "8"];
    let told = wpc(&common);
    assert_eq!(told.status.code(), Some(0), "{}", err(&told));
    let told = out(&told);
    assert!(told.contains("a second") && told.contains("p99.9") && told.contains('#'), "{told}");
    let told = wpc(&[&["--json"], &common[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&out(&told)).unwrap();
    assert!(told["calls"].as_u64().unwrap() > 100, "{told}");
    let [half, most] = ["p50", "max"].map(|name| told["latency_ns"][name].as_u64().unwrap());
    assert!(100 < half && half <= most, "{told}");
    fails_with(4, &wpc(&["bench", &sdk, "fails", "3"]));
}

#[test]
fn arguments_are_taken_by_the_functions_types_and_results_go_to_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("in"), [0, 255, 7]).unwrap();
    std::fs::write(path("orders.json"), r#"[{"item": "tea", "count": 2}]"#).unwrap();
    let echoed =
        wpc(&["call", &sdk(), "echo_bytes", &format!("@{}", path("in")), "-o", &path("out")]);
    assert_eq!((out(&echoed).as_str(), err(&echoed).as_str()), ("", ""));
    assert_eq!(std::fs::read(path("out")).unwrap(), [0, 255, 7]);
    let orders = format!("@{}", path("orders.json"));
    let answer = wpc(&["call", &sdk(), "order", &orders, r#"{"tea": 3}"#]);
    assert_eq!(out(&answer), "{\"Accepted\":{\"total\":6}}\n", "{}", err(&answer));
    // What looks like a number or a file is text where text is wanted.
    assert_eq!(out(&wpc(&["call", &sdk(), "join", "42", "@null"])), "\"42@null\"\n");
    let broken = wpc(&["call", &sdk(), "order", "[{", "{}"]);
    assert!(fails_with(2, &broken).contains("[{ is not JSON: EOF"));
    let lost = wpc(&["call", &sdk(), "echo_bytes", "@nowhere"]);
    assert!(fails_with(1, &lost).contains("\"nowhere\": No such file"));
}

#[test]
fn bytes_and_text_of_any_size_go_to_a_file_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Far beyond what fits into JSON, and still below the limits of arguments and results.
    let large: Vec<u8> = (0..20_u32 << 20).map(|at| at.to_le_bytes()[0]).collect();
    std::fs::write(path("in"), &large).unwrap();
    let echoed =
        wpc(&["call", &sdk(), "echo_bytes", &format!("@{}", path("in")), "-o", &path("out")]);
    assert_eq!(echoed.status.code(), Some(0), "{}", err(&echoed));
    assert!(std::fs::read(path("out")).unwrap() == large);
    let joined = wpc(&["call", &sdk(), "join", "4\u{e4}", "2", "-o", &path("text")]);
    assert_eq!(joined.status.code(), Some(0), "{}", err(&joined));
    assert_eq!(std::fs::read_to_string(path("text")).unwrap(), "4\u{e4}2");
    // What only looks like bytes is not taken for some.
    let listed = wpc(&["call", &sdk(), "order", "[]", "{}", "-o", &path("json")]);
    assert_eq!(listed.status.code(), Some(0), "{}", err(&listed));
    assert_eq!(std::fs::read_to_string(path("json")).unwrap(), r#"{"Accepted":{"total":0}}"#);
}

#[test]
fn an_integer_for_a_constant_needs_its_type() {
    let with = |constant: &str| wpc(&["call", &sdk(), "nothing", "--const", constant]);
    for untold in ["N=3", "N=[1]", "N={\"a\": 1}", "N=null"] {
        assert!(fails_with(2, &with(untold)).contains("state it, as in N:u32="), "{untold}");
    }
    for told in ["N:u32=3", "N:Map<String, u8>={\"a\": 1}", "N=1.5", "N=[\"a\"]", "N={\"a\": true}"]
    {
        assert_eq!(out(&with(told)), "null\n", "{told}");
    }
    assert!(fails_with(2, &with("N:u8=300")).contains("`N`: expected u8, found 300"));
}

#[test]
fn only_compiled_code_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("modules/mine.wasm");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "precious").unwrap();
    let cleared = wpc(&["cache", "--clear", "--cache", &folder.path().display().to_string()]);
    assert_eq!(cleared.status.code(), Some(0), "{}", err(&cleared));
    assert!(own.exists());
}

#[test]
#[cfg(unix)]
fn a_usual_folder_that_others_can_change_is_not_used_and_calls_go_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let module = wat(home.path(), "f.wasm", r#"(module (func (export "f")))"#);
    let called = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wpc"));
        command.args(["call", &module, "f"]).env_remove("WPC_CACHE");
        command.env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
        command.output().unwrap()
    };
    let ran = called();
    assert_eq!((out(&ran), err(&ran)), ("null\n".to_owned(), String::new()));
    let folder = home.path().join(".cache/wpc");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = called();
    assert_eq!(out(&ran), "null\n");
    assert!(err(&ran).starts_with("compiled code is not kept: "), "{}", err(&ran));
    assert!(err(&ran).contains("chmod go-w") && err(&ran).contains("--no-cache"), "{}", err(&ran));
}

#[test]
fn a_module_is_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").display().to_string();
    let usage = || {
        let told = out(&wpc(&["--json", "cache", "--cache", &cache]));
        serde_json::from_str::<serde_json::Value>(&told).unwrap()
    };
    assert_eq!(usage()["files"], 0);
    let kept = |more: &[&str]| {
        let module = wat(folder.path(), "f.wasm", r#"(module (func (export "f")))"#);
        let ran = wpc(&[&["call", &module, "f"], more].concat());
        assert_eq!(out(&ran), "null\n", "{}", err(&ran));
    };
    kept(&["--no-cache"]);
    assert_eq!(usage()["files"], 0);
    kept(&["--cache", &cache]);
    let once = usage();
    assert!(once["files"].as_u64().unwrap() > 0 && once["folder"] == cache.as_str(), "{once}");
    kept(&["--cache", &cache]);
    assert!(out(&wpc(&["cache", "--cache", &cache, "--clear"])).contains("0 files"));
}

#[test]
fn a_guest_error_is_json_by_its_declared_type() {
    let types = root("fixtures/wasm/types.wasm").display().to_string();
    let error = |arguments: &[&str]| -> serde_json::Value {
        let ran = wpc(&[&["--json", "call", &types], arguments].concat());
        let told: serde_json::Value = serde_json::from_str(&fails_with(4, &ran)).unwrap();
        told["error"].clone()
    };
    let long = error(&["check", "long", "3"]);
    assert_eq!((&long["code"], &long["kind"]), (&"guest_error".into(), &"function".into()));
    assert_eq!(
        (&long["guest"]["name"], &long["guest"]["variant"]),
        (&"Why".into(), &"TooLong".into())
    );
    let payload = serde_json::json!({ "TooLong": { "limit": 3, "found": 4 } });
    assert_eq!(long["guest"]["payload"], payload);
    assert_eq!(error(&["check", "", "3"])["guest"]["payload"], "Empty");
    let other = error(&["parse", "x"]);
    assert_eq!(other["guest"]["variant"], "NotANumber");
    assert!(other["guest"].get("payload").is_none(), "{other}");

    let call =
        "{\"function\": \"check\", \"arguments\": [\"long\", 3]}\n{\"function\": \"chek\"}\n";
    let folder = tempfile::tempdir().unwrap();
    let manifest =
        crate::running::write(folder.path(), &format!("[modules.types]\nfile = {types:?}\n"));
    let ran = wpc_with(call.as_bytes(), &["run", &manifest, "--ordered"]);
    let answers: Vec<serde_json::Value> =
        out(&ran).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0]["error"]["guest"]["payload"], payload, "{answers:?}");
    let undefined = &answers[1]["error"];
    assert_eq!(undefined["message"], "function \"chek\" is not defined");
    assert_eq!(undefined["remedy"], "add it under [functions] or [modules]");
    assert_eq!(undefined["kind"], "caller");

    let told = out(&wpc(&["inspect", &types]));
    assert!(told.contains("  check(text: String, limit: u32) -> u32, or error Why\n"), "{told}");
    assert!(told.contains("  Why = Empty | TooLong { limit: u32, found: u32 }"), "{told}");
}

#[test]
fn a_refused_module_is_named_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let large = wat(folder.path(), "large.wasm", r#"(module (memory 2) (func (export "f")))"#);
    let said = fails_with(3, &wpc(&["call", &large, "f", "--memory", "1B"]));
    assert!(said.contains("large.wasm\" starts with 131072 bytes of memory"), "{said}");
    let said = out(&wpc(&["--json", "inspect", &large, "--memory", "1B"]));
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(told["refused"].as_str().unwrap().contains("large.wasm\" starts with"), "{told}");
    assert_eq!(told["remedy"], "raise `--memory`");
}
