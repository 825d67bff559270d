//! Revisions: registered, compared, activated.

use crate::deployed::{file_of, manifest, serve, version};
use serde_json::json;
use std::sync::Barrier;

#[test]
fn an_uploaded_and_activated_module_is_called_before_and_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let answer = server.register(&[("f", 1)]);
    assert_eq!(answer.status, 201, "{answer:?}");
    let revision = answer.json()["revision"].clone();
    assert_eq!((&revision["number"], &revision["author"]), (&json!(1), &json!("anonymous")));
    assert_eq!(server.call("f", &json!([])).status, 404, "it is registered, not active");
    let answer = server.activate(1, None);
    assert_eq!(answer.json()["defined"], json!(["function \"f\""]));
    assert_eq!(server.version_of("f"), json!(1));
    drop(server);
    let server = serve(data.path());
    assert_eq!(server.version_of("f"), json!(1));
    let deployment = server.get("/v1/deployment", &[]).json();
    assert_eq!((&deployment["active"], &deployment["not_served"]), (&json!(1), &json!([])));
    assert_eq!(deployment["revision"], revision);
}

#[test]
fn a_revision_is_activated_only_if_the_expected_one_is_active() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1)]);
    server.register(&[("f", 2)]);
    for expected in [None, Some(2), Some(7)] {
        let answer = server.activate(2, expected);
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (409, &json!("revision_conflict")));
        assert_eq!(problem["active"], json!(1));
        assert_eq!(server.version_of("f"), json!(1));
    }
    assert_eq!(server.activate(2, Some(1)).status, 200);
    assert_eq!(server.version_of("f"), json!(2));
    let answer = server.activate(9, Some(2));
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("revision_not_found")));
    let answer = server.post_json("/v1/active", &json!({ "revision": 1 }));
    assert_eq!(answer.status, 400, "`expected` is required");
}

#[test]
fn only_one_of_many_concurrent_activations_succeeds() {
    const CLIENTS: u32 = 8;
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 0)]);
    for client in 1..=CLIENTS {
        assert_eq!(server.register(&[("f", client)]).status, 201);
    }
    let barrier = Barrier::new(CLIENTS as usize);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let activate = |client: u32| {
            let (server, barrier) = (&server, &barrier);
            scope.spawn(move || {
                barrier.wait();
                server.activate(u64::from(client) + 1, Some(1)).status
            })
        };
        let clients: Vec<_> = (1..=CLIENTS).map(activate).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let winners: Vec<_> =
        (1..=CLIENTS).filter(|client| statuses[*client as usize - 1] == 200).collect();
    assert_eq!(winners.len(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), CLIENTS as usize - 1);
    assert_eq!(server.version_of("f"), json!(winners[0]));
}

#[test]
fn a_refused_revision_changes_nothing_and_is_not_recorded() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1)]);
    let good = manifest(&[("f", 2)]);
    server.upload(&version(2));
    let reads = wat::parse_str(
        "(module (import \"dep\" \"get\" (func (result i32))) (func (export \"g\")))",
    )
    .unwrap();
    server.upload(&reads);
    let reads = file_of(&reads);
    for (bad, code) in [
        (format!("{good}[functions.g]\nfile = \"{reads}\"\n"), "dependency_not_defined"),
        (
            format!("{good}[functions.g]\nfile = \"{}\"\nexport = \"x\"\n", file_of(&version(2))),
            "missing_export",
        ),
        (format!("{good}[functions.g]\nfile = \"../{reads}\"\n"), "manifest"),
        (format!("{good}[functions.g]\nfile = \"/etc/passwd\"\n"), "manifest"),
        (format!("{good}grants = [\"read=/etc:etc\"]\n"), "not_allowed"),
        (format!("{good}[constants]\nKEY = {{ secret = \"env:PATH\" }}\n"), "not_allowed"),
        (format!("{good}[pool]\nworkers = 0\n"), "manifest"),
        (format!("{good}timeout = 3\n"), "manifest"),
        ("not toml".to_owned(), "manifest"),
    ] {
        let answer = server.post_json("/v1/revisions", &json!({ "manifest": bad }));
        let problem = answer.json();
        assert_eq!(answer.status, 422, "{bad}: {problem}");
        assert_eq!(problem["problems"][0]["code"], json!(code), "{bad}: {problem}");
    }
    let listed = server.get("/v1/revisions", &[]).json();
    assert_eq!(listed["revisions"].as_array().unwrap().len(), 1);
    assert_eq!(server.version_of("f"), json!(1));
}

#[test]
fn missing_modules_are_listed() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.upload(&version(1));
    let manifest = manifest(&[("f", 1), ("g", 2)]);
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": manifest }));
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (422, &json!("modules_missing")));
    let hash = wpc_host::Sha256Hash::of(&version(2));
    assert_eq!(problem["missing"], json!([hash]));
}

#[test]
fn a_dry_run_shows_the_changes_and_makes_none() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("changed", 1), ("removed", 1), ("same", 1)]);
    let wider =
        wat::parse_str("(module (func (export \"version\") (param i64) (result f64) f64.const 0))")
            .unwrap();
    server.upload(&wider);
    let mut text = manifest(&[("same", 1), ("added", 1)]);
    text += &format!(
        "[functions.changed]\nfile = \"{}\"\nexport = \"version\"\ngrants = [\"clock\"]\n",
        file_of(&wider)
    );
    let answer = server.post_json("/v1/revisions?dry_run=true", &json!({ "manifest": text }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["revision"], json!(null));
    let changes = answer["changes"].as_array().unwrap();
    let names: Vec<_> = changes.iter().map(|change| (&change["name"], &change["change"])).collect();
    let expected = [("added", "added"), ("changed", "changed"), ("removed", "removed")];
    assert_eq!(
        names,
        expected
            .map(|(name, change)| (json!(name), json!(change)))
            .iter()
            .map(|(n, c)| (n, c))
            .collect::<Vec<_>>()
    );
    let changed = &changes[1];
    assert_eq!(changed["before"]["module"]["signatures"]["version"], json!("() -> i32"));
    assert_eq!(
        changed["after"]["module"]["signatures"]["version"],
        json!("(argument1: i64) -> f64")
    );
    assert_eq!(changed["after"]["entry"]["grants"], json!(["clock"]));
    assert_eq!(server.get("/v1/revisions", &[]).json()["revisions"].as_array().unwrap().len(), 1);
    assert_eq!(server.version_of("removed"), json!(1));
}

#[test]
fn the_history_lists_revisions_and_activations() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    for number in 1..=3 {
        server.deploy(&[("f", number)]);
    }
    let listed = server.get("/v1/revisions?limit=2", &[]).json();
    let numbers = |listed: &serde_json::Value| -> Vec<_> {
        let revisions = listed["revisions"].as_array().unwrap().iter();
        revisions
            .map(|revision| (revision["number"].as_u64(), revision["parent"].as_u64()))
            .collect()
    };
    assert_eq!(numbers(&listed), [(Some(3), Some(2)), (Some(2), Some(1))]);
    let activation = &listed["activations"][0];
    assert_eq!((&activation["revision"], &activation["previous"]), (&json!(3), &json!(2)));
    assert_eq!(numbers(&server.get("/v1/revisions?before=2", &[]).json()), [(Some(1), None)]);
    let shown = server.get("/v1/revisions/2", &[]).json();
    assert_eq!(shown["manifest"], json!(manifest(&[("f", 2)])));
    let difference = server.get("/v1/revisions/3/diff?from=1", &[]).json();
    assert_eq!(difference["changes"][0]["before"]["entry"]["file"], json!(file_of(&version(1))));
    for path in ["/v1/revisions/9", "/v1/revisions/9/diff", "/v1/revisions/1/diff?from=9"] {
        assert_eq!(server.get(path, &[]).status, 404, "{path}");
    }
    assert_eq!(server.get("/v1/revisions/one", &[]).status, 400);
}

#[test]
fn the_same_content_is_not_registered_again() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1)]);
    let answer = server.register(&[("f", 1)]);
    assert_eq!((answer.status, &answer.json()["revision"]["number"]), (200, &json!(1)));
}

#[test]
fn without_a_data_folder_the_administration_is_refused() {
    let server = crate::harness::Running::start();
    for path in ["/v1/deployment", "/v1/revisions", "/v1/revisions/1"] {
        let answer = server.get(path, &[]);
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (409, &json!("no_data_folder")));
        assert!(problem["detail"].as_str().unwrap().contains("--data"), "{problem}");
    }
    assert_eq!(server.upload(&version(1)).status, 409);
    assert_eq!(server.activate(1, None).status, 409);
}
