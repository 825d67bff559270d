//! `run` and `test`: pools that a manifest defines.

use crate::running::{Running, write};
use crate::support::{err, fails_with, out, root, sdk, wat, wpc, wpc_with};
use serde_json::{Value, json};
use std::path::Path;

/// The answers, sorted by their id.
fn answers(output: &std::process::Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", err(output));
    let mut answers: Vec<Value> =
        out(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    answers.sort_by_key(|answer| answer["id"].as_i64());
    answers
}

#[test]
fn calls_and_answers_are_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let guests = root("examples/guests/wasm").display().to_string();
    let manifest = write(
        folder.path(),
        &format!(
            r#"
            [pool]
            workers = 2
            call_timeout = "60s"
            [constants]
            SERVICE_PREFIX = "demo"
            LIMIT = {{ type = "Option<u8>", value = 3 }}
            [dependencies.path_dep]
            file = "{guests}/path.wasm"
            [functions.label]
            file = "{guests}/function1.wasm"
            export = "WPCFunction1"
            limits = {{ timeout = "60s", memory = "16 MiB" }}
            [modules.tools]
            file = "{}"
            "#,
            sdk()
        ),
    );
    let calls = r#"
        {"id": 1, "function": "label", "arguments": ["/a/b.txt"]}
        {"id": 2, "function": "add", "arguments": [40, 2], "timeout": "60s", "affinity": "a"}
        {"id": 3, "function": "fails", "arguments": [3]}
        {"id": 4, "function": "missing"}
        {"id": 5, "function": "add", "arguments": [1, "x"]}
        {"id": 6, "function": "add", "argumentz": [1]}
        {"id": 7, "function": "add", "arguments": [1, 2], "pin": "0000000000000000000000000000000000000000"}
        {"id": 8, "function": "add", "arguments": [1, 2], "pin": "0"}
        not a call
    "#;
    let ran = wpc_with(calls.as_bytes(), &["run", &manifest]);
    let answers = answers(&ran);
    let [broken, label, add, fails, missing, mistyped, misspelt, pinned, invalid_pin] =
        answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    assert_eq!(label["value"], "demo:b.txt", "{label}");
    assert!(label["function_hash_sha1"].as_str().unwrap().len() == 40, "{label}");
    assert_eq!(add["value"], 42);
    assert_eq!(fails["error"]["guest"]["name"], "TooSmall");
    assert_eq!(missing["error"]["code"], "function_not_defined");
    assert!(mistyped["error"]["message"].as_str().unwrap().contains("`b`: expected i32"));
    assert!(misspelt["error"]["message"].as_str().unwrap().contains("line 7: unknown field"));
    assert_eq!(pinned["error"]["code"], "pin_mismatch", "{pinned}");
    assert_eq!(invalid_pin["error"]["code"], "usage");
    assert!(broken["error"]["message"].as_str().unwrap().contains("line 10"), "{broken}");
}

#[test]
fn functions_of_a_module_may_have_separate_sandboxes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    wat(
        folder,
        "siblings.wasm",
        r#"(module
            (func (export "traps") unreachable)
            (func (export "get-answer") (result i32) i32.const 42))"#,
    );
    let calls = r#"
        {"id": 1, "function": "traps"}
        {"id": 2, "function": "get-answer", "timeout": "60s"}
    "#;
    // The first failure opens the circuit breaker.
    let pool = "[pool]\nworkers = 1\nmax_restarts_per_worker = 0";
    let answer = |separate: bool| {
        let manifest = write(
            folder,
            &format!(
                "{pool}\n[modules.siblings]\nfile = \"siblings.wasm\"\nseparate_sandboxes = {separate}"
            ),
        );
        let ran =
            wpc_with(calls.as_bytes(), &["run", &manifest, "--ordered", "--outstanding", "1"]);
        answers(&ran)[1].clone()
    };
    assert_eq!(answer(true)["value"], 42);
    assert_eq!(answer(false)["error"]["code"], "circuit_open");
}

#[test]
fn answers_are_in_the_order_of_calls_with_the_option_ordered() {
    let folder = tempfile::tempdir().unwrap();
    let manifest =
        write(folder.path(), &format!("[modules.tools]\nfile = {:?}\n[pool]\nworkers = 4", sdk()));
    let calls: String = (0..500)
        .map(|id| format!("{}\n", json!({ "id": id, "function": "add", "arguments": [id, 1] })))
        .collect();
    let ran = wpc_with(calls.as_bytes(), &["run", &manifest, "--ordered", "--outstanding", "50"]);
    let found: Vec<Value> =
        out(&ran).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 500, "{}", err(&ran));
    for (id, answer) in found.iter().enumerate() {
        assert_eq!((&answer["id"], &answer["value"]), (&json!(id), &json!(id + 1)));
    }
}

#[test]
fn all_problems_of_a_manifest_are_reported_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    wat(
        folder,
        "asks.wasm",
        r#"(module (import "wpc" "wpc_clock" (func (param i32) (result i64))) (func (export "asks")))"#,
    );
    std::fs::copy(root("examples/guests/wasm/function1.wasm"), folder.join("f.wasm")).unwrap();
    std::fs::copy(root("README.md"), folder.join("text.wasm")).unwrap();
    let manifest = write(
        folder,
        r#"[constants]
LIMIT = { type = "u9", value = 3 }
NONE = []
[functions.lost]
file = "lost.wasm"
[functions.text]
file = "text.wasm"
[functions.asks]
file = "asks.wasm"
[functions.stdin]
file = "asks.wasm"
grants = ["stdin"]
[functions.label]
file = "f.wasm"
export = "WPCFunction1"
[functions.WPCFunction1]
file = "f.wasm"
[modules.again]
file = "f.wasm"
"#,
    );
    let message = fails_with(2, &wpc(&["run", &manifest, "--check"]));
    for expected in [
        "wpc.toml:2: constant \"LIMIT\"",
        "wpc.toml:3: constant \"NONE\"",
        "wpc.toml:4: function \"lost\"",
        "(environment)",
        "wpc.toml:6: function \"text\"",
        "(not_wasm)",
        "wpc.toml:8: function \"asks\"",
        "(not_granted)",
        "wpc.toml:10: function \"stdin\": `stdin` cannot be granted",
        "wpc.toml:13: function \"label\" needs dependency \"path_dep\"",
        "wpc.toml:13: function \"label\" needs constant \"SERVICE_PREFIX\"",
        "wpc.toml:16: function \"WPCFunction1\": function \"WPCFunction1\" is already defined by module \"again\"",
    ] {
        assert!(message.contains(expected), "missing {expected} in:\n{message}");
    }
    let message = fails_with(2, &wpc(&["--json", "run", &manifest, "--check"]));
    let output: Value = serde_json::from_str(&message).unwrap();
    assert!(output["error"]["problems"].as_array().unwrap().len() >= 9, "{output}");
    let only_rejected = write(folder, "[functions.asks]\nfile = \"asks.wasm\"");
    fails_with(3, &wpc(&["run", &only_rejected]));
}

#[test]
fn an_error_in_a_manifest_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (
            "[pool]\nworkers = 2\ncall_timeout = \"soon\"",
            "wpc.toml:3: `pool.call_timeout`: invalid value: string \"soon\", expected a duration, such as \"500ms\"",
        ),
        ("[pool]\nworker = 2", "wpc.toml:2: unknown field `worker`"),
        ("[functions.f]\nfile = 3", "wpc.toml:2: `functions.f.file`: "),
        ("[functions.f]\nfile = \"f\"\ngrants = [\n1]", "wpc.toml:4: `functions.f.grants`: "),
        ("[functions.f]\n\n[functions.g\n", "wpc.toml:3: "),
        ("[functions.f]\ngrants = []", "wpc.toml:1: `functions.f`: missing field `file`"),
    ] {
        let manifest = write(folder.path(), text);
        let message = fails_with(2, &wpc(&["run", &manifest]));
        assert!(
            message.contains(expected) && message.contains("(manifest)"),
            "{expected}: {message}"
        );
    }
    let options = "[pool]\ncall_timeout = \"0s\"\nmax_live_instances = 0\nmax_helper_threads = 0";
    let message = fails_with(2, &wpc(&["run", &write(folder.path(), options)]));
    for name in ["`call_timeout`", "`max_live_instances`", "`max_helper_threads`"] {
        assert!(message.contains(name), "{message}");
    }
    let nowhere = folder.path().join("nowhere").display().to_string();
    assert!(fails_with(1, &wpc(&["run", &nowhere])).contains("nowhere"));
}

/// Writes a module whose function `f` returns the number.
pub(crate) fn returns(folder: &Path, file: &str, number: i32) {
    let text = format!(r#"(module (func (export "f") (result i32) i32.const {number}))"#);
    wat(folder, "new", &text);
    std::fs::rename(folder.join("new"), folder.join(file)).unwrap();
}

#[test]
fn changes_are_applied_and_a_rejected_change_keeps_the_previous_definition() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    returns(folder, "f.wasm", 1);
    let one = "[functions.f]\nfile = \"f.wasm\"\n";
    let mut running = Running::watch(&write(folder, one));
    assert_eq!(running.call("f"), 1);

    returns(folder, "f.wasm", 2);
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 2);

    std::fs::write(folder.join("f.wasm"), "broken").unwrap();
    running.wait_for("refused", "not_wasm");
    assert_eq!(running.call("f"), 2);

    std::fs::remove_file(folder.join("f.wasm")).unwrap();
    running.wait_for("refused", "environment");
    assert_eq!(running.call("f"), 2);

    returns(folder, "f.wasm", 3);
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 3);

    returns(folder, "g.wasm", 4);
    write(folder, &format!("{one}[functions.g]\nfile = \"g.wasm\"\nexport = \"f\"\n"));
    running.wait_for("defined", "function \\\"g\\\"");
    assert_eq!(running.call("g"), 4);

    write(folder, "[functions.f");
    running.wait_for("refused", "wpc.toml");
    assert_eq!((running.call("f"), running.call("g")), (json!(3), json!(4)));

    write(folder, "[functions.g]\nfile = \"g.wasm\"\nexport = \"f\"\n");
    running.wait_for("removed", "function \\\"f\\\"");
    assert_eq!((running.call("f"), running.call("g")), (json!("function_not_defined"), json!(4)));

    drop(running.calls.take());
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_dependency_and_its_users_change_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let module = |file, text| {
        wat(folder, "new", text);
        std::fs::rename(folder.join("new"), folder.join(file)).unwrap();
    };
    module("lib.wasm", r#"(module (func (export "one") (result i32) i32.const 1))"#);
    module(
        "f.wasm",
        r#"(module (import "lib" "one" (func $one (result i32))) (func (export "f") (result i32) call $one))"#,
    );
    let both = "[dependencies.lib]\nfile = \"lib.wasm\"\n[functions.f]\nfile = \"f.wasm\"\n";
    let mut running = Running::watch(&write(folder, both));
    assert_eq!(running.call("f"), 1);
    // Neither module is compatible with the other's old version. The manifest changes last, and names both new files.
    module("lib2.wasm", r#"(module (func (export "two") (result i32) i32.const 2))"#);
    module(
        "f2.wasm",
        r#"(module (import "lib" "two" (func $two (result i32))) (func (export "f") (result i32) call $two))"#,
    );
    write(folder, &both.replace(".wasm", "2.wasm"));
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 2);
    // The new pair is not compatible either, so the previous pair stays active.
    module("f3.wasm", r#"(module (import "lib" "three" (func)) (func (export "f")))"#);
    write(folder, &both.replace("f.wasm", "f3.wasm"));
    running.wait_for("refused", "dependency");
    assert_eq!(running.call("f"), 2);
}

#[test]
fn renamed_and_required_items_stay_active() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    returns(folder, "f.wasm", 1);
    let mut running = Running::watch(&write(folder, "[modules.old]\nfile = \"f.wasm\"\n"));
    assert_eq!(running.call("f"), 1);
    write(folder, "[modules.new]\nfile = \"f.wasm\"\n");
    running.wait_for("removed", "module \\\"old\\\"");
    assert_eq!(running.call("f"), 1);

    wat(folder, "lib.wasm", r#"(module (func (export "one") (result i32) i32.const 1))"#);
    wat(
        folder,
        "g.wasm",
        r#"(module (import "lib" "one" (func $one (result i32))) (func (export "g") (result i32) call $one))"#,
    );
    let g = "[functions.g]\nfile = \"g.wasm\"\n";
    write(folder, &format!("[dependencies.lib]\nfile = \"lib.wasm\"\n{g}"));
    running.wait_for("removed", "module \\\"new\\\"");
    assert_eq!(running.call("g"), 1);
    write(folder, g);
    running.wait_for("refused", "function \\\"g\\\" needs it");
    assert_eq!(running.call("g"), 1);
    write(folder, &format!("[pool]\nworkers = 3\n[dependencies.lib]\nfile = \"lib.wasm\"\n{g}"));
    running.wait_for("warning", "[pool] has changed; restart");
}

#[test]
#[cfg(unix)]
fn a_signal_stops_an_idle_pool() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    returns(folder, "f.wasm", 1);
    let mut running = Running::watch(&write(folder, "[functions.f]\nfile = \"f.wasm\"\n"));
    assert_eq!(running.call("f"), 1);
    let id = running.child.id().to_string();
    assert!(std::process::Command::new("kill").arg(&id).status().unwrap().success());
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn the_tests_of_a_manifest_are_run() {
    let folder = tempfile::tempdir().unwrap();
    let module = format!("[modules.tools]\nfile = {:?}\n", sdk());
    let test = |text: &str| format!("[[tests]]\nfunction = \"add\"\narguments = [1, 2]\n{text}\n");
    let good = [test("value = 3"), test("")].concat()
        + "[[tests]]\nfunction = \"fails\"\narguments = [3]\nerror = \"TooSmall\"\n"
        + "[[tests]]\nfunction = \"missing\"\nerror = \"function_not_defined\"\n";
    let manifest = write(folder.path(), &format!("{module}{good}"));
    assert_eq!(out(&wpc(&["test", &manifest])), "4 tests passed\n");
    let bad = [test("value = 4"), test("error = \"trap\"")].concat();
    let manifest = write(folder.path(), &format!("{module}{bad}"));
    let message = fails_with(7, &wpc(&["test", &manifest]));
    assert!(message.contains("wpc.toml:3: \"add\" returned 3, expected 4"), "{message}");
    assert!(message.contains("wpc.toml:7: \"add\" returned 3, expected error trap"), "{message}");
}

#[test]
fn a_test_compares_items() {
    let folder = tempfile::tempdir().unwrap();
    let streams = root("fixtures/wasm/streams.wasm").display().to_string();
    let module = format!("[modules.streams]\nfile = \"{streams}\"\n");
    let test = |function: &str, text: &str| {
        format!("[[tests]]\nfunction = \"{function}\"\narguments = [\"tea jam\"]\n{text}\n")
    };
    let good = [
        test("lines", "items = [\"tea jam\"]\nvalue = 1"),
        test("words", "items = [{ text = \"tea\", length = 3 }, { text = \"jam\", length = 3 }]"),
    ];
    let manifest = write(folder.path(), &format!("{module}{}", good.concat()));
    assert_eq!(out(&wpc(&["test", &manifest])), "2 tests passed\n");
    for (text, message) in [
        ("items = []", "yielded \"tea jam\" after 0 items"),
        ("items = [\"jam\"]", "yielded \"tea jam\" as item 1, expected \"jam\""),
        ("items = [\"tea jam\", \"jam\"]", "yielded 1 item, expected 2"),
        ("items = [\"tea jam\"]\nvalue = 2", "returned 1, expected 2"),
        ("value = 1", "yields items"),
    ] {
        let manifest = write(folder.path(), &format!("{module}{}", test("lines", text)));
        let failed = fails_with(7, &wpc(&["test", &manifest]));
        assert!(failed.contains(message), "{failed}");
    }
}

#[test]
fn items_are_lines_before_the_answer_of_their_call() {
    let folder = tempfile::tempdir().unwrap();
    let streams = root("fixtures/wasm/streams.wasm").display().to_string();
    let manifest = write(folder.path(), &format!("[modules.streams]\nfile = \"{streams}\"\n"));
    let calls = br#"
        {"id": 1, "function": "lines", "arguments": ["tea\njam"], "stream": true}
        {"id": 2, "function": "words", "arguments": ["tea  jam"], "stream": true}
        {"id": 3, "function": "lines", "arguments": ["tea"]}
    "#;
    let lines = answers(&wpc_with(calls, &["run", &manifest]));
    let of = |id: i64| lines.iter().filter(move |line| line["id"] == id).collect::<Vec<_>>();
    let [tea, jam, result] = of(1)[..] else { panic!("{lines:?}") };
    assert_eq!((&tea["item"], &jam["item"]), (&json!("tea"), &json!("jam")));
    assert_eq!((&result["value"], &result["items"]), (&json!(2), &json!(2)));
    assert_eq!(tea["call"], result["call"]);
    let [word, failed] = of(2)[..] else { panic!("{lines:?}") };
    assert_eq!(word["item"], json!({ "text": "tea", "length": 3 }));
    assert_eq!((&failed["error"]["code"], &failed["items"]), (&json!("guest_error"), &json!(1)));
    let [plain] = of(3)[..] else { panic!("{lines:?}") };
    assert_eq!(plain["error"]["code"], "yields_items");

    let ordered = answers(&wpc_with(calls, &["run", &manifest, "--ordered"]));
    assert_eq!(ordered.len(), 3);
    let message = ordered[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("without `--ordered`"), "{message}");
}
