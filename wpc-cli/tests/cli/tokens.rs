//! `wpc token`, with the files of a server and with a running one.

use crate::process::{command, run, wpc};
use crate::serving::{post_with, rest, serve};
use crate::signals::signal;
use crate::support::{err, fails_with, out};
use serde_json::Value;
use std::path::Path;

fn create(arguments: &[&str]) -> String {
    let output = wpc(&[&["token", "create"], arguments].concat());
    assert!(output.status.success(), "{}", err(&output));
    out(&output).trim_end().to_owned()
}

/// The status of a call with this token.
fn status(address: &str, token: &str) -> String {
    let header = format!("authorization: Bearer {token}\r\n");
    let answer = rest(post_with(address, "/v1/functions/speak/call", &header, "[\"hi\"]"));
    answer.split(' ').nth(1).unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn tokens_of_a_data_folder_are_administered_offline_and_through_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = text(&data);
    let admin = create(&["--data", data, "--name", "ada", "--scope", "admin"]);
    let (_running, address) = serve(folder.path(), "50ms", &["--data", data]);
    assert_eq!(status(&address, &admin), "200");

    let in_use = wpc(&["token", "list", "--data", data]);
    assert!(fails_with(1, &in_use).contains("--server URL"));

    let url = format!("http://{address}");
    let with_server = |arguments: &[&str], token: &str| {
        let arguments = [&["--json", "token"], arguments, &["--server", &url]].concat();
        run(command(&arguments).env("WPC_TOKEN", token))
    };
    let scope = ["create", "--name", "shop", "--scope", "call:spe*", "--expires", "30d"];
    let created = with_server(&scope, &admin);
    assert!(created.status.success(), "{}", err(&created));
    let created: Value = serde_json::from_str(&out(&created)).unwrap();
    let shop = created["token"].as_str().unwrap();
    assert_eq!(status(&address, shop), "200");
    assert!(err(&with_server(&scope, shop)).contains("forbidden"));
    assert!(err(&with_server(&scope, &admin)).contains("choose another name"));

    let list: Value = serde_json::from_str(&out(&with_server(&["list"], &admin))).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["ada", "shop"]);
    let revoked = with_server(&["revoke", "shop"], &admin);
    assert!(revoked.status.success() && err(&revoked).is_empty(), "{}", err(&revoked));
    assert_eq!(status(&address, shop), "401");
    let audit = std::fs::read_to_string(Path::new(data).join("audit.jsonl")).unwrap();
    assert!(audit.contains("\"principal\":\"ada\",\"action\":\"token.revoke\""), "{audit}");
    assert!(!audit.contains(&shop[14..]), "{audit}");
}

#[test]
fn a_missing_or_refused_token_is_reported_with_the_option_and_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let token = create(&["--file", text(&file), "--name", "first", "--scope", "call"]);
    let (_running, address) = serve(folder.path(), "50ms", &["--tokens", text(&file)]);
    let url = format!("http://{address}");
    let list = |options: &[&str], variable: &str| {
        let arguments = [&["ls", "--server", &url], options].concat();
        err(&run(command(&arguments).env("WPC_TOKEN", variable)))
    };
    let missing = list(&[], "");
    assert!(missing.contains("set WPC_TOKEN, or pass one with `--token TOKEN`"), "{missing}");
    assert!(missing.contains(&url) && !missing.contains("Authorization"), "{missing}");
    let malformed = list(&["--token", &token[1..]], "");
    assert!(malformed.contains("the token of `--token`: "), "{malformed}");
    assert!(list(&[], &token[..20]).contains("the token of WPC_TOKEN: "));
    // The server may be named by the environment.
    let listed = run(command(&["ls", "--token", "wpc_0"]).env("WPC_SERVER", &url));
    assert!(err(&listed).contains("the token of `--token`: "), "{}", err(&listed));
    let unused = fails_with(2, &wpc(&["call", "none.wasm", "f", "--token", "wpc_0"]));
    assert!(unused.contains("`--token` needs `--server URL`"), "{unused}");
}

#[test]
fn revoking_the_last_administrator_is_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = text(&data);
    for name in ["ada", "bob", "eve"] {
        create(&["--data", data, "--name", name, "--scope", "admin"]);
    }
    let eve = create(&["--data", data, "--name", "eva", "--scope", "admin"]);
    let revoke = |name| wpc(&["token", "revoke", "--data", data, name]);
    for name in ["ada", "bob", "eve"] {
        assert_eq!(err(&revoke(name)), "");
    }
    let warned = {
        let (_running, address) = serve(folder.path(), "50ms", &["--data", data]);
        let url = format!("http://{address}");
        run(command(&["token", "revoke", "--server", &url, "eva"]).env("WPC_TOKEN", &eve))
    };
    assert!(warned.status.success() && out(&warned).starts_with("revoked "), "{}", err(&warned));
    assert!(err(&warned).contains("wpc token create --data FOLDER"), "{}", err(&warned));
    // The remedy works.
    create(&["--data", data, "--name", "mia", "--scope", "admin"]);
    assert!(err(&revoke("mia")).contains("last valid token with the scope `admin`"));
}

#[test]
fn tokens_of_a_file_are_read_again_at_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let file = text(&file);
    let first = create(&["--file", file, "--name", "first", "--scope", "call"]);
    let (running, address) = serve(folder.path(), "50ms", &["--tokens", file]);
    assert_eq!(status(&address, &first), "200");
    let second = create(&["--file", file, "--name", "second", "--scope", "call"]);
    assert_eq!(status(&address, &second), "401");
    signal(&running, "HUP");
    while status(&address, &second) != "200" {}
    std::fs::write(file, "[[tokens]]").unwrap();
    signal(&running, "HUP");
    while !running.notice().contains("tokens.toml") {}
    assert_eq!(status(&address, &first), "200");
}

#[test]
fn a_server_with_tokens_listens_for_other_machines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let token = create(&["--file", text(&file), "--name", "first", "--scope", "call"]);
    let (_running, address) =
        serve(folder.path(), "50ms", &["--listen", "0.0.0.0:0", "--tokens", text(&file)]);
    let address = address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(status(&address, &token), "200");
    assert_eq!(status(&address, "wpc_0"), "401");
}

#[test]
fn an_invalid_option_of_a_token_is_refused_with_the_expected_form() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    for (arguments, message) in [
        (["--scope", "root", "--name", "a"].as_slice(), "is not a scope"),
        (&["--scope", "call", "--name", "a", "--quota", "calls=1"], "is not a quota"),
        (&["--scope", "call", "--name", "a", "--expires", "soon"], "30d"),
        (&["--scope", "call", "--name", ""], "expected a name"),
    ] {
        let output = wpc(&[&["token", "create", "--data", data], arguments].concat());
        let error = fails_with(2, &output);
        assert!(error.contains(message), "{error}");
    }
    create(&["--data", data, "--scope", "call", "--name", "a"]);
    let taken = wpc(&["token", "create", "--data", data, "--scope", "call", "--name", "a"]);
    assert!(fails_with(2, &taken).contains("choose another name"));
    let nowhere = fails_with(2, &wpc(&["token", "list"]));
    assert!(nowhere.contains("--data FOLDER") && nowhere.contains("WPC_SERVER"), "{nowhere}");
    let mut list = command(&["token", "list"]);
    let of_variable = fails_with(1, &run(list.env("WPC_SERVER", "http://127.0.0.1:1")));
    assert!(of_variable.contains("http://127.0.0.1:1"), "{of_variable}");
    // The folder takes precedence.
    let mut list = command(&["token", "list", "--data", data]);
    assert!(run(list.env("WPC_SERVER", "http://127.0.0.1:1")).status.success());
}
