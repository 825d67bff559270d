//! The certificate of a server and its key, which can be replaced while it serves.

use arc_swap::ArcSwap;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio_rustls::rustls::crypto;
use tokio_rustls::rustls::{self, ServerConfig};

/// The maximum size of a file: more than the longest chain that clients accept.
const MAX_SIZE: u64 = 1 << 20;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("failed to read {}: {source}", .path.display())]
    #[non_exhaustive]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file of the certificate has no certificate, or an invalid one.
    #[error(
        "failed to use the certificate {}: {reason}; expected PEM, `-----BEGIN CERTIFICATE-----`, first the server's certificate, then those of its issuers",
        .path.display()
    )]
    #[non_exhaustive]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file of the key has no key, or an invalid one.
    #[error("failed to use the private key {}: {reason}; expected PEM, `-----BEGIN PRIVATE KEY-----`", .path.display())]
    #[non_exhaustive]
    Key {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The key is encrypted.
    #[error(
        "the private key {0} is encrypted; write a key without a passphrase, for example with `openssl pkey -in {0} -out key.pem`, into a file that only the server can read",
        .path.display()
    )]
    #[non_exhaustive]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// Every user of the machine may use the file of the key.
    #[error(
        "the private key {0} can be used by every user of the machine (mode {mode:03o}); restrict it with `chmod 600 {0}`, or 640 for a group",
        .path.display()
    )]
    #[non_exhaustive]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key is that of another certificate.
    #[error(
        "the private key {} is not that of the certificate {}; its first certificate must be the server's own",
        .key.display(), .certificate.display()
    )]
    #[non_exhaustive]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

/// The certificate of a server and its key, from two PEM files. With it, a server uses TLS 1.2 and 1.3. Clones share it.
#[derive(Clone)]
pub struct Certificate(Arc<Shared>);

struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    /// Replaced as a whole, so that sessions of the previous certificate are not resumed.
    config: ArcSwap<ServerConfig>,
    refused: Arc<AtomicU64>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("certificate", &self.0.certificate)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a chain of certificates, the server's own first, and the private key of the first one. The key is not encrypted, and
    /// its file must not be accessible to every user of the machine.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], which names the file.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Ok(Self(Arc::new(Shared {
            config: ArcSwap::from_pointee(read(certificate, key)?),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            refused: Arc::default(),
        })))
    }

    /// Reads the files again. New connections use the new certificate; existing ones keep the previous one.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]; the previous certificate stays active, and the refusal is counted in the metrics.
    pub fn reload(&self) -> Result<(), CertificateError> {
        match read(&self.0.certificate, &self.0.key) {
            Ok(config) => {
                self.0.config.store(Arc::new(config));
                Ok(())
            }
            Err(error) => {
                self.0.refused.fetch_add(1, Relaxed);
                Err(error)
            }
        }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.config.load_full()
    }

    /// How often [`Self::reload`] failed.
    pub(super) fn refused(&self) -> &Arc<AtomicU64> {
        &self.0.refused
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, CertificateError> {
    let chain = read_chain(certificate)?;
    let private = read_key(key)?;
    let of_certificate =
        |reason: String| CertificateError::Certificate { path: certificate.to_owned(), reason };
    let of_key = |reason: String| CertificateError::Key { path: key.to_owned(), reason };
    // Loaded once more below; here an error can only be that of the key.
    crypto::ring::default_provider()
        .key_provider
        .load_private_key(private.clone_key())
        .map_err(|error| of_key(error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_certificate(error.to_string()))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            CertificateError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        error => of_certificate(error.to_string()),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let failed = |reason: String| CertificateError::Certificate { path: path.to_owned(), reason };
    let text = read_file(path, &open(path)?)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| failed(error.to_string()))?;
    if chain.is_empty() {
        return Err(failed("it has no certificate".to_owned()));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let file = open(path)?;
    check_permissions(path, &file)?;
    let text = read_file(path, &file)?;
    if is_encrypted(&text) {
        return Err(CertificateError::Encrypted { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => "it has no private key".to_owned(),
            error => error.to_string(),
        };
        CertificateError::Key { path: path.to_owned(), reason }
    })
}

/// Whether the text has an encrypted key: in PKCS #8, or in the older form with a header.
fn is_encrypted(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
    })
}

fn open(path: &Path) -> Result<File, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    // Opening a named pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    File::open(path).map_err(failed)
}

fn read_file(path: &Path, file: &File) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(failed(io::Error::other(format!("it is larger than {MAX_SIZE} bytes"))));
    }
    Ok(text)
}

#[cfg(unix)]
fn check_permissions(path: &Path, file: &File) -> Result<(), CertificateError> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = file.metadata();
    let found = found.map_err(|source| CertificateError::Read { path: path.to_owned(), source })?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    Err(CertificateError::Exposed { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn check_permissions(_: &Path, _: &File) -> Result<(), CertificateError> {
    Ok(())
}
