//! Connections with TLS, and the certificate of a server.

use crate::harness::{Running, eventually};
use crate::raw::{Connection, add};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion, version,
};
use wpc_server::{Application, Certificate, CertificateError, ConnectionLimits};

const HOST: &str = "host: localhost\r\n";

/// A certificate for `localhost` that is its own issuer.
fn generate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap()
}

/// The files of a certificate.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn of(pair: &CertifiedKey<KeyPair>) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.write(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        files
    }

    fn write(&self, certificate: &str, key: &str) {
        fs::write(self.certificate(), certificate).unwrap();
        fs::write(self.key(), key).unwrap();
        self.set_mode(0o600);
    }

    fn set_mode(&self, _mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(self.key(), fs::Permissions::from_mode(_mode)).unwrap();
        }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn open(&self) -> Result<Certificate, CertificateError> {
        Certificate::open(&self.certificate(), &self.key())
    }
}

/// A server with this certificate, whose client trusts it.
fn serve(
    pair: &CertifiedKey<KeyPair>,
    certificate: Certificate,
    limits: ConnectionLimits,
) -> Running {
    Running::with(
        |wpc| Application::new(Arc::new(wpc)),
        |server| server.certificate(certificate).limits(limits),
    )
    .trusting(&pair.cert.pem())
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A connection of its own with this version of TLS, after its handshake.
fn connect(
    server: &Running,
    trusted: &[&CertifiedKey<KeyPair>],
    version: &'static SupportedProtocolVersion,
) -> Secure {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.cert.der().clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = Connection::open(server).0;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    StreamOwned::new(connection, stream)
}

/// Calls a function over the connection.
fn call(stream: &mut Secure) {
    stream.write_all(add(HOST).as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n42") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

/// The certificate that the server presented.
fn presented(stream: &Secure) -> &CertificateDer<'static> {
    &stream.conn.peer_certificates().unwrap()[0]
}

#[test]
fn calls_are_served_over_https() {
    let pair = generate();
    let server = serve(&pair, Files::of(&pair).open().unwrap(), ConnectionLimits::default());
    assert!(server.url.starts_with("https://"), "{}", server.url);
    assert_eq!(server.call("add", &json!([40, 2])).json(), 42);
    let items = server.post(
        "/v1/functions/lines/call",
        &[("content-type", "application/json"), ("accept", "application/jsonl")],
        b"[\"a\\nb\"]",
    );
    assert!(items.body.starts_with(b"{\"item\":\"a\"}\n{\"item\":\"b\"}\n"), "{items:?}");
}

#[test]
fn clients_may_use_tls_1_2_and_1_3() {
    let pair = generate();
    let server = serve(&pair, Files::of(&pair).open().unwrap(), ConnectionLimits::default());
    for (supported, expected) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut stream = connect(&server, &[&pair], supported);
        call(&mut stream);
        call(&mut stream);
        assert_eq!(stream.conn.protocol_version(), Some(expected));
    }
}

#[test]
fn a_large_body_and_its_answer_pass_through_tls() {
    let pair = generate();
    let server = serve(&pair, Files::of(&pair).open().unwrap(), ConnectionLimits::default());
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let kind = "application/octet-stream";
    let headers = [("content-type", kind), ("accept", kind)];
    let answer = server.post("/v1/functions/echo_bytes/call", &headers, &body);
    assert_eq!((answer.status, answer.body == body), (200, true));
}

#[test]
fn a_client_without_tls_is_answered_that_the_address_expects_it() {
    let pair = generate();
    let server = serve(&pair, Files::of(&pair).open().unwrap(), ConnectionLimits::default());
    let mut plain = Connection::open(&server);
    plain.send(add(HOST));
    let rest = plain.rest();
    assert!(rest.starts_with("http/1.1 400 ") && rest.contains("`https://`"), "{rest}");
    eventually("the count of the handshake", || server.traffic.failed_handshakes() == 1);
}

#[test]
fn new_connections_use_a_new_certificate_and_existing_ones_continue() {
    let (old, new) = (generate(), generate());
    let files = Files::of(&old);
    let certificate = files.open().unwrap();
    let server = serve(&old, certificate.clone(), ConnectionLimits::default());
    let trusted = [&old, &new];
    let mut first = connect(&server, &trusted, &version::TLS13);
    assert_eq!(presented(&first), old.cert.der());
    files.write(&new.cert.pem(), &new.signing_key.serialize_pem());
    certificate.reload().unwrap();
    assert_eq!(presented(&connect(&server, &trusted, &version::TLS13)), new.cert.der());
    assert_eq!(presented(&connect(&server, &trusted, &version::TLS12)), new.cert.der());
    call(&mut first);
}

#[test]
fn a_pair_that_cannot_be_used_is_refused_and_counted_and_the_previous_one_stays() {
    let (old, new) = (generate(), generate());
    let files = Files::of(&old);
    let certificate = files.open().unwrap();
    let server = serve(&old, certificate.clone(), ConnectionLimits::default());
    // The new certificate is there, its key is not yet.
    files.write(&new.cert.pem(), &old.signing_key.serialize_pem());
    assert!(matches!(certificate.reload(), Err(CertificateError::Mismatch { .. })));
    fs::remove_file(files.key()).unwrap();
    assert!(matches!(certificate.reload(), Err(CertificateError::Read { .. })));
    let mut stream = connect(&server, &[&old], &version::TLS13);
    assert_eq!(presented(&stream), old.cert.der());
    call(&mut stream);
    let metrics = server.get("/metrics", &[]);
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("\nwpc_tls_refused_certificates_total 2\n"), "{metrics}");
}

#[test]
fn a_handshake_that_is_not_completed_is_ended_at_its_limit() {
    let pair = generate();
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_millis(1);
    let server = serve(&pair, Files::of(&pair).open().unwrap(), limits);
    let mut silent = Connection::open(&server);
    let mut partial = Connection::open(&server);
    // The beginning of a record.
    partial.send([22, 3, 1, 2, 0, 1]);
    assert_eq!((silent.rest().as_str(), partial.rest().as_str()), ("", ""));
    eventually("the count of both handshakes", || server.traffic.failed_handshakes() == 2);
    server.wait_for_connections(0);
}

#[test]
fn a_handshake_counts_as_a_connection_and_delays_no_other_client() {
    let pair = generate();
    let mut limits = ConnectionLimits::default();
    limits.max_connections = 2;
    // The stalled handshake ends with its client.
    limits.header_timeout = Duration::from_secs(3600);
    let server = serve(&pair, Files::of(&pair).open().unwrap(), limits);
    let stalled = Connection::open(&server);
    server.wait_for_connections(1);
    let mut second = connect(&server, &[&pair], &version::TLS13);
    call(&mut second);
    // Without an answer, which a client with TLS could not read.
    assert_eq!(Connection::open(&server).rest(), "");
    assert_eq!(server.traffic.refused_connections(), 1);
    drop((stalled, second));
    server.wait_for_connections(0);
    call(&mut connect(&server, &[&pair], &version::TLS13));
    // A client that disconnects before it sends anything, such as a probe of a load balancer, is not a failure.
    assert_eq!(server.traffic.failed_handshakes(), 0);
}

#[test]
fn bytes_that_are_not_a_tls_greeting_end_the_handshake_before_its_limit() {
    let pair = generate();
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_secs(3600);
    let server = serve(&pair, Files::of(&pair).open().unwrap(), limits);
    let mut hostile = Connection::open(&server);
    // A record of a handshake that is empty.
    hostile.send([22, 3, 1, 0, 0]);
    eventually("the count of the handshake", || server.traffic.failed_handshakes() == 1);
    server.wait_for_connections(0);
    call(&mut connect(&server, &[&pair], &version::TLS13));
}

#[test]
fn errors_of_the_files_name_the_file_and_the_remedy() {
    let (one, other) = (generate(), generate());
    let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let files = Files::of(&one);
    let error = || files.open().unwrap_err().to_string();
    let named = |path: PathBuf| path.display().to_string();
    for (found_certificate, found_key, file, expected) in [
        ("", &*key, files.certificate(), "it has no certificate"),
        (&*key, &*key, files.certificate(), "it has no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n", &*key, files.certificate(), "missing section end"),
        (
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
            &*key,
            files.certificate(),
            "expected PEM",
        ),
        (&*certificate, "", files.key(), "it has no private key"),
        (&*certificate, &*certificate, files.key(), "it has no private key"),
        (
            &*certificate,
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
            files.key(),
            "expected PEM",
        ),
        (
            &*certificate,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
            files.key(),
            "is encrypted; write a key without a passphrase",
        ),
        (
            &*certificate,
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n-----END RSA PRIVATE KEY-----\n",
            files.key(),
            "openssl pkey",
        ),
        (
            &*certificate,
            &*other.signing_key.serialize_pem(),
            files.key(),
            "is not that of the certificate",
        ),
    ] {
        files.write(found_certificate, found_key);
        let error = error();
        assert!(error.contains(expected) && error.contains(&named(file)), "{expected}: {error}");
    }
    fs::remove_file(files.certificate()).unwrap();
    assert!(error().contains(&format!("failed to read {}", named(files.certificate()))));
}

#[cfg(unix)]
#[test]
fn a_key_that_every_user_can_read_is_refused() {
    let pair = generate();
    let files = Files::of(&pair);
    files.set_mode(0o644);
    let error = files.open().unwrap_err().to_string();
    let expected = format!("(mode 644); restrict it with `chmod 600 {}`", files.key().display());
    assert!(error.contains(&expected), "{error}");
    files.set_mode(0o640);
    files.open().unwrap();
}
