//! Nodes and deployers at a NATS server.

mod support;

use crate::error::Error;
use crate::registry::{Quorum, Registry, Revision, Rollback};
use async_nats::jetstream;
use std::path::Path;
use std::time::Duration;
use support::*;
use tempfile::TempDir;
use wpc_deploy::document::Packed;

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_staged_and_then_activated_on_two_nodes() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    let following = registry.follow();
    within("both nodes have read the registry", async {
        tokio::join!(a.sync.settled(), b.sync.settled(), following.first())
    })
    .await;
    assert_eq!(following.snapshot().revision, None);
    let revision = registry.stage(&packed(&[("f", 7)]), "ada", Some("first")).await.unwrap();
    assert_eq!((revision.number, revision.parent), (1, None));
    let ready = both_ready(&registry, &revision).await;
    assert_eq!(a.sync.state().active, None, "it is only staged");
    let active = registry.activate(&ready, None, "ada").await.unwrap();
    a.runs(1).await;
    b.runs(1).await;
    within("the client follows", following.reached(1)).await;
    assert_eq!((a.call("f").await, b.call("f").await), (7, 7));
    let snapshot = following.snapshot();
    let definition = snapshot.functions["f"].definition;
    for node in [&a, &b] {
        node.serving.read(|served| {
            assert_eq!(served.index, <[u8; 32]>::from(active.index));
            assert_eq!(served.functions["f"].definition, definition);
        });
    }
    let again = registry.stage(&packed(&[("f", 7)]), "ada", None).await.unwrap();
    assert_eq!(again, revision, "the active revision has the same manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_deployers_activates_and_the_other_one_gets_a_conflict() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let node = nats.node("a", folder.path()).await;
    let (x, y) = (packed(&[("f", 1)]), packed(&[("f", 2)]));
    let (x, y) = tokio::join!(registry.stage(&x, "x", None), registry.stage(&y, "y", None));
    let (x, y) = (x.unwrap(), y.unwrap());
    let mut numbers = [x.number, y.number];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2], "both revisions have a number of their own");
    let (x, y) = tokio::join!(ready(&registry, &x), ready(&registry, &y));
    let (x, y) = (x.unwrap(), y.unwrap());
    let results = tokio::join!(registry.activate(&x, None, "x"), registry.activate(&y, None, "y"));
    let (winner, error) = match results {
        (Ok(winner), Err(error)) | (Err(error), Ok(winner)) => (winner.revision, error),
        other => panic!("expected one activation, found {other:?}"),
    };
    let is_conflict = matches!(&error, Error::Conflict { expected: None, found: Some(found) } if *found == winner);
    assert!(is_conflict, "{error:?}");
    node.runs(winner).await;
    let error = registry.activate(&x, Some(99), "x").await.unwrap_err();
    assert!(matches!(error, Error::Conflict { expected: Some(99), .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_or_one_function_returns_to_an_earlier_revision() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let node = nats.node("a", folder.path()).await;
    deploy(&registry, &packed(&[("f", 1), ("g", 1)])).await;
    let error = registry.roll_back(&Rollback::new(), "bob").await.unwrap_err();
    assert!(matches!(error, Error::NothingBefore), "{error:?}");
    deploy(&registry, &packed(&[("f", 2), ("g", 2)])).await;
    let mut rollback = Rollback::new();
    rollback.function = Some("g".to_owned());
    for (rollback, expected) in [(rollback, (2, 1)), (Rollback::new(), (2, 2))] {
        let active = registry.active().await.unwrap().map(|active| active.revision);
        let revision = registry.roll_back(&rollback, "bob").await.unwrap();
        let ready = ready(&registry, &revision).await.unwrap();
        registry.activate(&ready, active, "bob").await.unwrap();
        node.runs(revision.number).await;
        assert_eq!((node.call("f").await, node.call("g").await), expected);
    }
    let notes: Vec<_> = registry.revisions(10).await.unwrap();
    let notes: Vec<_> = notes.iter().map(|it| (it.number, it.note.as_deref())).collect();
    let expected = [
        (4, Some("rolled back to revision 2")),
        (3, Some("function \"g\" rolled back to revision 1")),
        (2, None),
        (1, None),
    ];
    assert_eq!(notes, expected);
    let activations = registry.activations().await.unwrap();
    let activations: Vec<_> = activations.iter().map(|it| (it.revision, it.previous)).collect();
    assert_eq!(activations, [(4, Some(3)), (3, Some(2)), (2, Some(1)), (1, None)]);
    let error = registry.revision(9).await.unwrap_err();
    assert!(matches!(error, Error::UnknownRevision(9)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_refuses_and_reports_an_invalid_module() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    deploy(&registry, &packed(&[("f", 1)])).await;
    a.runs(1).await;
    b.runs(1).await;
    let refused = async |revision: &Revision, text: &str| {
        let error = ready(&registry, revision).await.unwrap_err();
        let Error::Refused { refusals, .. } = &error else { panic!("{error:?}") };
        assert!(refusals[0].problems[0].contains(text), "{error}");
        // Each node by itself.
        both_refuse(&registry, revision, Quorum::Nodes(1)).await;
        assert_eq!(registry.active().await.unwrap().unwrap().revision, 1);
        assert_eq!((a.call("f").await, b.call("f").await), (1, 1));
    };

    let damaged = packed(&[("f", 2)]);
    let revision = registry.stage(&damaged, "ada", None).await.unwrap();
    let name = damaged.modules.keys().next().unwrap().strip_suffix(".wasm").unwrap().to_owned();
    let store = jetstream::new(registry.connection().client().clone());
    let store = store.get_object_store("wpc_objects").await.unwrap();
    store.put(name.as_str(), &mut b"something else".as_slice()).await.unwrap();
    refused(&revision, "is damaged").await;
    // Another deployment replaces the object.
    let again = registry.stage(&damaged, "ada", None).await.unwrap();
    both_ready(&registry, &again).await;

    let large = wat::parse_str(module(3)).unwrap();
    let large = packed_module(&large, "limits = { module_size = \"10 B\" }\n");
    let revision = registry.stage(&large, "ada", None).await.unwrap();
    refused(&revision, "is too large").await;

    let invalid = packed_module(b"\0asm\x01\0\0\0\xff\xff", "");
    let revision = registry.stage(&invalid, "ada", None).await.unwrap();
    refused(&revision, "function \"f\"").await;

    let mut wrong = packed(&[("f", 4)]);
    for bytes in wrong.modules.values_mut() {
        *bytes = b"something else".as_slice().into();
    }
    let error = registry.stage(&wrong, "ada", None).await.unwrap_err();
    assert!(matches!(error, Error::Problems(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_catches_up_and_without_a_server_runs_its_copy() {
    let Some(mut nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let other = nats.node("other", &folder.path().join("other")).await;
    let node = nats.node("a", &folder.path().join("a")).await;
    let first = deploy(&registry, &packed(&[("f", 1)])).await;
    node.runs(first).await;
    drop(node);
    let second = deploy(&registry, &packed(&[("f", 2)])).await;
    other.runs(second).await;
    let node = nats.node("a", &folder.path().join("a")).await;
    node.runs(second).await;
    assert_eq!(node.call("f").await, 2);
    drop(node);
    nats.kill();
    let node = nats.node("a", &folder.path().join("a")).await;
    node.runs(second).await;
    assert_eq!(node.call("f").await, 2);
    nats.restart();
    let third = deploy_when_possible(&registry, &packed(&[("f", 3)])).await;
    node.runs(third).await;
    other.runs(third).await;
    assert_eq!((node.call("f").await, other.call("f").await), (3, 3));
}

/// Deploys once the server can be reached again and the nodes have noticed that.
async fn deploy_when_possible(registry: &Registry, packed: &Packed) -> u64 {
    within("a deployment succeeds", async {
        loop {
            let expected = registry.active().await.ok().flatten().map(|active| active.revision);
            if let Ok(revision) = registry.stage(packed, "ada", None).await {
                let quorum = Quorum::Nodes(2);
                let ready =
                    registry.wait_ready(revision.number, quorum, Duration::from_secs(30)).await;
                if let Ok(ready) = ready
                    && registry.activate(&ready, expected, "ada").await.is_ok()
                {
                    return revision.number;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// The number of modules in a node's folder.
fn modules(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|found| found == "wasm")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_no_kept_or_staged_revision_uses_are_removed() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let node = nats.node("a", folder.path()).await;
    for number in 1..=4 {
        let revision = deploy(&registry, &packed(&[("f", number), ("always", 99)])).await;
        node.runs(revision).await;
    }
    let staged = registry.stage(&packed(&[("f", 5)]), "ada", None).await.unwrap();
    ready(&registry, &staged).await.unwrap();
    let last = deploy(&registry, &packed(&[("f", 6)])).await;
    node.runs(last).await;
    // Of the revisions 4 and 6, and of the staged one.
    let expected = ["4", "99", "5", "6"].len();
    within("old modules are removed", async {
        while modules(folder.path()) != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    registry.roll_back(&Rollback::new(), "ada").await.unwrap();
    assert_eq!(node.call("f").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_whose_functions_cannot_start_is_refused_by_every_node() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    let first = deploy(&registry, &packed(&[("f", 1)])).await;
    a.runs(first).await;
    b.runs(first).await;
    let f = "(func (export \"f\") (param i32 i32) (result i64) i64.const 2)";
    let hook = "(memory (export \"memory\") 1) (func (export \"wpc_buffer_v1\") (param i32) (result i32) i32.const 0)
        (func (export \"wpc_init\") (result i64) (loop br 0) i64.const 0)";
    let grows = "(memory (export \"memory\") 1) (start $s)
        (func $s (if (i32.lt_s (memory.grow (i32.const 99)) (i32.const 0)) (then unreachable)))";
    for (body, settings, reason) in [
        ("(func $s unreachable) (start $s)", "", "unreachable"),
        (hook, "limits = { timeout = \"100ms\" }", "time limit of 100 ms"),
        (grows, "limits = { memory = \"1 MiB\" }", "memory"),
    ] {
        let module = wat::parse_str(format!("(module {f} {body})")).unwrap();
        let packed = packed_module(&module, settings);
        let revision = registry.stage(&packed, "ada", None).await.unwrap();
        let error = ready(&registry, &revision).await.unwrap_err().to_string();
        assert!(error.contains("function \"f\"") && error.contains(reason), "{error}");
        both_refuse(&registry, &revision, Quorum::Nodes(2)).await;
        assert_eq!((a.call("f").await, b.call("f").await), (1, 1));
    }
    assert_eq!(registry.active().await.unwrap().unwrap().revision, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_deleted_and_created_again_is_followed() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    deploy(&registry, &packed(&[("f", 1)])).await;
    a.runs(1).await;
    b.runs(1).await;
    let stores = jetstream::new(registry.connection().client().clone());
    for stream in ["KV_wpc_registry", "KV_wpc_staging", "OBJ_wpc_objects"] {
        stores.delete_stream(stream).await.unwrap();
    }
    a.problem("the registry has lost revision 1").await;
    assert_eq!(a.call("f").await, 1, "what the node runs stays");
    assert_eq!(deploy_when_possible(&registry, &packed(&[("f", 2)])).await, 1);
    for node in [&a, &b] {
        let mut state = node.sync.follow();
        within("the node runs the new revision", async {
            while node.call("f").await != 2 {
                state.changed().await.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_catches_up_with_fifty_functions() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let names: Vec<_> = (0..50).map(|number| (format!("f{number}"), number)).collect();
    let functions: Vec<_> = names.iter().map(|(name, result)| (name.as_str(), *result)).collect();
    let first = nats.node("a", &folder.path().join("a")).await;
    let revision = deploy(&registry, &packed(&functions)).await;
    first.runs(revision).await;
    for folder in ["a", "b"].map(|name| folder.path().join(name)) {
        let start = std::time::Instant::now();
        let node = nats.node("b", &folder).await;
        node.runs(revision).await;
        eprintln!("caught up with 50 functions in {:?}", start.elapsed());
        assert_eq!(node.call("f49").await, 49);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_without_nodes_is_not_ready() {
    let Some(nats) = Nats::start() else { return };
    let registry = nats.registry().await;
    let error = registry.revision(1).await.unwrap_err();
    assert!(error.to_string().contains("the first deployment creates it"), "{error}");
    let revision = registry.stage(&packed(&[("f", 1)]), "ada", None).await.unwrap();
    let error = ready(&registry, &revision).await.unwrap_err();
    assert!(error.to_string().contains("no node has answered"), "{error}");
    assert_eq!(registry.active().await.unwrap(), None);
}
