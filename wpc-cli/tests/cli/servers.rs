//! `wpc serve`, and `wpc call --server`.

use crate::running::{Running, write};
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
fn a_server_is_drained_and_accepts_calls_again() {
    let (_server, url, _folder) = serve(&[]);
    let drain = |options: &[&str]| wpc(&[&["drain", "--server", &url], options].concat());
    let output = drain(&["--wait", "30s"]);
    assert_eq!(out(&output), "the server is drained; 0 calls in progress\n", "{}", err(&output));
    let call = || wpc(&["call", "--server", &url, "add", "40", "2"]);
    let output = call();
    assert!(!output.status.success() && err(&output).contains("draining"), "{}", err(&output));
    assert_eq!(wpc(&["health", &url]).status.code(), Some(1));
    let output = drain(&["--end"]);
    assert_eq!(out(&output), "the server accepts calls\n", "{}", err(&output));
    assert_eq!(out(&call()), "42\n");
}
