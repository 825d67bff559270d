//! Nodes whose name is in use, and nodes without the permissions of their name.

use crate::support::{NatsServer, eventually, join, try_join};
use std::time::Duration;
use wpc_cluster::wire::Heartbeat;
use wpc_cluster::{CheckedRole, Client, Credentials, Error, Level, NodeOptions, check};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_name_is_in_use_does_not_join() {
    let Some(server) = NatsServer::start() else { return };
    let first = join("a", server.options()).await;
    let options = || NodeOptions::new("a".parse().unwrap());
    let mut attempts = 0;
    // A process that needs more than a second to connect joins first, and hears of the other one later.
    let error = eventually("the name is in use", async || {
        attempts += 1;
        try_join(options(), server.options()).await.err()
    })
    .await;
    assert!(matches!(&error, Error::NameInUse(name) if name.as_str() == "a"), "{error}");
    assert!(error.to_string().contains("--name"), "{error}");
    if attempts == 1 {
        assert_eq!(first.obstacle(), None, "the second one has not reported itself");
    }
    drop(first);
    eventually("the name is free again", async || try_join(options(), server.options()).await.ok())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_name_are_reported() {
    let Some(server) = NatsServer::start() else { return };
    let node = join("a", server.options()).await;
    let caller = Client::connect(server.options()).await.unwrap();
    // Another process that joined while it could not hear this one.
    let other = async_nats::connect(server.url()).await.unwrap();
    let reports = tokio::spawn(async move {
        loop {
            let _ = other.publish("wpc.v1.beat.a", Heartbeat::new(7).encode()).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    eventually("the node reports it", async || {
        node.obstacle().filter(|obstacle| obstacle.contains("\"a\" is in use by another process"))
    })
    .await;
    assert_eq!(Some(node.backend().cluster().unwrap().problem), node.obstacle());
    eventually("its report has it", async || {
        let nodes = caller.information().nodes;
        nodes.iter().any(|node| node.problem.contains("is in use")).then_some(())
    })
    .await;
    let found = check(server.options(), &[CheckedRole::Client]).await;
    let is_it = |text: &str| text.contains("several processes have the name \"a\"");
    let finding = found.findings.iter().find(|finding| is_it(&finding.text));
    assert_eq!(finding.map(|finding| finding.level), Some(Level::Error), "{found:#?}");
    reports.abort();
    eventually("it is alone", async || node.obstacle().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_permissions_of_its_name_reports_what_it_lacks() {
    let denied =
        "publish: { deny: [\"wpc.v1.beat.n3\"] }, subscribe: { deny: [\"wpc.v1.call.n4.*\"] }";
    let users = NatsServer::users(&[("ada", "secret", denied)]);
    let Some(server) = NatsServer::with(&users) else { return };
    let mut options = server.options();
    options.credentials = Credentials::Password("ada".to_owned(), "secret".to_owned());
    for (name, subject) in [("n3", "wpc.v1.beat.n3"), ("n4", "wpc.v1.call.n4.*")] {
        let node = join(name, options.clone()).await;
        let obstacle = eventually("it is reported", async || node.obstacle()).await;
        for text in [subject, &format!("wpc cluster check --role node --name {name}")] {
            assert!(obstacle.contains(text), "{obstacle}");
        }
        assert_eq!(node.backend().cluster().unwrap().problem, obstacle);
        let role = CheckedRole::Node(Some(name.parse().unwrap()));
        let found = check(options.clone(), &[role]).await;
        let errors = found.findings.iter().filter(|finding| finding.level == Level::Error);
        let errors: Vec<_> = errors.map(|finding| &finding.text).collect();
        assert!(errors.len() == 1 && errors[0].contains(subject), "{found:#?}");
    }
    assert_eq!(join("n5", options.clone()).await.obstacle(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_the_user_may_not_read_is_named() {
    let permissions = "publish: [\">\"], subscribe: [\"_INBOX.ada.>\", \"wpc.>\"]";
    let users = NatsServer::users(&[("ada", "secret", permissions)]);
    let Some(server) = NatsServer::with(&users) else { return };
    let mut options = server.options();
    options.credentials = Credentials::Password("ada".to_owned(), "secret".to_owned());
    let error = Client::connect(options.clone()).await.unwrap_err().to_string();
    assert!(error.contains("_INBOX") && error.contains("--cluster-inbox"), "{error}");
    let node = join("a", options.clone()).await;
    let obstacle = eventually("it is reported", async || node.obstacle()).await;
    assert!(obstacle.contains("_INBOX") && obstacle.contains("--cluster-inbox"), "{obstacle}");
    options.inbox = "_INBOX.ada".to_owned();
    Client::connect(options).await.unwrap();
}
