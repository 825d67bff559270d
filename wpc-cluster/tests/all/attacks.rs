//! Clients with the permissions of `docs/deploy/nats.conf` that make the server publish messages to the subjects of the registry.
//! Permissions do not prevent that: a requester chooses where the server sends the answer. A client that stores large
//! arguments also chooses what the answer is.

use crate::security::{Server, User};
use crate::support::{TIME_LIMIT, eventually, join_with, within};
use async_nats::jetstream;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::path::Path;
use wpc_cluster::{
    Client, ClusterOptions, Connection, Error, Node, NodeOptions, Quorum, Registry, Rollback,
};
use wpc_deploy::Source;
use wpc_deploy::document::Packed;
use wpc_host::{CallArguments, CallOptions, ReplyFormat, ReplyValue, Sha256Hash};

/// Stores these bytes, and makes the server publish them to the subject, to which the client may not publish: as the answer to a
/// request. A consumer with that subject is created too; servers differ in whether they deliver there.
async fn smuggle(user: &User, subject: &str, bytes: Bytes) {
    let context = jetstream::new(user.client.clone());
    let name = user.client.new_inbox().rsplit('.').next().unwrap().to_owned();
    let own = format!("$O.wpc_payloads.C.{name}.x");
    let stored = context.publish(own.clone(), bytes).await.unwrap();
    stored.await.unwrap();
    let config = json!({
        "stream_name": "OBJ_wpc_payloads",
        "config": {
            "name": name, "deliver_subject": subject, "ack_policy": "none",
            "deliver_policy": "all", "filter_subject": own, "mem_storage": true,
        },
    });
    let create = format!("$JS.API.CONSUMER.CREATE.OBJ_wpc_payloads.{name}.{own}");
    let answer = user.client.request(create, config.to_string().into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    let request = "$JS.API.DIRECT.GET.OBJ_wpc_payloads";
    redirect(user, request, &json!({ "last_by_subj": own }), subject).await;
}

/// Makes the server publish the answer to a request to the subject.
async fn redirect(user: &User, request: &str, wanted: &Value, subject: &str) {
    let (request, wanted) = (request.to_owned(), wanted.to_string().into());
    user.client.publish_with_reply(request, subject.to_owned(), wanted).await.unwrap();
}

/// Waits until the registry states this under the key.
async fn stored(user: &User, key: &str, value: &Bytes) {
    let store = user.key_value("wpc_registry").await;
    eventually("the server has stored it", async || {
        let found = store.get(key).await.unwrap();
        (found.as_ref() == Some(value)).then_some(())
    })
    .await;
}

/// The options of a process that knows the key of the deployer.
fn options(server: &Server, key: &KeyPair, inbox: &str) -> ClusterOptions {
    let mut options = server.options(key, inbox);
    options.deployers = vec![server.deployer.public_key()];
    options
}

async fn registry(server: &Server) -> Registry {
    let options = options(server, &server.deployer, "deployer");
    let registry = Registry::new(Connection::open(options, "deployer").await.unwrap());
    registry.create().await.unwrap();
    registry
}

async fn node(server: &Server, folder: Option<&Path>) -> Node {
    let mut node = NodeOptions::new("n1".parse().unwrap());
    node.folder = folder.map(Path::to_owned);
    join_with(node, options(server, &server.node, "n1")).await
}

/// A manifest of a function that returns this number.
fn packed(number: i32) -> Packed {
    let folder = tempfile::tempdir().unwrap();
    let module = format!("(module (func (export \"f\") (result i32) i32.const {number}))");
    std::fs::write(folder.path().join("f.wat"), module).unwrap();
    let text = "[functions.f]\nfile = \"f.wat\"\n".to_owned();
    let source = Source::new(folder.path().join("wpc.toml"), text);
    Packed::read(&source, &source.parse().unwrap()).unwrap()
}

/// Waits until the node runs the revision. It answers calls before it states that.
async fn runs(node: &Node, revision: u64) {
    let what = format!("the node runs revision {revision}");
    eventually(&what, async || (node.revision() == Some(revision)).then_some(())).await;
}

async fn deploy(registry: &Registry, number: i32) -> u64 {
    let expected = registry.last_trusted().await.unwrap().map(|active| active.revision);
    let revision = registry.stage(&packed(number), "ada", None).await.unwrap();
    let ready = registry.wait_ready(revision.number, Quorum::Nodes(1), TIME_LIMIT).await.unwrap();
    registry.activate(&ready, expected, "ada").await.unwrap();
    revision.number
}

/// What a new client gets from the function.
async fn called(server: &Server) -> Value {
    let client = Client::connect(options(server, &server.client, "client")).await.unwrap();
    eventually("the node answers", async || {
        let arguments = CallArguments::Positional(Vec::new());
        let call = client.submit("f", arguments, ReplyFormat::Json, &CallOptions::new());
        let ReplyValue::Json(value) = call.ok()?.await.ok()?.value else { panic!("another form") };
        Some(value)
    })
    .await
}

/// The record of an activation with this content and the signature of this key, under the name of `shown`.
fn record(content: &str, key: &KeyPair, shown: &KeyPair) -> Bytes {
    let signed = [b"\xffwpc activation 1\nwpc\n", content.as_bytes()].concat();
    let signature = BASE64_STANDARD.encode(key.sign(&signed).unwrap());
    let signature = json!({ "key": shown.public_key(), "bytes": signature });
    json!({ "content": content, "signature": signature }).to_string().into()
}

/// All values of `active`, oldest first.
async fn activations(user: &User) -> Vec<Bytes> {
    let store = user.key_value("wpc_registry").await;
    let history = store.history("active").await.unwrap();
    history.map(|entry| entry.unwrap().value).collect().await
}

/// Waits until the node reports this problem, as another client sees it.
async fn reported(observer: &Client, problem: &str) {
    eventually(problem, async || {
        let cluster = observer.information();
        cluster.nodes.iter().any(|node| node.problem.contains(problem)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_a_client_writes_or_replays_changes_nothing() {
    let Some(server) = Server::start() else { return };
    let (registry, folder) = (registry(&server).await, tempfile::tempdir().unwrap());
    let running = node(&server, Some(folder.path())).await;
    deploy(&registry, 1).await;
    deploy(&registry, 2).await;
    runs(&running, 2).await;
    assert_eq!(called(&server).await, 2);

    let user = server.user(&server.trusted, "trusted").await;
    let observer = Client::connect(options(&server, &server.client, "client")).await.unwrap();
    let first = activations(&user).await.remove(0);
    let sealed: Value = serde_json::from_slice(&first).unwrap();
    let mut content: Value = serde_json::from_str(sealed["content"].as_str().unwrap()).unwrap();
    content["order"] = json!(u64::MAX);
    let content = content.to_string();
    let own = KeyPair::new_user();
    for (what, forged, problem) in [
        ("an old activation", first.clone(), "a newer activation is known"),
        ("one of its own", record(&content, &own, &own), "not among those of deployers"),
        ("one with another name", record(&content, &own, &server.deployer), "signature is not"),
        (
            "one without a signature",
            json!({ "content": content }).to_string().into(),
            "no signature",
        ),
        ("something else", Bytes::from_static(b"x"), "not in a form"),
    ] {
        smuggle(&user, "$KV.wpc_registry.active", forged.clone()).await;
        stored(&user, "active", &forged).await;
        reported(&observer, problem).await;
        assert_eq!((running.revision(), called(&server).await), (Some(2), 2.into()), "{what}");
    }
    drop(running);

    // A node that starts again, even without its files, finds the last activation in the history.
    for folder in [Some(folder.path()), None] {
        let again = node(&server, folder).await;
        runs(&again, 2).await;
        assert_eq!(called(&server).await, 2);
    }
    // If the history has nothing else, the node knows from its files what is newer.
    for _ in 0..64 {
        smuggle(&user, "$KV.wpc_registry.active", first.clone()).await;
    }
    eventually("the history is overwritten", async || {
        activations(&user).await.iter().all(|record| *record == first).then_some(())
    })
    .await;
    let again = node(&server, Some(folder.path())).await;
    runs(&again, 2).await;
    reported(&observer, "a newer activation is known").await;

    // The deployer is not affected, even if nothing in the registry is trusted.
    for _ in 0..64 {
        smuggle(&user, "$KV.wpc_registry.active", Bytes::from_static(b"x")).await;
    }
    eventually("nothing is trusted", async || registry.active().await.err()).await;
    assert_eq!(deploy(&registry, 3).await, 3);
    assert_eq!(called(&server).await, 3);
    runs(&again, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_stored_arguments_cannot_choose_what_it_writes_into_the_registry() {
    let Some(server) = Server::start() else { return };
    let registry = registry(&server).await;
    let running = node(&server, None).await;
    deploy(&registry, 1).await;
    let user = server.user(&server.client, "client").await;
    let store = user.key_value("wpc_registry").await;
    let wanted = json!({ "seq": store.entry("active").await.unwrap().unwrap().revision });
    deploy(&registry, 2).await;
    runs(&running, 2).await;
    let observer = Client::connect(options(&server, &server.client, "client")).await.unwrap();
    // `DIRECT.GET` answers with an old activation and its headers, which state the sequence number of the activation before it. The
    // server refuses to store it, because another activation is the last one. `STREAM.MSG.GET` answers with a description of the old
    // activation, which the server stores.
    for request in ["DIRECT.GET", "STREAM.MSG.GET"] {
        let request = format!("$JS.API.{request}.KV_wpc_registry");
        redirect(&user, &request, &wanted, "$KV.wpc_registry.active").await;
    }
    eventually("the description is stored", async || {
        let found = store.get("active").await.unwrap().unwrap();
        found.starts_with(b"{\"type\":").then_some(())
    })
    .await;
    reported(&observer, "not in a form").await;
    assert_eq!((running.revision(), called(&server).await), (Some(2), 2.into()));
    assert_eq!(deploy(&registry, 3).await, 3);
    assert_eq!(called(&server).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_make_nodes_prepare_or_deployers_restore_what_it_writes() {
    let Some(server) = Server::start() else { return };
    let registry = registry(&server).await;
    let running = node(&server, None).await;
    deploy(&registry, 1).await;
    deploy(&registry, 2).await;
    runs(&running, 2).await;
    let user = server.user(&server.trusted, "trusted").await;
    let deployer = server.user(&server.deployer, "deployer").await;
    let staging = deployer.key_value("wpc_staging").await;

    // A request to prepare a manifest of its own.
    let text = "[functions.f]\nfile = \"f.wasm\"\n";
    let revision = json!({ "number": 9, "document": Sha256Hash::of(text.as_bytes()).to_string() });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = u64::try_from(now.as_millis()).unwrap();
    let content = json!({ "request": 7, "revision": revision, "at_ms": at }).to_string();
    let request = json!({ "content": content }).to_string();
    smuggle(&user, "$KV.wpc_staging.prepare.9.r", request.into()).await;
    let report = eventually("the node refuses it", async || {
        staging.get(format!("report.9.{:016x}.n1", 7)).await.unwrap()
    })
    .await;
    let report = String::from_utf8(report.to_vec()).unwrap();
    assert!(report.contains("refused") && report.contains("no signature"), "{report}");

    // Revisions of its own, as a new number and in place of an existing one.
    let store = user.key_value("wpc_registry").await;
    let last = store.get("revision.2").await.unwrap().unwrap();
    for (number, forged, problem) in [
        (9, Bytes::from(json!({ "content": "{}" }).to_string()), "not in a form"),
        (u64::MAX, json!({ "content": "{}" }).to_string().into(), "not in a form"),
        (1, last, "is stored as revision 1"),
    ] {
        let subject = format!("$KV.wpc_registry.revision.{number}");
        smuggle(&user, &subject, forged.clone()).await;
        stored(&user, &format!("revision.{number}"), &forged).await;
        let mut rollback = Rollback::new();
        rollback.to = Some(number);
        let error = registry.roll_back(&rollback, "ada").await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }

    // The parts of an object.
    let document = registry.revision(2).await.unwrap().document;
    let objects = deployer.client.clone();
    let objects = jetstream::new(objects).get_object_store("wpc_objects").await.unwrap();
    let nuid = objects.info(document.to_string()).await.unwrap().nuid;
    let chunks = format!("$O.wpc_objects.C.{nuid}");
    smuggle(&user, &chunks, Bytes::from_static(b"[functions]\n")).await;
    eventually("the object is damaged", async || {
        let revision = registry.revision(2).await.unwrap();
        let error = registry.document(&revision).await.err()?;
        matches!(error, Error::Registry { .. }).then_some(())
    })
    .await;
    assert_eq!((running.revision(), called(&server).await), (Some(2), 2.into()));
    assert_eq!(deploy(&registry, 3).await, 3);
    assert_eq!(called(&server).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_whose_key_a_node_does_not_know_is_refused_with_the_reason() {
    let Some(server) = Server::start() else { return };
    let mut options = options(&server, &server.node, "n1");
    options.deployers = vec![KeyPair::new_user().public_key()];
    let _node = join_with(NodeOptions::new("n1".parse().unwrap()), options).await;
    let registry = registry(&server).await;
    let revision = registry.stage(&packed(1), "ada", None).await.unwrap();
    let waiting = registry.wait_ready(revision.number, Quorum::All, TIME_LIMIT);
    let error = within("the node refuses it", waiting).await.unwrap_err().to_string();
    assert!(
        error.contains("n1 refuses it: the request to prepare revision 1 is ignored"),
        "{error}"
    );
    assert!(error.contains(&server.deployer.public_key()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_key_of_a_deployer_cannot_stage() {
    let Some(server) = Server::start() else { return };
    let mut options = options(&server, &server.deployer, "deployer");
    options.deployers = vec![KeyPair::new_user().public_key()];
    let registry = Registry::new(Connection::open(options, "deployer").await.unwrap());
    let error = registry.stage(&packed(1), "ada", None).await.unwrap_err();
    assert!(matches!(error, Error::Options(_)), "{error:?}");
    assert!(error.to_string().contains("--cluster-deployers"), "{error}");
}
