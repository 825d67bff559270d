//! A listener and its connections.

use crate::application::Application;
use crate::lifecycle::Stage;
use crate::router::router;
use std::future::Future;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Why a server could not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("failed to listen on {address}: {source}")]
    #[non_exhaustive]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the server failed: {0}")]
    Serve(std::io::Error),
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
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
        Ok(Self { listener, address })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes, and then finishes the requests in progress.
    ///
    /// # Errors
    ///
    /// [`ServerError::Serve`].
    pub async fn serve(
        self,
        application: Application,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let lifecycle = application.lifecycle().clone();
        lifecycle.enter(Stage::Serving);
        let draining = lifecycle.clone();
        let stop = async move {
            stop.await;
            draining.enter(Stage::Draining);
        };
        let serving =
            axum::serve(self.listener, router(application)).with_graceful_shutdown(stop).await;
        lifecycle.enter(Stage::Stopped);
        serving.map_err(ServerError::Serve)
    }
}
