//! Where a server listens, and its certificate, as options.

use crate::failure::Failure;
use crate::option_values;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use wpc_server::{Certificate, ListenAddress, Server, ServerError};

#[derive(clap::Args)]
pub(crate) struct ListenOptions {
    /// Address and port to listen on; port 0 chooses a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7071", value_parser = option_values::address)]
    listen: SocketAddr,
    /// Serve the administrative API only at this address and port, or at the Unix socket `unix:PATH`. This address also serves
    /// everything else.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<ListenAddress>,
    /// Serve HTTPS with the server's certificate in this PEM file, followed by the intermediate certificates. It is read again at
    /// SIGHUP.
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// The private key of the certificate, in a PEM file that other users cannot read.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl ListenOptions {
    /// Opens the certificate, if there is one.
    pub(crate) fn certificate(&self) -> Result<Option<Certificate>, Failure> {
        match (&self.tls_certificate, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Certificate::open(certificate, key)
                .map(Some)
                .map_err(|error| Failure::environment(error.to_string())),
            (Some(_), None) => Err(Failure::usage("`--tls-certificate` needs `--tls-key FILE`")),
            (None, Some(_)) => Err(Failure::usage("`--tls-key` needs `--tls-certificate FILE`")),
        }
    }

    /// Binds the addresses.
    pub(crate) async fn bind(&self, certificate: Option<Certificate>) -> Result<Server, Failure> {
        let bound = Server::bind(self.listen).await;
        let mut server = bound.map_err(|error| not_bound(&error, "--listen"))?;
        if let Some(address) = &self.admin_listen {
            let bound = server.administration(address).await;
            server = bound.map_err(|error| not_bound(&error, "--admin-listen"))?;
        }
        Ok(match certificate {
            Some(certificate) => server.certificate(certificate),
            None => server,
        })
    }
}

/// The failure to bind the address of an option.
fn not_bound(error: &ServerError, option: &str) -> Failure {
    let remedy = match error {
        ServerError::Listen { address: ListenAddress::Ip(address), source, .. }
            if source.kind() == ErrorKind::AddrInUse =>
        {
            let free = SocketAddr::new(address.ip(), 0);
            format!("; choose another port with `{option}`, or any free one with `{option} {free}`")
        }
        _ => String::new(),
    };
    Failure::environment(format!("{error}{remedy}"))
}

/// Reads the certificate again. If it cannot be used, the previous one stays active.
pub(crate) fn reload(certificate: &Certificate) -> Result<(), Failure> {
    certificate.reload().map_err(|error| {
        let message = format!("update rejected; the previous certificate stays active: {error}");
        Failure::environment(message)
    })
}
