//! The lines that `wpc run` writes to standard error: log lines, failures and restarts, filtered by level.

#[cfg(target_os = "linux")]
use crate::process::{run, shell};
use crate::running::write;
use crate::support::{err, fails_with, out, root, sdk, wat, wpc, wpc_with};
use serde_json::Value;
use std::path::Path;

const TRAPS: &str = r#"(module (func (export "traps") unreachable))"#;

fn manifest(folder: &Path) -> String {
    wat(folder, "traps.wasm", TRAPS);
    let text = format!(
        "[pool]\nworkers = 1\nrestart_jitter = \"0s\"\n[functions.traps]\nfile = \"traps.wasm\"\n[modules.tools]\nfile = {:?}\n",
        sdk()
    );
    write(folder, &text)
}

const CALLS: &[u8] = br#"{"id": "a", "function": "speak", "arguments": ["hello"]}
{"id": "b", "function": "traps"}
{"id": "c", "function": "fails", "arguments": [3]}
"#;

#[test]
fn json_lines_have_time_level_worker_call_and_function() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path());
    let ran = wpc_with(CALLS, &["--json", "run", &manifest, "--ordered"]);
    let parse = |text: String| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (answers, notices) = (parse(out(&ran)), parse(err(&ran)));
    assert_eq!(notices[0]["event"], "ready", "{notices:?}");
    for notice in &notices {
        assert!(notice["time"].is_string() && notice["level"].is_string(), "{notice}");
    }
    let event = |name: &str| {
        let found = notices.iter().find(|notice| notice["event"] == name);
        found.unwrap_or_else(|| panic!("missing {name} in {notices:?}"))
    };
    let log = event("log");
    assert_eq!((&log["level"], &log["function"]), (&"warn".into(), &"speak".into()), "{log}");
    assert_eq!((&log["call"], &log["worker"]), (&answers[0]["call"], &answers[0]["worker"]));
    assert!(log["call"].is_u64() && log["time"].as_str().unwrap().ends_with('Z'), "{log}");
    let failed = event("sandbox_failed");
    assert_eq!((&failed["function"], &failed["call"]), (&"traps".into(), &answers[1]["call"]));
    assert!(event("sandbox_restart_scheduled")["restart_delay_ms"].is_u64());
    assert_eq!(event("call_execution_failed")["error"]["code"], "trap");
    assert_eq!(answers[1]["error"]["retry_can_help"], Value::Bool(true), "{}", answers[1]);
    assert_eq!(answers[1]["error"]["outcome"], "unknown");
    assert_eq!(answers[2]["error"]["code"], "guest_error");
    assert_eq!(answers[2]["error"]["outcome"], "finished");
    assert_eq!(answers[2]["error"]["retry_can_help"], Value::Bool(false), "{}", answers[2]);
}

/// The lines of failed calls with the manifest's `[pool]` and the option `--log-level`, as pairs of the error's code and the
/// line's level.
fn failures(pool: &str, least: &str) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    wat(folder.path(), "traps.wasm", TRAPS);
    wat(folder.path(), "overruns.wasm", r#"(module (func (export "overruns") (loop br 0)))"#);
    let text = format!(
        "[pool]\nworkers = 1\n{pool}\n[functions.traps]\nfile = \"traps.wasm\"\n[functions.overruns]\nfile = \"overruns.wasm\"\n\
         limits = {{ fuel = 1000 }}\n[modules.tools]\nfile = {:?}\n",
        sdk()
    );
    let manifest = write(folder.path(), &text);
    let calls = br#"{"function": "fails", "arguments": [3]}
        {"function": "overruns"}
        {"function": "traps"}
    "#;
    let ran = wpc_with(calls, &["--json", "run", &manifest, "--ordered", "--log-level", least]);
    assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));
    let notices = err(&ran);
    let notices = notices.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    notices
        .filter(|notice| notice["event"] == "call_execution_failed")
        .map(|notice| (text(&notice["error"]["code"]), text(&notice["level"])))
        .collect()
}

#[test]
fn the_level_of_a_failed_call_depends_on_its_error_and_can_be_configured() {
    let failures = |pool: &str, least: &str| {
        let failures = failures(pool, least);
        failures.iter().map(|(code, level)| format!("{code} {level}")).collect::<Vec<_>>()
    };
    let usual = ["guest_error info", "out_of_fuel warn", "trap error"];
    assert_eq!(failures("", "info"), usual);
    assert_eq!(failures("", "warn"), usual[1..]);
    let pool = "failure_severities = { guest_error = \"debug\", limit = \"error\" }";
    assert_eq!(failures(pool, "info"), ["out_of_fuel error", "trap error"]);
    let all = ["guest_error debug", "out_of_fuel error", "trap error"];
    assert_eq!(failures(pool, "debug"), all);
}

#[test]
fn a_wrong_severity_is_rejected_with_its_key_and_the_allowed_values() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |text: &str| {
        let ran = wpc(&["run", "--check", &write(folder.path(), text)]);
        fails_with(2, &ran)
    };
    let wrong = problem("[pool.failure_severities]\nlimit = \"loud\"\n");
    assert!(wrong.contains("wpc.toml:2: `pool.failure_severities.limit`: "), "{wrong}");
    assert!(
        ["debug", "info", "warn", "error"].iter().all(|value| wrong.contains(value)),
        "{wrong}"
    );
    let unknown = problem("[pool]\nfailure_severities = { traps = \"warn\" }\n");
    assert!(unknown.contains("wpc.toml:2: "), "{unknown}");
    assert!(
        ["`traps`", "`guest_error`", "`limit`", "`trap`"].iter().all(|key| unknown.contains(key)),
        "{unknown}"
    );
}

#[test]
fn a_failed_call_is_logged_with_its_callers_trace_and_correlation_id() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let calls = format!(
        r#"{{"function": "traps", "correlation_id": "request-17", "traceparent": "{traceparent}", "tracestate": "a=b"}}
        {{"id": "d", "function": "traps", "traceparent": "00"}}
        {{"id": "e", "function": "traps", "traceparent": "{traceparent}", "tracestate": "a"}}
        {{"id": "f", "function": "traps", "correlation_id": ""}}"#
    );
    let ran = wpc_with(calls.as_bytes(), &["--json", "run", &manifest, "--ordered"]);
    let (answers, notices) = (out(&ran), err(&ran));
    let failed: Value = notices
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|notice| notice["event"] == "call_execution_failed")
        .unwrap();
    assert_eq!(failed["correlation_id"], "request-17");
    assert_eq!(failed["traceparent"], traceparent);
    let codes = answers.lines().map(|line| {
        let answer: Value = serde_json::from_str(line).unwrap();
        answer["error"]["code"].as_str().unwrap().to_owned()
    });
    assert_eq!(codes.collect::<Vec<_>>(), ["trap", "usage", "usage", "invalid_call_options"]);

    let ran = wpc_with(calls.as_bytes(), &["run", &manifest, "--ordered"]);
    let line =
        format!("call execution failed, correlation id request-17, traceparent {traceparent}: ");
    assert!(err(&ran).contains(&line), "{}", err(&ran));
}

#[test]
fn text_lines_have_the_same_fields_and_are_filtered_by_level() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path());
    let message = err(&wpc_with(CALLS, &["run", &manifest, "--ordered"]));
    assert!(message.starts_with("ready: "), "{message}");
    let has = |message: &str, text: &str| message.lines().any(|line| line.contains(text));
    assert!(
        message
            .lines()
            .any(|line| line.contains("Z [warn] worker_") && line.ends_with(" speak: hello")),
        "{message}"
    );
    assert!(has(&message, " traps: sandbox failed"), "{message}");
    assert!(!has(&message, "worker ready"), "{message}");
    let quiet = err(&wpc_with(CALLS, &["run", &manifest, "--ordered", "--log-level", "off"]));
    assert_eq!(quiet.lines().count(), 1, "{quiet}");
    let errors = err(&wpc_with(CALLS, &["run", &manifest, "--ordered", "--log-level", "error"]));
    assert!(!has(&errors, "hello") && has(&errors, "call execution failed"), "{errors}");
    let all = err(&wpc_with(CALLS, &["run", &manifest, "--ordered", "--log-level", "debug"]));
    assert!(has(&all, "worker ready") && has(&all, "guest_error"), "{all}");
}

#[test]
fn text_modules_are_accepted_like_binary_modules() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = "\u{feff}(module (func (export \"one\") (result i32) i32.const 1))";
    std::fs::write(path("one.wat"), text).unwrap();
    assert_eq!(out(&wpc(&["call", &path("one.wat"), "one"])), "1\n");
    assert!(out(&wpc(&["inspect", &path("one.wat")])).contains("one() -> i32"));
    assert_eq!(out(&wpc_with(text.as_bytes(), &["call", "-", "one"])), "1\n");
    let uses = r#"(module (import "lib" "one" (func $one (result i32))) (func (export "f") (result i32) call $one))"#;
    std::fs::write(path("uses.wat"), uses).unwrap();
    let dependency = format!("lib={}", path("one.wat"));
    assert_eq!(out(&wpc(&["call", &path("uses.wat"), "f", "--dep", &dependency])), "1\n");
    let manifest = write(folder.path(), "\u{feff}[functions.one]\nfile = \"one.wat\"\n");
    let ran = wpc_with("\u{feff}{\"function\": \"one\"}\n".as_bytes(), &["run", &manifest]);
    assert!(out(&ran).contains("\"value\":1"), "{}{}", out(&ran), err(&ran));
    std::fs::write(path("broken.wat"), "(module\n  nonsense)").unwrap();
    let broken = wpc(&["call", &path("broken.wat"), "one"]);
    assert_eq!(broken.status.code(), Some(3), "{}", err(&broken));
    assert!(err(&broken).contains("broken.wat:2:") && err(&broken).contains("(not_wasm)"));
    assert_eq!(
        wpc(&["call", &root("README.md").display().to_string(), "f"]).status.code(),
        Some(3)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn an_error_about_address_space_names_the_setting_to_lower() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path());
    // 64 GiB, but 1,000 instances reserve 4 TiB.
    let script = "ulimit -v 67108864; exec \"$0\" run \"$1\"";
    let message = err(&run(&mut shell(script, &[env!("CARGO_BIN_EXE_wpc"), &manifest])));
    assert!(message.contains("lower `max_live_instances` under [pool]"), "{message}");
}
