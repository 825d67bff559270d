//! `call`, `bench` and `completions`, and their exit codes.

use crate::process::{finish, start};
#[cfg(unix)]
use crate::process::{run, shell};
use crate::support::{err, fails_with, out, root, sdk, wat, wpc, wpc_with};
use std::io::Write as _;

#[test]
fn arguments_and_results_are_json() {
    let sdk = sdk();
    let sum = wpc(&["call", &sdk, "add", "40", "-2"]);
    assert_eq!((sum.status.code(), out(&sum).as_str()), (Some(0), "38\n"), "{}", err(&sum));
    let orders = r#"[{"item": "tea", "count": 2}]"#;
    let answer = wpc(&["call", &sdk, "order", orders, r#"{"tea": 3}"#]);
    assert_eq!(out(&answer), "{\"Accepted\":{\"total\":6}}\n");
    let joined = wpc(&["call", &sdk, "join", "no quotes", "\" needed\""]);
    assert_eq!(out(&joined), "\"no quotes needed\"\n");
    let whole = wpc(&["--json", "call", &sdk, "add", "1", "2", "--fuel", "100000"]);
    let output: serde_json::Value = serde_json::from_str(&out(&whole)).unwrap();
    assert_eq!(output["value"], 3);
    assert!(output["fuel_used"].as_u64().unwrap() > 0);
}

#[test]
fn raw_calls_read_and_write_encoded_bytes() {
    let answer = wpc_with(b"\x02ab\x01c", &["call", &sdk(), "join", "--raw"]);
    assert_eq!(answer.stdout, b"\x03abc", "{}", err(&answer));
}

#[test]
fn calls_use_constants_and_dependencies_and_show_log_lines() {
    let guests = root("examples/guests/wasm");
    let [function, path] =
        ["function1", "path"].map(|name| guests.join(format!("{name}.wasm")).display().to_string());
    let output = wpc(&["inspect", &function]);
    let name = out(&output).lines().find(|line| line.starts_with("  ")).unwrap().trim().to_owned();
    assert!(out(&output).contains("dependencies"), "{}", out(&output));
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
fn exit_codes_distinguish_kinds_of_failure() {
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
        (1, "(environment)", vec!["call", "no-such-file.wasm", "f"]),
        (2, "Usage", vec!["call"]),
        (2, "`b`: expected i32, found \"x\"", vec!["call", &sdk, "add", "1", "x"]),
        (2, "NAME=JSON", vec!["call", &sdk, "add", "1", "2", "--const", "WORD"]),
        (
            2,
            "unknown grant `everything`; expected one of clock",
            vec!["call", &sdk, "nothing", "--grant", "everything"],
        ),
        (3, "(not_granted)", vec!["call", &asks, "f"]),
        (3, "(missing_export)", vec!["call", &sdk, "missing"]),
        (4, "-3 is too small", vec!["call", &sdk, "fails", "-3"]),
        (5, "(trap)", vec!["call", &traps, "f"]),
        (5, "(out_of_fuel)", vec!["call", &spins, "spins", "--fuel", "1000"]),
        (6, "(timeout)", vec!["call", &spins, "spins", "--timeout", "50ms"]),
    ] {
        let message = fails_with(code, &wpc(&arguments));
        assert!(message.contains(word), "{message}");
        assert!(!message.contains('\u{1b}'), "colours are only for terminals");
    }
    let granted = wpc(&["call", &asks, "f", "--grant", "clock"]);
    assert_eq!(out(&granted), "null\n", "{}", err(&granted));
}

#[test]
fn failures_are_json_with_the_option_json() {
    let message = fails_with(4, &wpc(&["--json", "call", &sdk(), "fails", "7"]));
    let output: serde_json::Value = serde_json::from_str(&message).unwrap();
    assert_eq!(output["error"]["code"], "guest_error");
    assert_eq!(output["error"]["guest"]["name"], "TooSmall");
    for wrong in [vec!["--json", "call"], vec!["--json", "bench", "x", "f", "--outstanding", "0"]] {
        let output: serde_json::Value = serde_json::from_str(&fails_with(2, &wpc(&wrong))).unwrap();
        assert_eq!(output["error"]["code"], "usage");
    }
    let both = ["call", &sdk(), "join", "--raw", "--grant", "stdin"];
    assert!(
        fails_with(2, &wpc(&both)).contains("--raw and --grant stdin both read standard input")
    );
}

#[test]
fn a_program_reads_standard_input_and_writes_standard_output() {
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
fn completions_and_help_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&wpc(&["completions", shell])).contains("wpc"));
    }
    let help = out(&wpc(&["call", "--help"]));
    assert!(help.contains("Examples:") && help.contains("--grant"), "{help}");
    assert!(out(&wpc(&["--help"])).contains("Exit codes:"));
}

#[test]
fn bench_reports_rate_and_latencies() {
    let sdk = sdk();
    let common = ["bench", &sdk, "add", "1", "2", "--seconds", "1", "--outstanding", "8"];
    let output = wpc(&common);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let output = out(&output);
    assert!(
        output.contains("calls per second") && output.contains("p99.9") && output.contains('#'),
        "{output}"
    );
    let output = wpc(&[&["--json"], &common[..]].concat());
    let output: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert!(output["calls"].as_u64().unwrap() > 0, "{output}");
    let [half, most] = ["p50", "max"].map(|name| output["latency_ns"][name].as_u64().unwrap());
    assert!(100 < half && half <= most, "{output}");
    fails_with(4, &wpc(&["bench", &sdk, "fails", "3"]));
}

#[test]
fn arguments_are_interpreted_by_type_and_results_are_written_to_files() {
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
    // For a string argument, text that looks like a number or a file is taken literally.
    assert_eq!(out(&wpc(&["call", &sdk(), "join", "42", "@null"])), "\"42@null\"\n");
    let broken = wpc(&["call", &sdk(), "order", "[{", "{}"]);
    assert!(fails_with(2, &broken).contains("[{ is not JSON: EOF"));
    let lost = wpc(&["call", &sdk(), "echo_bytes", "@nowhere"]);
    assert!(fails_with(1, &lost).contains("\"nowhere\": No such file"));
}

#[test]
fn bytes_and_strings_of_any_size_are_written_to_a_file_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Far larger than the limit for JSON, but below the limits of arguments and results.
    let large: Vec<u8> = (0..20_u32 << 20).map(|at| at.to_le_bytes()[0]).collect();
    std::fs::write(path("in"), &large).unwrap();
    let echoed =
        wpc(&["call", &sdk(), "echo_bytes", &format!("@{}", path("in")), "-o", &path("out")]);
    assert_eq!(echoed.status.code(), Some(0), "{}", err(&echoed));
    assert!(std::fs::read(path("out")).unwrap() == large);
    let joined = wpc(&["call", &sdk(), "join", "4\u{e4}", "2", "-o", &path("text")]);
    assert_eq!(joined.status.code(), Some(0), "{}", err(&joined));
    assert_eq!(std::fs::read_to_string(path("text")).unwrap(), "4\u{e4}2");
    // The result of another type is written as JSON.
    let listed = wpc(&["call", &sdk(), "order", "[]", "{}", "-o", &path("json")]);
    assert_eq!(listed.status.code(), Some(0), "{}", err(&listed));
    assert_eq!(std::fs::read_to_string(path("json")).unwrap(), r#"{"Accepted":{"total":0}}"#);
}

#[test]
fn an_integer_constant_needs_a_type() {
    let with = |constant: &str| wpc(&["call", &sdk(), "nothing", "--const", constant]);
    for untyped in ["N=3", "N=[1]", "N={\"a\": 1}", "N=null"] {
        assert!(
            fails_with(2, &with(untyped)).contains("state it, for example N:u32="),
            "{untyped}"
        );
    }
    for typed in
        ["N:u32=3", "N:Map<String, u8>={\"a\": 1}", "N=1.5", "N=[\"a\"]", "N={\"a\": true}"]
    {
        assert_eq!(out(&with(typed)), "null\n", "{typed}");
    }
    assert!(fails_with(2, &with("N:u8=300")).contains("`N`: expected u8, found 300"));
}

#[test]
fn a_guest_error_payload_is_json_by_its_declared_type() {
    let types = root("fixtures/wasm/types.wasm").display().to_string();
    let error = |arguments: &[&str]| -> serde_json::Value {
        let ran = wpc(&[&["--json", "call", &types], arguments].concat());
        let output: serde_json::Value = serde_json::from_str(&fails_with(4, &ran)).unwrap();
        output["error"].clone()
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

    let output = out(&wpc(&["inspect", &types]));
    assert!(
        output.contains("  check(text: String, limit: u32) -> u32, or error Why  // "),
        "{output}"
    );
    assert!(output.contains("  Why = Empty | TooLong { limit: u32, found: u32 }"), "{output}");
}

#[test]
fn a_guest_reads_standard_input_while_it_arrives() {
    let tool = root("fixtures/wasi/wasm/tool.wasm").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let folder = format!("read={}:/data", folder.path().display());
    let mut arguments = vec!["call", &tool, "read_input", "3"];
    for grant in ["wasi", "stdin", "clock", "random", &folder] {
        arguments.extend(["--grant", grant]);
    }
    let mut child = start(&arguments);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"Ada\n").unwrap();
    // The input does not end before the answer.
    let ran = finish(child);
    assert_eq!((out(&ran).as_str(), err(&ran).as_str()), ("\"Ada\"\n", ""));
    drop(input);
    #[cfg(unix)]
    {
        let command = [&[env!("CARGO_BIN_EXE_wpc")], &arguments[..]].concat();
        let ran = run(&mut shell("yes | \"$0\" \"$@\"", &command));
        assert_eq!(out(&ran), "\"y\\ny\"\n");
    }
}

#[test]
fn items_are_written_as_lines_while_the_function_runs() {
    let streams = root("fixtures/wasm/streams.wasm").display().to_string();
    let lines = wpc(&["call", &streams, "words", "tea 茶", "--stream"]);
    let expected = "{\"length\":3,\"text\":\"tea\"}\n{\"length\":1,\"text\":\"茶\"}\n";
    assert_eq!(out(&lines), expected);
    assert_eq!(err(&lines), "");
    let counted = wpc(&["call", &streams, "lines", "tea\njam", "--stream"]);
    assert_eq!((&*out(&counted), &*err(&counted)), ("\"tea\"\n\"jam\"\n", "result: 2\n"));

    let json = wpc(&["--json", "call", &streams, "lines", "tea", "--stream"]);
    let lines: Vec<serde_json::Value> =
        out(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["item"], &lines[1]["value"]), (&"tea".into(), &1.into()));

    let failed = wpc(&["--json", "call", &streams, "words", "tea  jam", "--stream"]);
    assert_eq!(failed.status.code(), Some(4), "{}", err(&failed));
    let error: serde_json::Value = serde_json::from_str(&err(&failed)).unwrap();
    assert_eq!(error["error"]["items"], 1);
    let failed = wpc(&["call", &streams, "words", "tea  jam", "--stream"]);
    assert!(err(&failed).contains("(after 1 item)"), "{}", err(&failed));

    let plain = wpc(&["call", &streams, "lines", "tea"]);
    assert!(fails_with(2, &plain).contains("read them with `--stream`"), "{}", err(&plain));
}
