//! The options of `wpc serve` from the command line, the environment and the manifest, its log, and `wpc health`.

use crate::process::{command, run};
use crate::running::{Running, write};
use crate::support::{err, fails_with, out, sdk, wpc};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

/// A manifest with the SDK's functions and this table of options.
fn manifest(folder: &std::path::Path, server: &str) -> String {
    write(folder, &format!("[modules.tools]\nfile = {:?}\n[server]\n{server}", sdk()))
}

/// The next log line, as JSON, that has this event.
fn event(running: &Running, name: &str) -> Value {
    loop {
        let line = running.notice();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        if event["event"] == name {
            return event;
        }
    }
}

#[test]
fn the_manifest_sets_options_that_neither_the_command_line_nor_the_environment_sets() {
    let folder = tempfile::tempdir().unwrap();
    let options = "listen = \"127.0.0.1:0\"\nlog_format = \"json\"\naccess_log = \"all\"\n";
    let running = Running::start(&["serve", &manifest(folder.path(), options)]);
    let url = event(&running, "ready")["url"].as_str().unwrap().to_owned();
    assert_ne!(url, "http://127.0.0.1:7071");
    let health = wpc(&["health", &url, "--timeout", "60s"]);
    assert!(health.status.success(), "{}", err(&health));
    let request = event(&running, "request");
    assert_eq!((&request["route"], &request["status"]), (&"/readyz".into(), &200.into()));
    assert!(request["duration_ms"].as_f64().unwrap() > 0.0, "{request}");
    let called = wpc(&["call", "--server", &url, "add", "40", "2"]);
    assert_eq!(out(&called), "42\n", "{}", err(&called));
    let request = event(&running, "request");
    assert_eq!(request["function"], "add");
    assert!(request["call"].is_u64(), "{request}");
}

#[test]
fn a_refused_client_has_a_line_of_the_log_instead_of_that_of_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), "listen = \"127.0.0.1:0\"\n");
    let running = Running::start(&["--json", "serve", &manifest]);
    let url = event(&running, "ready")["url"].as_str().unwrap().to_owned();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.get(format!("{url}/livez")).header("host", "evil.example").call().unwrap();
    assert_eq!(answer.status(), 421);
    assert_eq!(agent.get(format!("{url}/nothing")).call().unwrap().status(), 404);
    let refused: Value = serde_json::from_str(&running.notice()).unwrap();
    assert_eq!((&refused["event"], &refused["level"]), (&"client_refused".into(), &"info".into()));
    assert_eq!((&refused["reason"], &refused["client"]), (&"host".into(), &"127.0.0.1".into()));
    let request: Value = serde_json::from_str(&running.notice()).unwrap();
    assert_eq!((&request["event"], &request["status"]), (&"request".into(), &404.into()));
}

#[test]
fn a_deployment_has_lines_of_the_log_and_of_the_audit_log_with_its_revision() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), "");
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let running =
        Running::start(&["--json", "serve", "--listen", "127.0.0.1:0", "--data", data, &manifest]);
    let url = event(&running, "ready")["url"].as_str().unwrap().to_owned();
    let next = format!("[constants]\nLIMIT = \"a\"\n[modules.tools]\nfile = {:?}\n", sdk());
    std::fs::write(&manifest, next).unwrap();
    let deployed = wpc(&["deploy", &manifest, "--server", &url]);
    assert!(deployed.status.success(), "{}", err(&deployed));
    let activated = loop {
        let action = event(&running, "administration");
        if action["target"] == "/v1/active" {
            break action;
        }
    };
    assert_eq!((&activated["revision"], &activated["level"]), (&2.into(), &"info".into()));
    assert!(activated["principal"].is_string(), "{activated}");
    let audit = std::fs::read_to_string(format!("{data}/audit.jsonl")).unwrap();
    let is_activation =
        |line: &str| line.contains("\"target\":\"/v1/active\"") && line.contains("\"revision\":2");
    assert!(audit.lines().any(is_activation), "{audit}");
}

#[test]
fn options_of_the_limits_apply_to_connections() {
    let folder = tempfile::tempdir().unwrap();
    let options = "listen = \"127.0.0.1:0\"\nmax_connections = 1\nmax_body = \"4B\"\n";
    let running = Running::start(&["--json", "serve", &manifest(folder.path(), options)]);
    let url = event(&running, "ready")["url"].as_str().unwrap().to_owned();
    let connect = || TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let mut first = connect();
    let head = "POST /v1/functions/add/call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7";
    first.write_all(format!("{head}\r\n\r\n[40, 2]").as_bytes()).unwrap();
    let mut status = [0; 13];
    first.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413 ");
    let mut refused = String::new();
    connect().read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let path = manifest(folder.path(), "max_body = \"2MiB\"\nmax_body_memory = \"1MiB\"\n");
    let found = fails_with(2, &wpc(&["serve", &path]));
    assert!(found.contains("`--max-body-memory 1.0 MiB` is less than"), "{found}");
}

#[test]
fn the_environment_overrides_the_manifest_and_the_command_line_overrides_both() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), "listen = \"127.0.0.1:0\"\n");
    let listen = |arguments: &[&str], variable: Option<&str>| {
        let mut serve = command(&["serve", &manifest]);
        serve.args(arguments);
        if let Some(value) = variable {
            serve.env("WPC_LISTEN", value);
        }
        // The addresses are in use, so the server names the one that it failed to listen on.
        fails_with(1, &run(&mut serve))
    };
    let occupied = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, other) = (occupied(), occupied());
    let address = |of: &std::net::TcpListener| of.local_addr().unwrap().to_string();
    let found = listen(&[], Some(&address(&one)));
    assert!(found.contains(&address(&one)), "{found}");
    let found = listen(&["--listen", &address(&other)], Some(&address(&one)));
    assert!(found.contains(&address(&other)), "{found}");
    assert!(found.contains("or any free one with `--listen 127.0.0.1:0`"), "{found}");
    let mut invalid = command(&["serve", &manifest]);
    let found = fails_with(2, &run(invalid.env("WPC_LISTEN", "nowhere")));
    assert!(found.contains("environment variable WPC_LISTEN"), "{found}");
    let found = listen(&["--admin-listen", &address(&other)], None);
    assert!(found.contains("choose another port with `--admin-listen`"), "{found}");
    let found = listen(&["--admin-listen", "unix:/none/admin.sock"], None);
    assert!(found.contains("the folder \"/none\" does not exist"), "{found}");
}

#[test]
fn problems_of_the_options_name_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = manifest(folder.path(), "lisen = \"127.0.0.1:0\"\n");
    let found = fails_with(2, &wpc(&["serve", &path]));
    let expected = ":4: `server.lisen`: this option does not exist; did you mean `listen`?";
    assert!(found.contains(expected), "{found}");
    let found = fails_with(2, &run(command(&["serve"]).env("WPC_LISTEN", "nowhere")));
    assert!(found.contains("invalid value 'nowhere' for '--listen <ADDRESS>'"), "{found}");
    // Other subcommands accept the table, and do not use it.
    let path = manifest(folder.path(), "listen = \"127.0.0.1:0\"\n");
    assert!(wpc(&["run", "--check", &path]).status.success());
}

#[test]
fn options_that_would_have_no_effect_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    for (option, value) in [("--allow-origin", "foo"), ("--allow-host", "http://a")] {
        let found = fails_with(2, &wpc(&["serve", option, value]));
        assert!(found.contains(&format!("invalid value '{value}'")), "{found}");
    }
    let path = manifest(folder.path(), "allow = \"read=/tmp\"\n");
    let found = fails_with(2, &wpc(&["serve", &path]));
    assert!(found.contains("`allow` needs `data`"), "{found}");
    let data = folder.path().join("data").display().to_string();
    let path = manifest(folder.path(), &format!("data = {data:?}\ntokens = \"none.toml\"\n"));
    let found = fails_with(2, &wpc(&["serve", &path]));
    assert!(found.contains("`tokens` cannot be combined with `data`"), "{found}");
    let options = ["--data", &data, "--allow", "read=/none", "--allow", "secret=env:A"];
    let path = manifest(folder.path(), "listen = \"127.0.0.1:0\"\n");
    let running = Running::start(&[&["serve", &path], options.as_slice()].concat());
    let warning = running.notice();
    assert!(
        warning.starts_with("warning: `--allow read=/none`: /none does not exist"),
        "{warning}"
    );
    assert!(running.notice().starts_with("ready: "));
}

#[test]
fn a_server_that_does_not_respond_is_not_healthy() {
    // No other program listens there.
    let unused = "127.0.0.1:1";
    let found = fails_with(1, &wpc(&["health", unused, "--timeout", "60s"]));
    assert!(found.contains(&format!("http://{unused}/readyz cannot be reached")), "{found}");
}

#[test]
fn the_example_units_use_options_that_exist() {
    let help = String::from_utf8(wpc(&["serve", "--help"]).stdout).unwrap();
    let known: Vec<_> =
        help.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).collect();
    let unit = include_str!("../../../docs/deploy/wpc.service");
    let image = include_str!("../../../docs/deploy/Dockerfile");
    let command = image.lines().find(|line| line.starts_with("CMD ")).unwrap();
    let options = command.split([' ', '"', ',']).filter(|word| word.starts_with("--"));
    let words = [unit, image].into_iter().flat_map(|text| text.split([' ', '=', '\n', ';']));
    let variables = words.filter(|word| word.starts_with("WPC_") && *word != "WPC_CACHE");
    let named: Vec<_> = options.chain(variables).collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(known.contains(&name), "`wpc serve` has no option or variable {name}");
    }
    assert!(image.contains("CMD [\"wpc\", \"health\", \"http://127.0.0.1:7071\"]"));
}

#[test]
fn the_example_image_is_built_from_files_that_exist() {
    let image = include_str!("../../../docs/deploy/Dockerfile");
    let workspace = include_str!("../../../Cargo.toml");
    let version = workspace.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.unwrap().trim_matches('"');
    assert!(image.contains(&format!("FROM rust:{version}-slim-")), "expected Rust {version}");
    // The folders that the server uses exist in the image, and its user may write where it has to.
    let folders = image.lines().find(|line| line.contains("mkdir ")).unwrap();
    for folder in ["/functions", "/cache", "/data"] {
        assert!(folders.contains(folder) && image.matches(folder).count() > 1, "{folder}");
    }
    assert!(folders.contains("chown wpc /cache /data"), "{folders}");
    // The output of builds is not sent to Docker, but the module of that name is.
    let ignored = include_str!("../../../.dockerignore");
    assert!(ignored.contains("**/target") && ignored.contains("!wpc-cli/src/target"));
}

#[test]
fn systemd_accepts_the_example_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = include_str!("../../../docs/deploy/wpc.service");
    let start = "ExecStart=/usr/local/bin/wpc ";
    assert_eq!(unit.matches(start).count(), 1);
    let unit = unit.replace(start, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_wpc")));
    let path = folder.path().join("wpc.service");
    std::fs::write(&path, unit).unwrap();
    let output = run(Command::new("systemd-analyze").arg("verify").arg(path));
    assert!(output.status.success() && err(&output).is_empty(), "{}", err(&output));
}
