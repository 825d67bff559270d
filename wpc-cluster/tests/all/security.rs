//! Which operations the users of `docs/deploy/nats.conf` are permitted, at a server with exactly that configuration.

use crate::support::certificates::Certificates;
use crate::support::{NatsServer, TIME_LIMIT, eventually, join, within};
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::{self, kv, object_store};
use async_nats::{Client, Event, ServerError};
use futures::StreamExt as _;
use nkeys::KeyPair;
use std::path::Path;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use wpc_cluster::{Client as Caller, ClusterOptions, Connection, Credentials, Quorum, Registry};
use wpc_deploy::Source;
use wpc_deploy::document::Packed;
use wpc_host::{CallArguments, CallOptions, ErrorCode, ReplyFormat, ReplyValue};

/// A server with the configuration, and the keys of its users.
pub(crate) struct Server {
    pub(crate) server: NatsServer,
    certificates: Certificates,
    pub(crate) client: KeyPair,
    pub(crate) trusted: KeyPair,
    pub(crate) node: KeyPair,
    pub(crate) deployer: KeyPair,
}

/// A connection of a user, and the operations that the server refused.
pub(crate) struct User {
    pub(crate) client: Client,
    violations: mpsc::UnboundedReceiver<String>,
}

impl Server {
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::write(folder.path());
        let [client, trusted, node, deployer] = [(); 4].map(|()| KeyPair::new_user());
        let mut text = include_str!("../../../docs/deploy/nats.conf").to_owned();
        let file = |name: &str| folder.path().join(name).display().to_string();
        for (placeholder, value) in [
            ("CLIENT_PUBLIC_KEY", client.public_key()),
            ("TRUSTED_CLIENT_PUBLIC_KEY", trusted.public_key()),
            ("NODE_PUBLIC_KEY", node.public_key()),
            ("DEPLOYER_PUBLIC_KEY", deployer.public_key()),
            ("/var/lib/nats", file("store")),
            ("server.pem", file("server.pem")),
            ("server.key", file("server.key")),
            ("ca.pem", file("ca.pem")),
        ] {
            let word = format!("nkey: {placeholder}");
            let quoted = if text.contains(&word) { word } else { format!("\"{placeholder}\"") };
            assert!(text.contains(&quoted), "{quoted} is missing");
            let filled = quoted.replace(placeholder, &value);
            text = text.replace(&quoted, &filled);
        }
        let server = NatsServer::configured(folder, &text)?.over_tls();
        Some(Self { server, certificates, client, trusted, node, deployer })
    }

    pub(crate) fn options(&self, key: &KeyPair, inbox: &str) -> ClusterOptions {
        let mut options = self.server.options();
        options.credentials = Credentials::Nkey(key.seed().unwrap());
        options.ca = Some(self.certificates.ca());
        options.inbox = format!("_INBOX.{inbox}");
        options
    }

    pub(crate) async fn user(&self, key: &KeyPair, inbox: &str) -> User {
        let (sender, violations) = mpsc::unbounded_channel();
        let client = async_nats::ConnectOptions::with_nkey(key.seed().unwrap())
            .add_root_certificates(self.certificates.ca())
            .custom_inbox_prefix(format!("_INBOX.{inbox}"))
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    let _ = sender.send(text);
                }
                std::future::ready(())
            })
            .connect(self.server.url())
            .await
            .unwrap();
        User { client, violations }
    }

    /// Nothing that has been done so far has been refused.
    fn has_refused_nothing(&self) {
        let log = self.server.log();
        let refused: Vec<_> = log.lines().filter(|line| line.contains("Violation")).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}

impl User {
    /// Publishing to the subject is refused.
    async fn may_not_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), "x".into()).await.unwrap();
        self.is_refused("publish", subject).await;
    }

    /// Subscribing to the subject is refused.
    async fn may_not_subscribe(&mut self, subject: &str) {
        // The subscription is dropped only when the server has answered.
        let _subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.is_refused("subscription", subject).await;
    }

    async fn is_refused(&mut self, operation: &str, subject: &str) {
        self.client.flush().await.unwrap();
        let violation = within(subject, self.violations.recv()).await.unwrap().to_lowercase();
        assert!(violation.contains("permissions violation"), "{violation}");
        assert!(violation.contains(operation), "{violation}");
        assert!(violation.contains(&subject.to_lowercase()), "{violation}");
    }

    pub(crate) async fn key_value(&self, bucket: &str) -> kv::Store {
        jetstream::new(self.client.clone()).get_key_value(bucket).await.unwrap()
    }

    async fn objects(&self, bucket: &str) -> ObjectStore {
        jetstream::new(self.client.clone()).get_object_store(bucket).await.unwrap()
    }
}

async fn content(store: &ObjectStore, name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    store.get(name).await.unwrap().read_to_end(&mut content).await.unwrap();
    content
}

/// The first value that a watch of the key reports.
async fn watched(store: &kv::Store, key: &str) -> Vec<u8> {
    let mut watch = store.watch_with_history(key).await.unwrap();
    within("the watch reports a value", watch.next()).await.unwrap().unwrap().value.to_vec()
}

/// Creates the buckets, activates something, and stores an object, as a deployer.
async fn deploy(deployer: &User) {
    let context = jetstream::new(deployer.client.clone());
    for bucket in ["wpc_registry", "wpc_staging"] {
        let bucket = bucket.to_owned();
        let config = kv::Config { bucket, history: 5, ..Default::default() };
        context.create_key_value(config).await.unwrap();
    }
    for bucket in ["wpc_objects", "wpc_payloads"] {
        let config = object_store::Config { bucket: bucket.to_owned(), ..Default::default() };
        context.create_object_store(config).await.unwrap();
    }
    let objects = deployer.objects("wpc_objects").await;
    objects.put("module", &mut b"content".as_slice()).await.unwrap();
    let registry = deployer.key_value("wpc_registry").await;
    let revision = registry.create("active", "1".into()).await.unwrap();
    registry.update("active", "2".into(), revision).await.unwrap();
    deployer.key_value("wpc_staging").await.put("prepare.2.r", "2".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_what_it_is_for() {
    let Some(server) = Server::start() else { return };
    let deployer = server.user(&server.deployer, "deployer").await;
    let node = server.user(&server.node, "n1").await;
    let client = server.user(&server.client, "client").await;
    deploy(&deployer).await;
    let mut reports = deployer.client.subscribe("wpc.v1.beat.*").await.unwrap();
    deployer.client.flush().await.unwrap();

    // A node serves, reports, and reads what is to be prepared.
    let mut calls = node.client.subscribe("wpc.v1.call.n1.*").await.unwrap();
    let mut controls = node.client.subscribe("wpc.v1.node.n1").await.unwrap();
    let mut hellos = node.client.subscribe("wpc.v1.hello").await.unwrap();
    let staging = node.key_value("wpc_staging").await;
    assert_eq!(watched(&staging, "prepare.*.*").await, b"2");
    staging.put("report.2.r.n1", "ready".into()).await.unwrap();
    assert_eq!(content(&node.objects("wpc_objects").await, "module").await, b"content");
    node.objects("wpc_objects").await.put("index", &mut b"list".as_slice()).await.unwrap();
    node.client.publish("wpc.v1.beat.n1", "heartbeat".into()).await.unwrap();
    within("the report", reports.next()).await.unwrap();

    // A client reads the registry, and calls.
    let registry = client.key_value("wpc_registry").await;
    assert_eq!(registry.get("active").await.unwrap().unwrap(), "2");
    assert_eq!(watched(&registry, "active").await, b"2");
    assert_eq!(content(&client.objects("wpc_objects").await, "index").await, b"list");
    let trusted = server.user(&server.trusted, "trusted").await;
    let payloads = trusted.objects("wpc_payloads").await;
    payloads.put("large", &mut b"argument".as_slice()).await.unwrap();
    let inbox = client.client.new_inbox();
    let mut answers = client.client.subscribe(inbox.clone()).await.unwrap();
    let subject = "wpc.v1.call.n1.d";
    client.client.publish_with_reply(subject, inbox, "call".into()).await.unwrap();
    client.client.publish("wpc.v1.node.n1", "cancel".into()).await.unwrap();
    client.client.publish("wpc.v1.hello", "".into()).await.unwrap();

    // The node fetches the argument and answers several times, with a large result too.
    let call = within("the call", calls.next()).await.unwrap();
    within("the control message", controls.next()).await.unwrap();
    within("the request for a report", hellos.next()).await.unwrap();
    let stored = node.objects("wpc_payloads").await;
    assert_eq!(content(&stored, "large").await, b"argument");
    stored.delete("large").await.unwrap();
    stored.put("result", &mut b"result".as_slice()).await.unwrap();
    let reply = call.reply.unwrap();
    for _ in 0..5 {
        node.client.publish(reply.clone(), "item".into()).await.unwrap();
    }
    for _ in 0..5 {
        within("an answer", answers.next()).await.unwrap();
    }
    assert_eq!(content(&payloads, "result").await, b"result");
    payloads.delete("result").await.unwrap();

    // Connections of the library read the server's clock and leave nothing behind.
    for (key, inbox) in
        [(&server.client, "client"), (&server.node, "n1"), (&server.deployer, "deployer")]
    {
        Connection::open(server.options(key, inbox), "test").await.unwrap();
    }
    server.has_refused_nothing();
}

/// The manifest of a function `add`, whose module is beside it.
fn manifest(folder: &Path) -> Source {
    let module = wat::parse_str(
        "(module (func (export \"add\") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))",
    );
    std::fs::write(folder.join("add.wasm"), module.unwrap()).unwrap();
    Source::new(folder.join("wpc.toml"), "[functions.add]\nfile = \"add.wasm\"\n".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_deploys_runs_and_calls_with_these_permissions() {
    let Some(server) = Server::start() else { return };
    let deployer = server.options(&server.deployer, "deployer");
    let registry = Registry::new(Connection::open(deployer, "deployer").await.unwrap());
    registry.create().await.unwrap();
    let node = join("n1", server.options(&server.node, "n1")).await;

    let folder = tempfile::tempdir().unwrap();
    let source = manifest(folder.path());
    let packed = Packed::read(&source, &source.parse().unwrap()).unwrap();
    let revision = registry.stage(&packed, "ada", None).await.unwrap();
    let ready = registry.wait_ready(revision.number, Quorum::Nodes(1), TIME_LIMIT).await.unwrap();
    assert_eq!(ready.ready, ["n1"]);
    registry.activate(&ready, None, "ada").await.unwrap();

    let client = Caller::connect(server.options(&server.client, "client")).await.unwrap();
    let sum = eventually("the node answers", async || {
        let arguments = CallArguments::Positional(vec![2.into(), 3.into()]);
        let call = client.submit("add", arguments, ReplyFormat::Json, &CallOptions::new());
        call.ok()?.await.ok()
    });
    let ReplyValue::Json(sum) = sum.await.value else { panic!("another form") };
    assert_eq!(sum, 5);
    assert!(node.calls_accepted() >= 1);
    server.has_refused_nothing();

    // A client that is not trusted cannot store what is too large for a message.
    let large = CallArguments::Encoded(vec![0; 2 << 20]);
    let call = client.submit("add", large, ReplyFormat::Encoded, &CallOptions::new()).unwrap();
    let error = call.await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ArgumentsTooLarge, "{error}");
    assert!(error.to_string().contains("does not permit"), "{error}");
    assert!(node.drain(TIME_LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_deploy_or_read_what_is_for_others() {
    let Some(server) = Server::start() else { return };
    deploy(&server.user(&server.deployer, "deployer").await).await;
    let mut client = server.user(&server.client, "client").await;
    for subject in [
        "$KV.wpc_registry.active",
        "$KV.wpc_registry.revision.1",
        "$KV.wpc_staging.prepare.1.r",
        "$KV.wpc_staging.report.1.r.n1",
        "$O.wpc_objects.M.x",
        "$O.wpc_objects.C.x",
        "$O.wpc_payloads.C.x",
        "$JS.API.DIRECT.GET.OBJ_wpc_payloads",
        "$JS.API.CONSUMER.CREATE.OBJ_wpc_payloads",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.STREAM.UPDATE.KV_wpc_registry",
        "$JS.API.STREAM.DELETE.KV_wpc_registry",
        "$JS.API.STREAM.PURGE.KV_wpc_registry",
        "$JS.API.STREAM.PURGE.OBJ_wpc_objects",
        "$JS.API.STREAM.MSG.DELETE.KV_wpc_registry",
        "wpc.v1.beat.n1",
        "_INBOX.n1.x",
    ] {
        client.may_not_publish(subject).await;
    }
    for subject in [
        "_INBOX.>",
        "_INBOX.n1.>",
        "wpc.v1.call.>",
        "wpc.v1.call.n1.*",
        "wpc.v1.node.n1",
        "$KV.wpc_registry.>",
        "$O.wpc_payloads.>",
        ">",
    ] {
        client.may_not_subscribe(subject).await;
    }
    let registry = client.key_value("wpc_registry").await;
    assert_eq!(registry.get("active").await.unwrap().unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_activate_or_serve_for_another_node() {
    let Some(server) = Server::start() else { return };
    deploy(&server.user(&server.deployer, "deployer").await).await;
    let mut node = server.user(&server.node, "n1").await;
    for subject in [
        "$KV.wpc_registry.active",
        "$KV.wpc_staging.prepare.1.r",
        "$KV.wpc_staging.report.1.r.n2",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.STREAM.DELETE.KV_wpc_registry",
        "wpc.v1.beat.n2",
    ] {
        node.may_not_publish(subject).await;
    }
    for subject in ["wpc.v1.call.n2.*", "wpc.v1.call.>", "wpc.v1.node.n2", "_INBOX.client.>"] {
        node.may_not_subscribe(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_cannot_serve_or_call() {
    let Some(server) = Server::start() else { return };
    let mut deployer = server.user(&server.deployer, "deployer").await;
    for subject in ["wpc.v1.call.n1.d", "wpc.v1.beat.n1", "$JS.API.STREAM.DELETE.KV_wpc_registry"] {
        deployer.may_not_publish(subject).await;
    }
    for subject in ["wpc.v1.call.n1.*", "_INBOX.>"] {
        deployer.may_not_subscribe(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_known_key_or_without_tls_is_refused() {
    let Some(server) = Server::start() else { return };
    let stranger = server.options(&KeyPair::new_user(), "client");
    let error = Connection::open(stranger, "test").await.unwrap_err().to_string();
    assert!(error.contains("refused the credentials"), "{error}");
    let mut nothing = server.options(&server.client, "client");
    nothing.credentials = Credentials::None;
    let error = Connection::open(nothing, "test").await.unwrap_err().to_string();
    assert!(error.contains("none were passed"), "{error}");
    let mut distrusting = server.options(&server.client, "client");
    distrusting.ca = None;
    let error = Connection::open(distrusting, "test").await.unwrap_err().to_string();
    assert!(error.contains("TLS failed") && error.contains("`--cluster-ca`"), "{error}");
}
