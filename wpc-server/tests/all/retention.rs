//! Which revisions and modules are kept.

use crate::deployed::{file_of, manifest, serve_keeping, version};
use crate::harness::Running;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The numbers of the revisions that the server lists, the newest first.
fn listed(server: &Running) -> Vec<u64> {
    let revisions = server.get("/v1/revisions", &[]).json()["revisions"].clone();
    revisions.as_array().unwrap().iter().map(|found| found["number"].as_u64().unwrap()).collect()
}

/// Makes the files of all modules as old as if they had not been used for two hours.
fn age(data: &Path) {
    let old = SystemTime::now() - Duration::from_secs(7200);
    for entry in std::fs::read_dir(data.join("modules")).unwrap() {
        let file = std::fs::OpenOptions::new().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(old).unwrap();
    }
}

fn has_module(data: &Path, number: u32) -> bool {
    data.join("modules").join(file_of(&version(number))).exists()
}

#[test]
fn the_newest_revisions_are_kept() {
    let data = tempfile::tempdir().unwrap();
    let (server, _) = serve_keeping(data.path(), 3);
    for number in 1..=5 {
        assert_eq!(server.deploy(&[("f", number)]), u64::from(number));
    }
    assert_eq!(listed(&server), [5, 4, 3]);
    let answer = server.get("/v1/revisions/2", &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("revision_not_found")));
    assert_eq!(server.activate(2, Some(5)).status, 404);
    assert_eq!(server.post_json("/v1/rollback", &json!({ "to": 2 })).status, 404);
    // The parent of the oldest one is gone, so everything in it is new.
    let difference = server.get("/v1/revisions/4/diff", &[]).json();
    assert_eq!(difference["changes"].as_array().unwrap().len(), 1, "{difference}");
    let history = server.get("/v1/revisions", &[]).json()["activations"].clone();
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
    // Numbers are not used again.
    drop(server);
    let (server, _) = serve_keeping(data.path(), 3);
    assert_eq!(server.deploy(&[("f", 6)]), 6);
}

#[test]
fn the_active_revision_and_the_one_before_it_are_kept_however_old_they_are() {
    let data = tempfile::tempdir().unwrap();
    let (server, _) = serve_keeping(data.path(), 2);
    server.deploy(&[("f", 1)]);
    server.deploy(&[("f", 2)]);
    for number in 3..=8 {
        assert_eq!(server.register(&[("f", number)]).status, 201);
    }
    assert_eq!(listed(&server), [8, 7, 2, 1]);
    assert_eq!(server.version_of("f"), json!(2));
    drop(server);
    let (server, _) = serve_keeping(data.path(), 2);
    assert_eq!(server.version_of("f"), json!(2));
    assert_eq!(server.post_json("/v1/rollback", &json!({})).status, 200);
    assert_eq!(server.version_of("f"), json!(1));
}

#[test]
fn modules_that_no_revision_needs_are_removed_and_can_be_uploaded_again() {
    let data = tempfile::tempdir().unwrap();
    let (server, _) = serve_keeping(data.path(), 2);
    for number in 1..=4 {
        server.deploy(&[("f", number)]);
    }
    assert!(has_module(data.path(), 1), "it was used a moment ago");
    drop(server);
    age(data.path());
    let (server, _) = serve_keeping(data.path(), 2);
    let kept: Vec<_> = (1..=4).filter(|number| has_module(data.path(), *number)).collect();
    assert_eq!(kept, [3, 4]);
    let gone = wpc_host::Sha256Hash::of(&version(1));
    assert_eq!(server.get(&format!("/v1/modules/{gone}"), &[]).status, 404);
    let body = json!({ "manifest": manifest(&[("f", 1)]) });
    let refused = server.post_json("/v1/revisions", &body);
    assert_eq!((refused.status, &refused.json()["missing"]), (422, &json!([gone])));
    assert_eq!(server.deploy(&[("f", 1)]), 5);
    assert_eq!(server.version_of("f"), json!(1));
}

#[test]
fn a_module_that_is_uploaded_or_named_again_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let (server, deployments) = serve_keeping(data.path(), 1);
    server.deploy(&[("f", 9)]);
    for number in 1..=3 {
        assert_eq!(server.upload(&version(number)).status, 201);
    }
    age(data.path());
    assert_eq!(server.upload(&version(1)).status, 200);
    let body = json!({ "manifest": manifest(&[("f", 2)]) });
    assert_eq!(server.post_json("/v1/revisions?dry_run=true", &body).status, 200);
    deployments.keep_revisions(1.try_into().unwrap()).unwrap();
    let kept = [1, 2, 3, 9].map(|number| has_module(data.path(), number));
    assert_eq!(kept, [true, true, false, true]);
}

#[test]
fn a_file_that_a_killed_process_left_is_removed() {
    let data = tempfile::tempdir().unwrap();
    let (server, _) = serve_keeping(data.path(), 1);
    server.deploy(&[("f", 1)]);
    drop(server);
    // The store has forgotten it, or has never listed it.
    std::fs::write(data.path().join("modules").join(file_of(&version(2))), version(2)).unwrap();
    std::fs::write(data.path().join("modules/readme.txt"), "kept").unwrap();
    age(data.path());
    let (server, _) = serve_keeping(data.path(), 1);
    assert!(!has_module(data.path(), 2) && has_module(data.path(), 1));
    assert!(data.path().join("modules/readme.txt").exists());
    assert_eq!(server.version_of("f"), Value::from(1));
}
