//! Requests over connections that are kept open, each of which has one request outstanding.

use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The text of a request.
#[derive(Debug, Clone)]
pub(crate) struct Request(std::sync::Arc<[u8]>);

impl Request {
    /// A request with a JSON body.
    pub(crate) fn post(path: &str, body: &str) -> Self {
        Self::with_body(path, "application/json", body.as_bytes())
    }

    /// A request with a body of this type.
    pub(crate) fn with_body(path: &str, content_type: &str, body: &[u8]) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self([head.as_bytes(), body].concat().into())
    }
}

/// Open connections to a server, on one thread.
pub(crate) struct Load {
    runtime: Runtime,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    /// What was received of the current answer.
    received: Vec<u8>,
}

impl Load {
    pub(crate) fn connect(address: SocketAddr, connections: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connect = || -> Result<_> {
            let stream = runtime.block_on(TcpStream::connect(address))?;
            stream.set_nodelay(true)?;
            Ok(Connection { stream, received: Vec::with_capacity(1 << 16) })
        };
        let connections = (0..connections).map(|_| connect()).collect::<Result<_>>()?;
        Ok(Self { runtime, connections })
    }

    /// Sends a request over the first connection, and returns the body of its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Vec<u8>> {
        let connection = self.connections.first_mut().context("no connection is open")?;
        self.runtime.block_on(connection.exchange(request))?;
        let text = &connection.received;
        let head = text.windows(4).position(|end| end == b"\r\n\r\n").context("no head")?;
        Ok(text[head + 4..].to_vec())
    }

    /// Sends the request `each` times over each connection. Returns the duration of a request, all of them divided by their
    /// number, and the time of each.
    pub(crate) fn run(&mut self, request: &Request, each: u32) -> Result<(Duration, Vec<f64>)> {
        let connections = std::mem::take(&mut self.connections);
        let count = u32::try_from(connections.len())? * each;
        let begun = Instant::now();
        let (connections, latencies) = self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for mut connection in connections {
                let request = request.clone();
                tasks.spawn(async move {
                    let mut latencies = Vec::with_capacity(each as usize);
                    for _ in 0..each {
                        let sent = Instant::now();
                        connection.exchange(&request).await?;
                        latencies.push(sent.elapsed().as_secs_f64() * 1e9);
                    }
                    anyhow::Ok((connection, latencies))
                });
            }
            let (mut connections, mut latencies) = (Vec::new(), Vec::new());
            while let Some(done) = tasks.join_next().await {
                let (connection, times) = done??;
                connections.push(connection);
                latencies.extend(times);
            }
            anyhow::Ok((connections, latencies))
        })?;
        self.connections = connections;
        Ok((begun.elapsed() / count, latencies))
    }
}

impl Connection {
    async fn exchange(&mut self, request: &Request) -> Result<()> {
        self.stream.write_all(&request.0).await?;
        self.received.clear();
        let mut end = None;
        while end.is_none_or(|end| self.received.len() < end) {
            let read = self.stream.read_buf(&mut self.received).await?;
            ensure!(read > 0, "the server closed the connection");
            if end.is_none() {
                end = self.end()?;
            }
        }
        ensure!(self.received.starts_with(b"HTTP/1.1 20"), "{}", self.text());
        Ok(())
    }

    /// The length of the answer, if its headers are complete.
    fn end(&self) -> Result<Option<usize>> {
        let Some(headers) = self.received.windows(4).position(|end| end == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.received[..headers])?.to_ascii_lowercase();
        let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("the answer has no length")?.trim().parse()?;
        Ok(Some(headers + 4 + length))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}
