//! `wpc serve --admin-listen`: the administration at an address of its own.

use crate::process::wpc;
use crate::running::Running;
use crate::signals::{manifest, signal};
use crate::support::{err, fails_with, out};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A server with a data folder, its URL and that of its administration.
fn serve(folder: &Path, admin: &str) -> (Running, String, String) {
    let (manifest, data) = (manifest(folder, "50ms"), folder.join("data").display().to_string());
    let arguments = ["--json", "serve", &manifest, "--data", &data, "--listen", "127.0.0.1:0"];
    let running = Running::start(&[&arguments[..], &["--admin-listen", admin]].concat());
    let ready: Value = serde_json::from_str(&running.wait_for_line("ready", "")).unwrap();
    let text = |name: &str| ready[name].as_str().unwrap().to_owned();
    (running, text("url"), text("administration"))
}

fn socket(folder: &Path) -> String {
    format!("unix:{}", folder.join("admin.sock").display())
}

#[test]
fn commands_administer_a_server_through_a_unix_socket_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, url, admin) = serve(folder.path(), &socket(folder.path()));
    assert_eq!(admin, socket(folder.path()));
    let path = folder.path().join("admin.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let history = wpc(&["history", "--server", &admin]);
    assert!(out(&history).contains('1'), "{}{}", out(&history), err(&history));
    let refused = fails_with(3, &wpc(&["history", "--server", &url]));
    assert!(refused.contains("not_found") && refused.contains("`--admin-listen`"), "{refused}");
    // Both serve calls and probes.
    for server in [&url, &admin] {
        let output = wpc(&["call", "--server", server, "add", "40", "2"]);
        assert_eq!(out(&output), "42\n", "{}", err(&output));
        let output = wpc(&["health", server, "--timeout", "60s"]);
        assert_eq!(out(&output).lines().last(), Some("ok"), "{}", err(&output));
    }
    signal(&running, "TERM");
    assert_eq!(running.exit_code(), Some(0));
    assert!(!path.exists());
    let found = fails_with(1, &wpc(&["health", &admin, "--timeout", "60s"]));
    assert!(found.contains(&format!("{admin} cannot be reached")), "{found}");
}

#[test]
fn a_socket_is_replaced_only_if_no_process_listens_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let (address, path) = (socket(folder.path()), folder.path().join("admin.sock"));
    let listening = UnixListener::bind(&path).unwrap();
    let start = || wpc(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", &address]);
    let found = fails_with(1, &start());
    assert!(found.contains(&address) && found.contains("another process listens"), "{found}");
    drop(listening);
    // The file of a process that was killed.
    assert!(path.exists());
    let (running, _, admin) = serve(folder.path(), &address);
    assert!(wpc(&["health", &admin, "--timeout", "60s"]).status.success());
    drop(running);
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, "notes").unwrap();
    let found = fails_with(1, &start());
    assert!(found.contains("is not a socket"), "{found}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
}

#[test]
fn an_address_of_the_administration_that_others_reach_needs_tokens_too() {
    let output = wpc(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"]);
    let found = fails_with(2, &output);
    assert!(found.contains("wpc token create") && found.contains("--insecure"), "{found}");
    let output = wpc(&["serve", "--admin-listen", "nowhere"]);
    assert!(fails_with(2, &output).contains("or `unix:PATH`"));
}
