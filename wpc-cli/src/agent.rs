//! The HTTP client of commands: TLS with the certificates that are trusted, and Unix sockets.

use crate::failure::Failure;
#[cfg(unix)]
use crate::unix_socket;
use rustls::crypto;
use rustls::{CertificateError, InvalidMessage, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::Path;
use std::sync::Arc;
use ureq::Agent;
use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// The environment variable of the trusted certificates.
const CA: &str = "WPC_CA";

/// The maximum size of a file of certificates: more than those of all authorities.
const MAX_CA: u64 = 16 << 20;

/// The client for this server, and its URL for HTTP. A server is `unix:PATH` or has a URL; with HTTPS, its certificate must be issued
/// by a certificate of `ca` or WPC_CA, or otherwise by one that the system trusts.
pub(crate) fn agent(
    config: ConfigBuilder<AgentScope>,
    server: &str,
    ca: Option<&Path>,
) -> Result<(Agent, String), Failure> {
    if let Some(path) = server.strip_prefix("unix:") {
        return of_socket(config.proxy(None).build(), path);
    }
    if !server.starts_with("https://") {
        return Ok((config.build().into(), server.to_owned()));
    }
    let named = std::env::var_os(CA).filter(|path| !path.is_empty());
    let named = named.as_ref().map(Path::new);
    let trusted = match ca.or(named) {
        Some(path) => read_certificates(path)?,
        None => of_system()?,
    };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&trusted))
        .unversioned_rustls_crypto_provider(Arc::new(crypto::ring::default_provider()))
        .build();
    Ok((config.tls_config(tls).build().into(), server.to_owned()))
}

#[cfg(unix)]
fn of_socket(config: Config, path: &str) -> Result<(Agent, String), Failure> {
    // The host that the server accepts without further options.
    Ok((unix_socket::agent(config, path.into()), "http://localhost".to_owned()))
}

#[cfg(not(unix))]
fn of_socket(_: Config, path: &str) -> Result<(Agent, String), Failure> {
    Err(Failure::usage(format!("unix:{path}: this system has no Unix sockets")))
}

/// The certificates of a PEM file, each of which can be trusted.
fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let failed = |reason: &dyn std::fmt::Display| {
        Failure::environment(format!(
            "failed to read the trusted certificates {}: {reason}",
            path.display()
        ))
    };
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !size.is_file() || size.len() > MAX_CA {
        return Err(failed(&format!("expected a file of at most {MAX_CA} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| failed(&error))?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store.add(certificate.clone()).map_err(|error| failed(&error))?;
    }
    if found.is_empty() {
        return Err(failed(&"it has no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(found.iter().map(|found| Certificate::from_der(found).to_owned()).collect())
}

/// The certificates that the system trusts.
fn of_system() -> Result<Vec<Certificate<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(Failure::environment(format!(
            "the system has no trusted certificates{reason}; name those of the server's issuer with `--ca FILE` or {CA}"
        )));
    }
    Ok(found.certs.iter().map(|found| Certificate::from_der(found).to_owned()).collect())
}

/// Why a server cannot be reached, and the remedy.
pub(crate) fn reason(error: &ureq::Error) -> String {
    let hint = match (error, of_tls(error)) {
        (_, Some(rustls::Error::InvalidCertificate(error))) => return of_certificate(error),
        (_, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))) => {
            "it does not use TLS; use an `http://` URL instead of `https://`"
        }
        (ureq::Error::Protocol(_), _) => {
            "it does not use HTTP at this address; if it uses TLS, use an `https://` URL"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {hint}")
}

/// Why the certificate of a server is not accepted. Most errors of the library have no text.
fn of_certificate(error: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, Other, UnknownIssuer,
    };
    let text = match error {
        NotValidForName | NotValidForNameContext { .. } => {
            return format!("{error}; use a name or address that the certificate contains");
        }
        Expired | ExpiredContext { .. } => {
            "its certificate has expired; the server needs a new certificate"
        }
        NotValidYet | NotValidYetContext { .. } => {
            "its certificate is not valid yet; the clock of this machine may be wrong"
        }
        // The latter if a trusted certificate has the name of the issuer, and another key.
        UnknownIssuer | BadSignature => {
            "its certificate was not issued by a trusted authority; if the server is yours, name the certificate of its issuer with `--ca FILE` or WPC_CA"
        }
        // The error of the library below, which this crate does not depend on.
        Other(_) if error.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority (CA:TRUE), which servers cannot use; create one for the server, with OpenSSL by `-addext basicConstraints=critical,CA:FALSE`"
        }
        _ => {
            return format!(
                "its certificate is invalid ({error}); if the server is yours, name the certificate of its issuer with `--ca FILE` or WPC_CA"
            );
        }
    };
    text.to_owned()
}

/// The TLS error inside another error.
fn of_tls(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}
