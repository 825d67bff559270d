//! Three NATS servers that form a cluster.

use super::{NatsServer, free_port};
use wpc_cluster::ClusterOptions;

/// Three NATS servers that form a cluster, so that JetStream can replicate to three.
#[derive(Debug)]
pub(crate) struct NatsCluster {
    pub(crate) servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Three servers which have agreed on the leader of JetStream; `None` without the program.
    pub(crate) fn start() -> Option<Self> {
        Self::with("")
    }

    /// Three servers whose configurations also contain these lines.
    pub(crate) fn with(configuration: &str) -> Option<Self> {
        // The routes must be known before the servers start.
        let ports = [(); 3].map(|()| free_port());
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let start = |(index, port): (usize, u16)| {
            // Clients learn no other addresses from the servers, so that each can be behind a proxy.
            let configuration = format!(
                "server_name: s{index}\njetstream {{}}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", \
                 no_advertise: true, routes: [{routes}] }}\n{configuration}\n"
            );
            NatsServer::configured(tempfile::tempdir().unwrap(), &configuration)
        };
        let servers = ports.into_iter().enumerate().map(start).collect::<Option<Vec<_>>>()?;
        let cluster = Self { servers };
        for server in &cluster.servers {
            server.wait_for_log("metadata leader");
        }
        Some(cluster)
    }

    /// The URLs of the servers, separated by commas.
    pub(crate) fn urls(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// Options of a connection to any of them, without credentials.
    pub(crate) fn options(&self) -> ClusterOptions {
        super::options(&self.urls())
    }
}
