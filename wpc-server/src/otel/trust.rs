//! Which collectors are trusted, if the export uses TLS.

use super::OpenTelemetryError;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The maximum size of a file of certificates: more than those of all authorities.
const MAX_SIZE: u64 = 16 << 20;

/// The TLS settings for a signal: collectors whose certificate is issued by one in the file that `OTEL_EXPORTER_OTLP_CERTIFICATE` or the
/// signal's own variable names, and without them by one that the system trusts.
pub(super) fn tls(signal: &str) -> Result<TlsConfig, OpenTelemetryError> {
    let named = [
        format!("OTEL_EXPORTER_OTLP_{signal}_CERTIFICATE"),
        "OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
    ];
    let named = named.into_iter().find_map(|variable| {
        let path = std::env::var_os(&variable).filter(|path| !path.is_empty())?;
        Some((variable, path))
    });
    let trusted = match named {
        Some((variable, path)) => read(Path::new(&path)).map_err(|reason| {
            OpenTelemetryError::Certificate { variable, path: path.into(), reason }
        })?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let trusted: Vec<_> =
        trusted.iter().map(|found| Certificate::from_der(found).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&trusted))
        .unversioned_rustls_crypto_provider(Arc::new(crypto::ring::default_provider()))
        .build())
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !file.is_file() || file.len() > MAX_SIZE {
        return Err(format!("expected a file of at most {MAX_SIZE} bytes"));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| error.to_string())?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    if found.is_empty() {
        return Err("it has no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    Ok(found)
}
