//! Listeners and their connections.
//!
//! `accept` accepts connections, and `connection` serves the requests of one. `stream` and `connection` record what a connection
//! is doing in its `activity`; one task of `connections` compares it with the `limits` at each tick.

mod accept;
mod activity;
mod connection;
mod connections;
mod limits;
mod stream;

pub use limits::ConnectionLimits;

use crate::application::Application;
use crate::lifecycle::Stage;
use crate::router::router;
use activity::Order;
use connection::Served;
use connections::Connections;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server cannot listen on the address.
    #[error("failed to listen on {address}: {source}")]
    #[non_exhaustive]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// Other machines could reach the address, and the server would not require a token.
    #[error(
        "{address} can be reached by other machines, and no token is required; create a token with `wpc token create`, listen on 127.0.0.1, or add `--insecure`"
    )]
    #[non_exhaustive]
    Open {
        /// The address.
        address: SocketAddr,
    },
}

/// How long clients may take to read the rest of their responses when the server stops, after all calls have ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: ConnectionLimits,
    grace: Duration,
    finish: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds an address; port 0 chooses a free one.
    ///
    /// # Errors
    ///
    /// [`ServerError::Listen`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let finish = Box::pin(async {});
        let limits = ConnectionLimits::default();
        Ok(Self { listener, address, limits, grace: Duration::ZERO, finish })
    }

    /// Sets the bounds of connections.
    #[must_use]
    pub fn limits(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets for how long the server still accepts connections after `stop` has completed. Meanwhile it reports that it is
    /// not ready, so that a load balancer sends requests elsewhere. Default: 0.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets a future that ends the calls in progress when the server stops, such as
    /// [`stop_workers_async`](wpc_host::WorkerProcedureCall::stop_workers_async). Without it, the server waits 5 s for the
    /// requests in progress and then closes their connections.
    #[must_use]
    pub fn finish(mut self, finish: impl Future<Output = ()> + Send + 'static) -> Self {
        self.finish = Box::pin(finish);
        self
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Checks that the server would not serve other machines without tokens. [`Server::serve`] does so too.
    ///
    /// # Errors
    ///
    /// [`ServerError::Open`].
    pub fn check(&self, application: &Application) -> Result<(), ServerError> {
        let address = self.address;
        let is_safe = application.gate().may_listen_on(address);
        if is_safe { Ok(()) } else { Err(ServerError::Open { address }) }
    }

    /// Serves until `stop` completes, and then stops gracefully:
    ///
    /// 1. The stage becomes [`Stage::Draining`]: the server reports that it is not ready, and answers with
    ///    `Connection: close`.
    /// 2. After [`Server::grace`] it stops accepting connections, and closes those without a request in progress.
    /// 3. It waits for [`Server::finish`] and for the requests in progress. Five seconds after the former, it closes the
    ///    remaining connections, such as those of event streams and of clients that do not read.
    ///
    /// # Errors
    ///
    /// [`ServerError::Open`].
    pub async fn serve(
        self,
        application: Application,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        self.check(&application)?;
        let Self { listener, limits, grace, finish, .. } = self;
        let lifecycle = application.lifecycle().clone();
        application.live().collect(application.backend());
        let connections = Connections::new(limits, application.traffic().clone());
        let served = Served { router: router(application.clone()), application };
        // The connections' tasks end with this future, even if it is dropped.
        let (mut watching, mut accepting) = (JoinSet::new(), JoinSet::new());
        watching.spawn(connections.clone().watch());
        accepting.spawn(accept::accept(listener, connections.clone(), served));
        lifecycle.enter(Stage::Serving);
        stop.await;
        lifecycle.enter(Stage::Draining);
        tokio::time::sleep(grace).await;
        accepting.shutdown().await;
        connections.command(Order::Finish);
        finish.await;
        if timeout(FLUSH_TIMEOUT, connections.ended()).await.is_err() {
            connections.command(Order::Abort);
            // Every task was woken and ends at once, unless a handler does not return.
            let _ = timeout(FLUSH_TIMEOUT, connections.ended()).await;
        }
        lifecycle.enter(Stage::Stopped);
        Ok(())
    }
}
