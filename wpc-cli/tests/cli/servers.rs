//! `wpc serve`, and the commands that use it.

use crate::process::{command, run, shell};
use crate::running::{Running, write};
use crate::signals::signal;
use crate::support::{err, fails_with, out, root, sdk, wpc};
use serde_json::{Value, json};

/// A running server. Dropping it ends the process.
fn serve(options: &[&str]) -> (Running, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let streams = root("fixtures/wasm/streams.wasm");
    let manifest = write(
        folder.path(),
        &format!("[modules.tools]\nfile = {:?}\n[modules.streams]\nfile = {streams:?}", sdk()),
    );
    let arguments = ["--json", "serve", &manifest, "--listen", "127.0.0.1:0"];
    let running = Running::start_unread(&[&arguments, options].concat());
    let url = loop {
        let notice: Value = serde_json::from_str(&running.notice()).unwrap();
        if notice["event"] == "ready" {
            break notice["url"].as_str().unwrap().to_owned();
        }
    };
    (running, url, folder)
}

#[test]
fn functions_of_a_server_are_called_like_those_of_a_module() {
    let (_server, url, _folder) = serve(&[]);
    let output = wpc(&["call", "--server", &url, "add", "40", "2"]);
    assert_eq!(
        (out(&output).as_str(), output.status.code()),
        ("42\n", Some(0)),
        "{}",
        err(&output)
    );
    let output = wpc(&["call", "--server", &url, "join", "good ", "day"]);
    assert_eq!(out(&output), "\"good day\"\n");
    let output = wpc(&["--json", "call", "--server", &url, "add", "40", "2"]);
    let answer: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&answer["value"], &answer["fuel_used"]), (&json!(42), &Value::Null));
    assert_eq!(answer["function_hash_sha1"].as_str().unwrap().len(), 40);
}

#[test]
fn a_call_needs_the_option_of_the_server_because_the_variable_is_used_by_other_commands() {
    let mut call = command(&["call", "greet", "Ada"]);
    let found = fails_with(2, &run(call.env("WPC_SERVER", "http://127.0.0.1:1")));
    assert!(found.contains("greet does not exist"), "{found}");
    assert!(found.contains("add `--server http://127.0.0.1:1`"), "{found}");
}

#[test]
fn a_problem_of_a_server_has_the_exit_code_of_its_error() {
    let (_server, url, _folder) = serve(&[]);
    let call = |arguments: &[&str]| wpc(&[&["call", "--server", &url], arguments].concat());
    let text = fails_with(3, &call(&["addd", "1", "2"]));
    assert!(
        text.contains("did you mean \"add\"?") && text.contains("function_not_defined"),
        "{text}"
    );
    assert!(fails_with(2, &call(&["add", "1", "two"])).contains("`b`"));
    assert!(fails_with(4, &call(&["fails", "1"])).contains("1 is too small"));
    assert!(fails_with(5, &call(&["panics", "now"])).contains("trap"));
    assert!(fails_with(6, &call(&["spins", "--timeout", "50ms"])).contains("timeout"));
    assert!(fails_with(2, &call(&["add", "1", "2", "--memory", "1MiB"])).contains("--memory"));
    assert!(fails_with(2, &call(&["a/b"])).contains("not a valid name"));
    let text = fails_with(2, &call(&["add", "1", "2", "--fuel", "9"]));
    assert!(text.contains("`--fuel` needs a function with a fuel limit; leave it out"), "{text}");
    let output = wpc(&["--json", "call", "--server", &url, "fails", "1"]);
    let failure: Value = serde_json::from_str(&fails_with(4, &output)).unwrap();
    assert_eq!(failure["error"]["code"], "guest_error");
    assert_eq!(failure["error"]["problem"]["outcome"], "finished");
    assert!(fails_with(2, &wpc(&["call", "--server", "nonsense", "add"])).contains("URL"));
    assert!(
        fails_with(1, &wpc(&["call", "--server", "http://127.0.0.1:1", "add"]))
            .contains("127.0.0.1:1")
    );
}

#[test]
fn items_of_a_server_are_printed_as_they_arrive() {
    let (_server, url, _folder) = serve(&[]);
    let output = wpc(&["call", "--server", &url, "lines", "a\nb", "--stream"]);
    assert_eq!((out(&output).as_str(), err(&output).as_str()), ("\"a\"\n\"b\"\n", "result: 2\n"));
    let refused = fails_with(2, &wpc(&["call", "--server", &url, "lines", "a"]));
    let expected = "function \"lines\" yields items; read them with `--stream` (yields_items)";
    assert!(refused.contains(expected), "{refused}");
    let output = wpc(&["--json", "call", "--server", &url, "lines", "a", "--stream"]);
    assert_eq!(out(&output), "{\"item\":\"a\"}\n{\"fuel_used\":null,\"value\":1}\n");
    let output = wpc(&["call", "--server", &url, "words", "a  b", "--stream"]);
    assert_eq!(
        (output.status.code(), out(&output).as_str()),
        (Some(4), "{\"length\":1,\"text\":\"a\"}\n")
    );
    assert!(err(&output).contains("a word is empty") && err(&output).contains("after 1 item"));
}

#[test]
fn a_stream_ends_without_a_message_when_its_reader_is_gone() {
    let (_server, url, _folder) = serve(&[]);
    let script = "\"$0\" call --server \"$1\" numbers 18446744073709551615 --stream | head -n 2";
    let ran = run(&mut shell(script, &[env!("CARGO_BIN_EXE_wpc"), &url]));
    assert_eq!((out(&ran).as_str(), err(&ran).as_str()), ("0\n1\n", ""));
}

#[test]
fn idempotency_keys_are_accepted_with_the_option() {
    let (_server, url, _folder) = serve(&["--idempotency"]);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let call = |replayed: Option<&str>| {
        let request = agent.post(format!("{url}/v1/functions/count/call"));
        let request = request.header("idempotency-key", "\"a\"");
        let mut answer = request.content_type("application/json").send("[]").unwrap();
        let header = answer.headers().get("idempotent-replayed");
        assert_eq!(header.map(|value| value.to_str().unwrap()), replayed);
        answer.body_mut().read_to_string().unwrap()
    };
    assert_eq!((call(None), call(Some("true"))), ("1".to_owned(), "1".to_owned()));
}

#[test]
fn the_last_events_of_a_server_are_printed() {
    let (_server, url, _folder) = serve(&[]);
    fails_with(5, &wpc(&["call", "--server", &url, "panics", "now"]));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let output = wpc(&["logs", "--server", &url]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        if out(&output).contains("panics: call execution failed") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", out(&output));
    }
}

#[test]
fn events_of_a_server_are_followed_until_it_stops() {
    let (mut server, url, _folder) = serve(&[]);
    let mut logs = Running::start(&["--json", "logs", "-f", "--server", &url]);
    // The event of the first call may be one of the last events, that of the second one is new.
    for word in ["first", "second"] {
        fails_with(5, &wpc(&["call", "--server", &url, "panics", word]));
        loop {
            let event: Value =
                serde_json::from_str(&logs.answers.recv_timeout(crate::running::TIMEOUT).unwrap())
                    .unwrap();
            if event["event"] == "call_execution_failed" {
                let message = event["error"]["message"].as_str().unwrap();
                assert!(message.contains(word), "{event}");
                break;
            }
        }
    }
    signal(&server, "TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(logs.exit_code(), Some(0));
}

#[test]
fn constants_and_secrets_of_a_server_are_set_listed_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("data").display().to_string();
    let secret = data.path().join("secret");
    std::fs::write(&secret, "\"hidden\"").unwrap();
    let secret = format!("file:{}", secret.display());
    let allowed = format!("secret={secret}");
    let (_server, url, _folder) = serve(&["--data", &folder, "--allow", &allowed]);
    let constant = |arguments: &[&str]| {
        run(command(&[&["constant"], arguments].concat()).env("WPC_SERVER", &url))
    };
    let set = constant(&["set", "RATE", "-0.25", "--note", "a & b"]);
    assert_eq!(out(&set), "defined constant \"RATE\"\nrevision 2 is active\n", "{}", err(&set));
    let typed = constant(&["set", "LIMIT", "3", "--type", "u32"]);
    assert!(typed.status.success(), "{}", err(&typed));
    let by_reference = constant(&["set", "KEY", "--secret", &secret]);
    assert!(by_reference.status.success(), "{}", err(&by_reference));
    let listed = out(&constant(&["list"]));
    assert_eq!(listed, format!("KEY  secret {secret}\nLIMIT: u32  3\nRATE  -0.25\n"));
    let removed = constant(&["remove", "RATE", "--note", "c & d"]);
    assert_eq!(out(&removed), "removed constant \"RATE\"\nrevision 5 is active\n");
    let history = out(&wpc(&["history", "--server", &url]));
    assert!(history.contains("a & b") && history.contains("c & d"), "{history}");
    let json: Value = serde_json::from_str(&out(&constant(&["list", "--json"]))).unwrap();
    assert_eq!((&json["active"], json["constants"].as_array().map(Vec::len)), (&json!(5), Some(2)));

    assert!(fails_with(2, &constant(&["set", "RATE", "Hello"])).contains("JSON quotes"));
    assert!(fails_with(2, &constant(&["set", "RATE"])).contains("VALUE"));
    assert!(
        fails_with(2, &constant(&["set", "RATE", "1", "--secret", "env:A"])).contains("--secret")
    );
    assert!(fails_with(3, &constant(&["remove", "RATE"])).contains("constant_not_found"));
    assert!(fails_with(3, &constant(&["set", "a/b", "1"])).contains("a/b"));
    let text = fails_with(3, &constant(&["set", "OTHER", "--secret", "env:OTHER"]));
    assert!(text.contains("`--allow secret=env:OTHER`") && !text.contains("wpc.toml"), "{text}");
    let untyped = fails_with(3, &constant(&["set", "N", "3"]));
    let expected = "error: constant \"N\": the type is not declared";
    assert!(untyped.starts_with(expected) && untyped.contains("`--type u32`"), "{untyped}");
}

#[test]
fn a_constant_that_a_function_needs_is_not_removed_or_set_to_another_type() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("data").display().to_string();
    let (_server, url, own) = serve(&["--data", &folder]);
    for name in ["function1", "path"] {
        let from = root(&format!("examples/guests/wasm/{name}.wasm"));
        std::fs::copy(from, own.path().join(format!("{name}.wasm"))).unwrap();
    }
    let manifest = write(
        own.path(),
        "[constants]\nSERVICE_PREFIX = \"demo\"\n[dependencies.path_dep]\nfile = \"path.wasm\"\n[functions.label]\nfile = \"function1.wasm\"\nexport = \"WPCFunction1\"\n",
    );
    let deployed = wpc(&["deploy", &manifest, "--server", &url]);
    assert!(deployed.status.success(), "{}", err(&deployed));
    let constant = |arguments: &[&str]| {
        run(command(&[&["constant"], arguments].concat()).env("WPC_SERVER", &url))
    };
    let removed = fails_with(3, &constant(&["remove", "SERVICE_PREFIX"]));
    let expected = "error: function \"label\" needs constant \"SERVICE_PREFIX\", which is removed; keep it, or remove function \"label\" (constant_not_defined)\n";
    assert_eq!(removed, expected);
    let set = fails_with(3, &constant(&["set", "SERVICE_PREFIX", "7"]));
    assert!(set.starts_with("error: constant \"SERVICE_PREFIX\": "), "{set}");
    assert!(!set.contains("failed to encode"), "{set}");
    assert!(set.matches("SERVICE_PREFIX").count() < 3, "{set}");
}

#[test]
fn a_server_is_drained_and_accepts_calls_again() {
    let (_server, url, _folder) = serve(&[]);
    let drain = |options: &[&str]| wpc(&[&["drain", "--server", &url], options].concat());
    let output = drain(&["--wait", "30s"]);
    assert_eq!(out(&output), "the server is drained; no call is in progress\n", "{}", err(&output));
    let call = || wpc(&["call", "--server", &url, "add", "40", "2"]);
    let output = call();
    assert!(!output.status.success() && err(&output).contains("draining"), "{}", err(&output));
    assert_eq!(wpc(&["health", &url]).status.code(), Some(1));
    let output = drain(&["--end"]);
    assert_eq!(out(&output), "the server accepts calls\n", "{}", err(&output));
    assert_eq!(out(&call()), "42\n");
}
