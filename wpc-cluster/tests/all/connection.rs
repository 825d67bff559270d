//! Connections to NATS: credentials, TLS, servers and links that fail.

use crate::support::certificates::Certificates;
use crate::support::{self, FaultProxy, NatsCluster, NatsServer, eventually, within};
use std::time::Duration;
use wpc_cluster::{ClusterOptions, Connection, Credentials, Error, NodeOptions};

/// The text of the error of connecting with these options.
async fn refusal(options: ClusterOptions) -> String {
    let error = within("connecting ends", Connection::open(options, "test")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains("secret") && !format!("{error:?}").contains("secret"), "{text}");
    text
}

fn with(server: &NatsServer, credentials: Credentials) -> ClusterOptions {
    let mut options = server.options();
    options.credentials = credentials;
    options
}

async fn is_up(connection: &Connection, expected: bool) {
    let what = if expected { "it is up" } else { "it is down" };
    eventually(what, async || (connection.is_up() == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_reports_the_servers_limit_and_clock() {
    let Some(server) = NatsServer::with("max_payload: 2MB") else { return };
    let connection = Connection::open(server.options(), "test").await.unwrap();
    assert!(connection.is_up());
    assert_eq!(connection.max_message(), 2 << 20);
    assert_eq!((connection.disconnects(), connection.dropped_messages()), (0, 0));
    // Both processes read the same clock; the rest is how long a request takes on a busy machine.
    assert!(connection.clock_offset_ms().abs() < 1_000, "{}", connection.clock_offset_ms());
    assert_eq!(connection.violation(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_authenticates_and_a_wrong_one_is_refused() {
    let Some(server) = NatsServer::with(&NatsServer::token("secret")) else { return };
    let options = with(&server, Credentials::Token("secret".to_owned()));
    Connection::open(options, "test").await.unwrap();
    for (credentials, expected) in [
        (Credentials::None, "none were passed; pass the seed of an nkey with `--cluster-nkey`"),
        (Credentials::Token("secret2".to_owned()), "refused the credentials"),
    ] {
        let text = refusal(with(&server, credentials)).await;
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(&server.address()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_credentials_are_refused_does_not_start() {
    let Some(server) = NatsServer::with(&NatsServer::token("secret")) else { return };
    let options = with(&server, Credentials::Token("secret2".to_owned()));
    let node = NodeOptions::new("a".parse().unwrap());
    let joining = support::try_join(node, options);
    let error = within("joining ends", joining).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("refused the credentials"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_authenticates_in_options_and_in_the_address() {
    let users = NatsServer::users(&[("ada", "secret", "")]);
    let Some(server) = NatsServer::with(&users) else { return };
    let password = |text: &str| Credentials::Password("ada".to_owned(), text.to_owned());
    Connection::open(with(&server, password("secret")), "test").await.unwrap();
    let address = format!("nats://ada:secret@{}", server.address());
    let connection = Connection::open(support::options(&address), "test").await.unwrap();
    assert!(!format!("{connection:?}").contains("secret"), "{connection:?}");
    let text = refusal(with(&server, password("secret2"))).await;
    assert!(text.contains("refused the credentials"), "{text}");
    let wrong = format!("nats://ada:secret2@{}", server.address());
    let text = refusal(support::options(&wrong)).await;
    assert!(text.contains("refused the credentials"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_authenticates_and_another_one_is_refused() {
    let pair = nkeys::KeyPair::new_user();
    let Some(server) = NatsServer::with(&NatsServer::nkey_user(&pair.public_key())) else {
        return;
    };
    // Files of seeds end with a line break.
    let seed = |pair: &nkeys::KeyPair| Credentials::Nkey(pair.seed().unwrap() + "\n");
    Connection::open(with(&server, seed(&pair)), "test").await.unwrap();
    let text = refusal(with(&server, seed(&nkeys::KeyPair::new_user()))).await;
    assert!(text.contains("refused the credentials"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_and_a_client_certificate_are_used() {
    for verify in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::write(folder.path());
        let Some(server) = NatsServer::with(&certificates.configuration(verify)) else { return };
        let server = server.over_tls();
        let mut options = server.options();
        let text = refusal(options.clone()).await;
        assert!(text.contains("TLS"), "{text}");
        options.ca = Some(certificates.ca());
        if verify {
            refusal(options.clone()).await;
            options.certificate = Some(certificates.client());
        }
        assert!(Connection::open(options, "test").await.unwrap().is_up());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_read_is_named() {
    let mut options = ClusterOptions::new("tls://127.0.0.1:1");
    options.ca = Some("missing/ca.pem".into());
    let error = Connection::open(options, "test").await.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert!(error.to_string().contains("missing/ca.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_reported_with_its_address() {
    // No other program listens there.
    let address = "127.0.0.1:1";
    let text = refusal(ClusterOptions::new(&format!("nats://ada:secret@{address}"))).await;
    assert!(text.contains(address), "{text}");
    assert!(text.contains("is a NATS server running there?"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_abandoned_after_the_time_limit() {
    let Some(server) = NatsServer::start() else { return };
    server.suspend();
    let mut options = server.options();
    options.connect_timeout = Duration::from_millis(300);
    let text = refusal(options).await;
    assert!(text.contains("is a NATS server running there?"), "{text}");
    server.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_restored_when_the_server_is_restarted() {
    let Some(mut server) = NatsServer::start() else { return };
    let connection = Connection::open(server.options(), "test").await.unwrap();
    server.kill();
    is_up(&connection, false).await;
    assert_eq!(connection.disconnects(), 1);
    server.restart();
    is_up(&connection, true).await;
    assert_eq!(connection.disconnects(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_drops_everything_is_noticed_by_pings() {
    let Some(server) = NatsServer::start() else { return };
    let proxy = FaultProxy::start(server.address()).await;
    let connection = Connection::open(support::options(&proxy.url()), "test").await.unwrap();
    proxy.hold();
    is_up(&connection, false).await;
    proxy.pass();
    is_up(&connection, true).await;
    proxy.cut();
    is_up(&connection, false).await;
    proxy.pass();
    is_up(&connection, true).await;
    assert!(connection.disconnects() >= 2, "{}", connection.disconnects());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_not_permitted_is_remembered() {
    let permissions = "publish: [\"other\"], subscribe: [\"_INBOX.>\"]";
    let users = NatsServer::users(&[("ada", "secret", permissions)]);
    let Some(server) = NatsServer::with(&users) else { return };
    let ada = Credentials::Password("ada".to_owned(), "secret".to_owned());
    // Opening reads the server's clock, which this user may not ask for.
    let connection = Connection::open(with(&server, ada), "test").await.unwrap();
    let violation = eventually("the violation", async || connection.violation()).await;
    assert!(violation.to_lowercase().contains("permissions violation for publish"), "{violation}");
    assert!(connection.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_uses_the_servers_of_a_cluster_that_are_there() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let connection = Connection::open(cluster.options(), "test").await.unwrap();
    // It used one of them, and lost it once.
    for server in &mut cluster.servers {
        server.kill();
        server.restart();
    }
    eventually("it was lost", async || (connection.disconnects() > 0).then_some(())).await;
    is_up(&connection, true).await;
    cluster.servers[0].kill();
    cluster.servers[1].kill();
    Connection::open(cluster.options(), "test").await.unwrap();
    is_up(&connection, true).await;
}
