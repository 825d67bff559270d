//! A network link whose failures a test chooses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A TCP proxy in front of a server. It ends when it is dropped, with its connections.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

/// How the proxy treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Passing,
    /// Bytes arrive this much later.
    Delaying(Duration),
    /// Connections stay open, and no bytes arrive.
    BlackHole,
    /// Connections are closed, and new ones too.
    Cut,
    /// The proxy was dropped.
    Ended,
}

impl FaultProxy {
    /// A proxy that passes connections to this address, such as `127.0.0.1:4222`.
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Passing));
        let watched = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() == State::Cut {
                    continue;
                }
                tokio::spawn(connection(client, target.clone(), Arc::clone(&watched)));
            }
        });
        Self { address, state, accepting }
    }

    /// Its address as a URL of a NATS server.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Passes bytes at once, including those that were held, and accepts connections.
    pub(crate) fn pass(&self) {
        self.state.send_replace(State::Passing);
    }

    /// Passes bytes after this time.
    pub(crate) fn delay(&self, by: Duration) {
        self.state.send_replace(State::Delaying(by));
    }

    /// Holds all bytes and keeps connections open, as a network that drops packets does.
    pub(crate) fn hold(&self) {
        self.state.send_replace(State::BlackHole);
    }

    /// Closes all connections, and new ones as soon as they are opened.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.send_replace(State::Ended);
    }
}

async fn connection(client: TcpStream, target: String, state: Arc<watch::Sender<State>>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut closing = state.subscribe();
    let is_closed = closing.wait_for(|state| matches!(state, State::Cut | State::Ended));
    tokio::select! {
        () = pump(from_client, to_server, &state) => {}
        () = pump(from_server, to_client, &state) => {}
        _ = is_closed => {}
    }
}

/// Copies bytes in one direction until it is closed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &watch::Sender<State>,
) {
    // Bounded as the buffers of a network are: the sender waits when they are full.
    let (held, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if held.send((Instant::now(), buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let mut follow = state.subscribe();
    let write = async move {
        while let Some((arrived, bytes)) = due.recv().await {
            loop {
                let now = *follow.borrow_and_update();
                match now {
                    State::Delaying(by) if arrived + by > Instant::now() => {
                        tokio::select! {
                            () = tokio::time::sleep_until(arrived + by) => {}
                            _ = follow.changed() => {}
                        }
                    }
                    State::BlackHole => {
                        if follow.changed().await.is_err() {
                            return;
                        }
                    }
                    _ => break,
                }
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
