//! The NATS server for development.

use crate::support::{self, eventually, nats_server};
use std::time::Duration;
use wpc_cluster::{ClusterOptions, Connection, DevelopmentServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_uses_the_server_of_the_first() {
    if nats_server::program().is_none() || !nats_server::is_in_path() {
        return;
    }
    // Another program of the machine may have the usual port; then each process starts a server of its own.
    let folder = tempfile::tempdir().unwrap();
    let first = DevelopmentServer::start(folder.path()).unwrap();
    let is_usual = first.is_own() && first.url().ends_with(":4222");
    // A server that answers late is not recognized.
    let second = eventually("the server of the first is recognized", async || {
        let second = DevelopmentServer::start(folder.path()).unwrap();
        (!is_usual || !second.is_own()).then_some(second)
    })
    .await;
    let connection = Connection::open(support::options(second.url()), "test").await.unwrap();
    assert!(connection.is_up());
    if is_usual {
        assert_eq!(first.url(), second.url());
        let url = first.url().to_owned();
        drop(first);
        let mut options = ClusterOptions::new(&url);
        options.connect_timeout = Duration::from_secs(2);
        Connection::open(options, "test").await.unwrap_err();
    }
}
