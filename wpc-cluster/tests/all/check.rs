//! The findings of `check` for servers with and without faults.

use crate::support::{NatsServer, within};
use wpc_cluster::{Check, CheckedRole, ClusterOptions, Credentials, Level, check};

/// The findings for a server, within bounded time.
async fn found(options: ClusterOptions, roles: &[CheckedRole]) -> Check {
    let check = within("the check ends", check(options, roles)).await;
    for finding in &check.findings {
        assert!(!finding.text.contains("secret"), "{finding:?}");
        let needs_reason = finding.level > Level::Good;
        assert_eq!(!finding.reason.is_empty(), needs_reason, "{finding:?}");
    }
    check
}

/// The findings about a subject, as levels and texts.
fn about<'a>(check: &'a Check, subject: &str) -> Vec<(Level, &'a str)> {
    let of = check.findings.iter().filter(|finding| finding.subject == subject);
    of.map(|finding| (finding.level, finding.text.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_is_fit_and_has_no_buckets_yet() {
    let Some(server) = NatsServer::start() else { return };
    let roles = [CheckedRole::Client, CheckedRole::Node(None), CheckedRole::Deployer];
    let check = found(server.options(), &roles).await;
    assert!(check.is_fit(), "{check:#?}");
    assert_eq!(about(&check, "connection")[0].0, Level::Good);
    assert_eq!(about(&check, "version")[0].0, Level::Good);
    assert!(about(&check, "permissions").iter().all(|(level, _)| *level == Level::Good));
    let buckets = about(&check, "buckets");
    assert_eq!(buckets.len(), 4, "{buckets:?}");
    assert!(buckets.iter().all(|(_, text)| text.contains("does not exist yet")), "{buckets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_buckets_are_described() {
    let Some(server) = NatsServer::start() else { return };
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    for (bucket, storage) in [
        ("wpc_registry", async_nats::jetstream::stream::StorageType::Memory),
        ("wpc_staging", async_nats::jetstream::stream::StorageType::Memory),
    ] {
        let bucket = bucket.to_owned();
        let config = async_nats::jetstream::kv::Config { bucket, storage, ..Default::default() };
        context.create_key_value(config).await.unwrap();
    }
    let check = found(server.options(), &[]).await;
    let buckets = about(&check, "buckets");
    assert_eq!((buckets[0].0, buckets[1].0), (Level::Error, Level::Good), "{buckets:?}");
    assert!(buckets[0].1.contains("`KV_wpc_registry` is in memory storage"), "{buckets:?}");
    assert!(!check.is_fit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_not_fit() {
    let Some(server) = NatsServer::configured(tempfile::tempdir().unwrap(), "") else { return };
    let check = found(server.options(), &[]).await;
    assert_eq!(about(&check, "jetstream")[0].0, Level::Error, "{check:#?}");
    assert!(!check.is_fit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_the_only_finding_about_it() {
    // No other program listens there.
    let address = "127.0.0.1:1";
    let options = ClusterOptions::new(&format!("nats://ada:secret@{address}"));
    let check = found(options, &[]).await;
    assert_eq!(about(&check, "connection")[0].0, Level::Error);
    assert!(about(&check, "connection")[0].1.contains(address), "{check:#?}");
    assert!(about(&check, "version").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permissions_are_named_with_the_role_that_needs_them() {
    let permissions = "publish: [\"$SYS.REQ.USER.INFO\", \"wpc.v1.>\"], subscribe: [\"_INBOX.>\"]";
    let users = NatsServer::users(&[("ada", "secret", permissions)]);
    let Some(server) = NatsServer::with(&users) else { return };
    let mut options = server.options();
    options.credentials = Credentials::Password("ada".to_owned(), "secret".to_owned());
    let check = found(options, &[CheckedRole::Node(None)]).await;
    let permissions = about(&check, "permissions");
    let levels: Vec<_> = permissions.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::Error], "{permissions:?}");
    for subject in ["$KV.wpc_staging.report.*.*.*", "wpc.v1.call.*.*", "wpc.v1.hello"] {
        assert!(permissions[0].1.contains(subject), "{subject}: {permissions:?}");
    }
    assert!(!check.is_fit());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_the_user_may_not_read_is_reported() {
    let permissions = "publish: [\">\"], subscribe: [\"_INBOX.ada.>\"]";
    let users = NatsServer::users(&[("ada", "secret", permissions)]);
    let Some(server) = NatsServer::with(&users) else { return };
    let mut options = server.options();
    options.credentials = Credentials::Password("ada".to_owned(), "secret".to_owned());
    let check = found(options, &[]).await;
    let last = check.findings.last().unwrap();
    assert_eq!((last.subject, last.level), ("permissions", Level::Error), "{check:#?}");
    assert!(last.remedy.contains("--cluster-inbox"), "{last:?}");
}
