//! The listeners of a server: TCP and Unix sockets.

use super::address::ListenAddress;
#[cfg(unix)]
use super::socket_file::{self, SocketFile};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// A bound listener.
#[derive(Debug)]
pub(super) enum Listener {
    Ip(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        /// Removed with the listener.
        _file: SocketFile,
    },
}

/// An accepted connection.
pub(super) enum Accepted {
    Ip(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// Binds the address, and returns the one that was chosen.
    pub(super) async fn bind(address: &ListenAddress) -> io::Result<(Self, ListenAddress)> {
        match address {
            ListenAddress::Ip(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                Ok((Self::Ip(listener), address.into()))
            }
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let (listener, file) = socket_file::bind(path)?;
                Ok((Self::Unix { listener, _file: file }, address.clone()))
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Ip(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Ip(stream, address))
            }
            #[cfg(unix)]
            Self::Unix { listener, .. } => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Accepted {
    /// The IP address of the client.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(_, address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// Writes what fits the empty buffer of a new connection.
    pub(super) fn write(&self, bytes: &[u8]) {
        // The client may be gone.
        let _ = match self {
            Self::Ip(stream, _) => stream.try_write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write(bytes),
        };
    }
}
