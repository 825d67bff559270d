//! Listeners and their connections.
//!
//! `accept` accepts connections of a `listener`, and `connection` serves the requests of one. `stream` and `connection` record what a
//! connection is doing in its `activity`; one task of `connections` compares it with the `limits` at each tick. With a `certificate`,
//! a connection begins with a `handshake`. `messages` counts the messages of WebSockets.

mod accept;
mod activity;
mod address;
mod certificate;
mod connection;
mod connections;
mod handshake;
mod limits;
mod listener;
mod messages;
#[cfg(unix)]
mod socket_file;
mod stream;
mod unrouted;

pub use address::{InvalidAddress, ListenAddress};
pub use certificate::{Certificate, CertificateError};
pub use limits::ConnectionLimits;

use crate::application::Application;
use crate::lifecycle::Stage;
use crate::router::{Plane, router_of};
use activity::Order;
use connection::Endpoint;
use connections::Connections;
use listener::Listener;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
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
        address: ListenAddress,
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

/// A server with its bound listeners.
pub struct Server {
    listener: Listener,
    address: SocketAddr,
    administration: Option<(Listener, ListenAddress)>,
    certificate: Option<Certificate>,
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
        let (listener, chosen) = bind(&address.into()).await?;
        let address = if let ListenAddress::Ip(chosen) = chosen { chosen } else { address };
        let limits = ConnectionLimits::default();
        Ok(Self {
            listener,
            address,
            administration: None,
            certificate: None,
            limits,
            grace: Duration::ZERO,
            finish: Box::pin(async {}),
        })
    }

    /// Binds a separate address for the administration (deployments and tokens). It serves everything; [`Self::address`] then serves
    /// everything except the administration, which it answers with 404. The connection limits apply to each address separately; the request
    /// limit applies only to [`Self::address`]. Default: one address serves everything.
    ///
    /// # Errors
    ///
    /// [`ServerError::Listen`].
    pub async fn administration(mut self, address: &ListenAddress) -> Result<Self, ServerError> {
        self.administration = Some(bind(address).await?);
        Ok(self)
    }

    /// Serves HTTPS with this certificate, except on a Unix socket. Default: HTTP.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Sets the bounds on connections.
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

    /// Its URL, such as `https://127.0.0.1:7071`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(self.address)
    }

    /// The URL of the administration, or `unix:` and the path of its socket; `None` if it has no address of its own.
    #[must_use]
    pub fn administration_url(&self) -> Option<String> {
        let (_, address) = self.administration.as_ref()?;
        Some(match address {
            ListenAddress::Ip(address) => self.url_of(*address),
            ListenAddress::Unix(_) => address.to_string(),
        })
    }

    fn url_of(&self, address: SocketAddr) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// Checks that the server would not serve other machines without tokens. [`Server::serve`] does so too.
    ///
    /// # Errors
    ///
    /// [`ServerError::Open`].
    pub fn check(&self, application: &Application) -> Result<(), ServerError> {
        let mut addresses = vec![self.address];
        if let Some((_, ListenAddress::Ip(address))) = self.administration {
            addresses.push(address);
        }
        let gate = application.gate();
        match addresses.into_iter().find(|address| !gate.may_listen_on(*address)) {
            Some(address) => Err(ServerError::Open { address }),
            None => Ok(()),
        }
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
        let Self { listener, administration, certificate, limits, grace, finish, .. } = self;
        let lifecycle = application.lifecycle().clone();
        application.live().collect(application.backend());
        if let Some(certificate) = &certificate {
            application.traffic().set_refused_certificates(certificate.refused());
        }
        let plane = if administration.is_some() { Plane::Public } else { Plane::Whole };
        let mut listeners = vec![(listener, plane)];
        listeners.extend(administration.map(|(listener, _)| (listener, Plane::Administration)));
        // The connections' tasks end with this future, even if it is dropped.
        let (mut watching, mut accepting) = (JoinSet::new(), JoinSet::new());
        let mut all_connections = Vec::new();
        for (listener, plane) in listeners {
            // Bounds of their own, so that the clients of one listener cannot use up the connections of the other.
            let connections = Connections::new(limits.clone(), application.traffic().clone());
            watching.spawn(connections.clone().watch());
            let (application, certificate) = (application.clone(), certificate.clone());
            let endpoint =
                Endpoint { router: router_of(application.clone(), plane), application, plane };
            accepting.spawn(accept::accept(listener, certificate, connections.clone(), endpoint));
            all_connections.push(connections);
        }
        lifecycle.enter(Stage::Serving);
        stop.await;
        lifecycle.enter(Stage::Draining);
        tokio::time::sleep(grace).await;
        accepting.shutdown().await;
        command(&all_connections, Order::Finish);
        finish.await;
        if timeout(FLUSH_TIMEOUT, ended(&all_connections)).await.is_err() {
            command(&all_connections, Order::Abort);
            // Every task was woken and ends at once, unless a handler does not return.
            let _ = timeout(FLUSH_TIMEOUT, ended(&all_connections)).await;
        }
        lifecycle.enter(Stage::Stopped);
        Ok(())
    }
}

async fn bind(address: &ListenAddress) -> Result<(Listener, ListenAddress), ServerError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|source| ServerError::Listen { address: address.clone(), source })
}

fn command(all: &[Connections], order: Order) {
    all.iter().for_each(|connections| connections.command(order));
}

/// Completes once no connection is open.
async fn ended(all: &[Connections]) {
    for connections in all {
        connections.ended().await;
    }
}
