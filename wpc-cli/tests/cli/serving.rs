//! `wpc serve` as a process: how it starts, and how signals stop it.

use crate::process::{command, wpc};
use crate::running::{Running, TIMEOUT};
use crate::signals::{manifest, signal};
use crate::support::fails_with;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

/// A server of a manifest with `spin`, and its address.
pub(crate) fn serve(folder: &Path, stop_timeout: &str, options: &[&str]) -> (Running, String) {
    let manifest = manifest(folder, stop_timeout);
    let mut arguments = vec!["--json", "serve", &manifest];
    if !options.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    arguments.extend(options);
    let running = Running::start(&arguments);
    let ready: Value = serde_json::from_str(&running.wait_for_line("ready", "")).unwrap();
    let url = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    (running, url)
}

/// Sends a request, and reads the response to the end of the connection.
fn post(address: &str, path: &str, body: &str) -> TcpStream {
    post_with(address, path, "", body)
}

/// The same with these lines of headers, as the only request of its connection.
pub(crate) fn post_with(address: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = body.len();
    let close = if headers.is_empty() { "" } else { "connection: close\r\n" };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{close}{headers}content-length: {length}"
    );
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    stream
}

pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_signal_finishes_requests_and_interrupts_calls_past_the_stop_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, address) = serve(folder.path(), "50ms", &[]);
    let call = post(&address, "/v1/functions/spin/call", "");
    running.wait_for("log", "in");
    signal(&running, "TERM");
    let answer = rest(call);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("\"code\":\"stopped\""), "{answer}");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, address) = serve(folder.path(), "1h", &[]);
    let _call = post(&address, "/v1/functions/spin/call", "");
    running.wait_for("log", "in");
    signal(&running, "TERM");
    running.wait_for("stopping", "1h");
    signal(&running, "INT");
    assert_eq!(running.exit_code(), Some(130));
}

#[test]
fn connections_of_the_grace_period_are_accepted_with_the_request_to_close_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, address) = serve(folder.path(), "50ms", &["--grace", "1h"]);
    // A connection that is kept open shows when the server has received the signal.
    let mut kept = TcpStream::connect(&address).unwrap();
    kept.set_read_timeout(Some(TIMEOUT)).unwrap();
    signal(&running, "TERM");
    loop {
        let request = "POST /v1/functions/speak/call HTTP/1.1\r\nhost: localhost\r\n";
        kept.write_all(format!("{request}content-length: 6\r\n\r\n[\"hi\"]").as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let read = kept.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        if answer.contains("connection: close") {
            break;
        }
    }
    let answer = rest(post(&address, "/v1/functions/speak/call", "[\"hi\"]"));
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"),
        "{answer}"
    );
    signal(&running, "TERM");
    assert_eq!(running.exit_code(), Some(130));
}

#[test]
fn an_idle_connection_does_not_delay_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, address) = serve(folder.path(), "1h", &[]);
    let mut idle = TcpStream::connect(&address).unwrap();
    idle.set_read_timeout(Some(TIMEOUT)).unwrap();
    signal(&running, "TERM");
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn the_number_of_functions_is_reported_and_what_to_do_if_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), "50ms");
    let served = |options: &[&str]| {
        let empty = tempfile::tempdir().unwrap();
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], options].concat();
        let mut serve = command(&arguments);
        let serve = serve.current_dir(empty.path()).stdin(Stdio::piped());
        let serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (Running::of(serve), empty)
    };
    let (running, _folder) = served(&[&manifest]);
    let ready = running.notice();
    assert!(ready.starts_with("ready: http://127.0.0.1:"), "{ready}");
    assert!(ready.ends_with(" on 2 workers)") && !ready.contains("(0 functions"), "{ready}");
    for (options, hint) in [
        (["--grace", "0s"], "no function is served: this folder has no `wpc.toml`"),
        (["--data", "data"], "no function is served yet; deploy a manifest with `wpc deploy"),
    ] {
        let (running, _folder) = served(&options);
        let ready = running.notice();
        assert!(ready.contains(" (0 functions on "), "{ready}");
        assert!(running.notice().starts_with(hint));
    }
}

#[test]
fn other_machines_are_served_only_with_tokens_or_the_option_insecure() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let serve = |options: &[&str]| {
        let output = wpc(&[&["serve", "--listen", "0.0.0.0:0"], options].concat());
        fails_with(2, &output)
    };
    let error = serve(&[]);
    assert!(error.contains("wpc token create --data FOLDER"), "{error}");
    assert!(error.contains("--tokens FILE") && error.contains("--insecure"), "{error}");
    let error = serve(&["--data", &data]);
    assert!(error.contains(&format!("wpc token create --data {data}")), "{error}");
    assert!(!error.contains("--tokens"), "{error}");
}
