//! `wpc serve` with a certificate, and the commands that use such a server.

use crate::process::{command, run, shell, wpc};
use crate::running::{Running, TIMEOUT};
use crate::serving::serve;
use crate::signals::{manifest, signal};
use crate::support::{err, fails_with, out, root};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

/// An authority that issues certificates, and the folder of its files and of a server's.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        // Authorities with the same name would be taken for one.
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().display().to_string();
        Self::in_folder(folder, name)
    }

    fn named(name: String) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), name)
    }

    fn in_folder(folder: tempfile::TempDir, name: String) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let authority = Self { folder, issuer };
        authority.issue_to(authority.path("server.pem"), authority.path("key.pem"));
        authority
    }

    fn name(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Issues a certificate to these files.
    fn issue_to(&self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) {
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let issued = params.signed_by(&pair, &self.issuer).unwrap();
        std::fs::write(certificate, issued.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A server with a certificate of the authority, and its URL.
fn serve_securely(authority: &Authority, options: &[&str]) -> (Running, String) {
    let manifest = manifest(authority.folder.path(), "50ms");
    let (certificate, key) = (authority.path("server.pem"), authority.path("key.pem"));
    let arguments = ["--json", "serve", &manifest, "--listen", "127.0.0.1:0"];
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let running = Running::start(&[&arguments[..], &tls, options].concat());
    let ready: Value = serde_json::from_str(&running.wait_for_line("ready", "")).unwrap();
    let url = ready["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://"), "{url}");
    (running, url)
}

#[test]
fn commands_use_a_server_over_https_whose_issuer_they_trust() {
    let authority = Authority::new();
    let (_running, url) = serve_securely(&authority, &[]);
    let ca = authority.path("ca.pem");
    let output = wpc(&["call", "--server", &url, "--ca", &ca, "add", "40", "2"]);
    assert_eq!(out(&output), "42\n", "{}", err(&output));
    let output = run(command(&["logs", "--server", &url]).env("WPC_CA", &ca));
    assert!(output.status.success(), "{}", err(&output));
    let output = wpc(&["health", &url, "--ca", &ca, "--timeout", "60s"]);
    assert_eq!(out(&output).lines().last(), Some("ok"), "{}", err(&output));
    let other = Authority::new().path("ca.pem");
    // Its folder is gone.
    let found = fails_with(1, &wpc(&["health", &url, "--ca", &other]));
    assert!(found.contains(&other), "{found}");
}

#[test]
fn an_issuer_that_is_not_trusted_is_reported_with_the_remedy() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_running, url) = serve_securely(&authority, &[]);
    let ca = other.path("ca.pem");
    for arguments in [["call", "--server", &url, "add"], ["health", &url, "--timeout", "60s"]] {
        let found = fails_with(1, &run(command(&arguments).env("WPC_CA", &ca)));
        assert!(found.contains("was not issued by a trusted authority; if"), "{found}");
        assert!(found.contains("`--ca FILE`"), "{found}");
    }
    // An authority with the same name and another key.
    let same = Authority::named(authority.name());
    let ca = same.path("ca.pem");
    let found = fails_with(1, &wpc(&["health", &url, "--ca", &ca, "--timeout", "60s"]));
    assert!(found.contains("was not issued by a trusted authority; if"), "{found}");
    // A certificate for an IP address is not valid for a host name.
    let url = url.replace("127.0.0.1", "localhost");
    let ca = authority.path("ca.pem");
    let found = fails_with(1, &wpc(&["health", &url, "--ca", &ca, "--timeout", "60s"]));
    assert!(found.contains("use a name or address that the certificate contains"), "{found}");
}

/// Creates a certificate for `localhost` with the command of the server's manual, and these other arguments.
fn self_signed(folder: &Path, but: &str) -> bool {
    let manual = std::fs::read_to_string(root("docs/server.md")).unwrap();
    let line = manual.lines().find_map(|line| line.strip_prefix("$ openssl req ")).unwrap();
    let line = format!("openssl req {}", line.replace("wpc.example", "localhost").replace(but, ""));
    run(shell(&line, &[]).current_dir(folder)).status.success()
}

#[test]
fn a_self_signed_certificate_is_trusted_unless_it_is_that_of_an_authority() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    for (but, is_trusted) in
        [("none", true), (" -addext basicConstraints=critical,CA:FALSE", false)]
    {
        let authority = Authority::new();
        assert!(self_signed(authority.folder.path(), but));
        let (_running, url) = serve_securely(&authority, &[]);
        let url = url.replace("127.0.0.1", "localhost");
        let ca = authority.path("server.pem");
        let health = wpc(&["health", &url, "--ca", &ca, "--timeout", "60s"]);
        if is_trusted {
            assert!(health.status.success(), "{}", err(&health));
        } else {
            let found = fails_with(1, &health);
            assert!(found.contains(but.trim()) && !found.contains("Other("), "{found}");
        }
    }
}

#[test]
fn the_wrong_scheme_is_named() {
    let authority = Authority::new();
    let (_running, url) = serve_securely(&authority, &[]);
    let plain = url.replace("https://", "http://");
    let found = fails_with(2, &wpc(&["call", "--server", &plain, "add", "1", "2"]));
    assert!(found.contains("name the server with `https://`"), "{found}");
    let (_running, address) = serve(authority.folder.path(), "50ms", &[]);
    let ca = authority.path("ca.pem");
    let secure = format!("https://{address}");
    let found = fails_with(1, &wpc(&["call", "--server", &secure, "--ca", &ca, "add", "1", "2"]));
    assert!(found.contains("use an `http://` URL"), "{found}");
}

/// Asks until the server presents a certificate of this authority.
fn wait_until_trusted(url: &str, authority: &Authority) {
    let deadline = Instant::now() + TIMEOUT;
    let ca = authority.path("ca.pem");
    while !wpc(&["health", url, "--ca", &ca]).status.success() {
        assert!(Instant::now() < deadline, "the certificate was not replaced");
    }
}

#[test]
fn sighup_replaces_the_certificate_and_refuses_one_that_cannot_be_used() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (mut running, url) = serve_securely(&authority, &[]);
    std::fs::write(authority.path("key.pem"), "").unwrap();
    signal(&running, "HUP");
    let line = loop {
        let line = running.notice();
        if line.contains("update rejected") {
            break line;
        }
    };
    assert!(line.contains("the previous certificate stays active"), "{line}");
    assert!(line.contains("it has no private key"), "{line}");
    wait_until_trusted(&url, &authority);
    other.issue_to(authority.path("server.pem"), authority.path("key.pem"));
    signal(&running, "HUP");
    wait_until_trusted(&url, &other);
    signal(&running, "TERM");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn problems_of_the_certificate_are_reported_at_the_start() {
    let authority = Authority::new();
    let (certificate, key) = (authority.path("server.pem"), authority.path("key.pem"));
    let serve = |options: &[&str]| wpc(&[&["serve", "--listen", "127.0.0.1:0"], options].concat());
    let found = fails_with(2, &serve(&["--tls-certificate", &certificate]));
    assert!(found.contains("`--tls-key FILE`"), "{found}");
    let found = fails_with(2, &serve(&["--tls-key", &key]));
    assert!(found.contains("`--tls-certificate FILE`"), "{found}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o604)).unwrap();
    let pair = ["--tls-certificate", &certificate, "--tls-key", &key];
    let found = fails_with(1, &serve(&pair));
    assert!(found.contains(&format!("chmod 600 {key}")), "{found}");
    std::fs::remove_file(PathBuf::from(&key)).unwrap();
    assert!(fails_with(1, &serve(&pair)).contains(&format!("failed to read {key}")));
}

/// A collector with a certificate of the authority: the first lines of the requests that it answers.
fn collector(authority: &Authority) -> (String, Receiver<String>) {
    let (certificate, key) = (authority.path("server.pem"), authority.path("key.pem"));
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        );
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // Far more than the exporter sends in a test.
    let (sender, received) = sync_channel(1_000);
    #[expect(clippy::disallowed_methods, reason = "ends with the process of the tests")]
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let (mut stream, sender) = (StreamOwned::new(connection, stream), sender.clone());
            #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
            std::thread::spawn(move || while answer(&mut stream, &sender).is_some() {});
        }
    });
    (url, received)
}

/// Answers the next request of a connection.
fn answer(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    sender: &SyncSender<String>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    stream.read_exact(&mut vec![0; length.parse().ok()?]).ok()?;
    sender.send(head.lines().next()?.to_owned()).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    stream.flush().ok()
}

#[test]
fn traces_and_metrics_are_exported_over_https_to_a_collector_that_is_trusted() {
    let authority = Authority::new();
    let (collector, received) = collector(&authority);
    let manifest = manifest(authority.folder.path(), "50ms");
    let mut serve = command(&["--json", "serve", &manifest, "--listen", "127.0.0.1:0"]);
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector);
    serve.env("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.path("ca.pem"));
    // Soon, because the last export at the stop is abandoned after 2 seconds.
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "100").env("OTEL_METRIC_EXPORT_INTERVAL", "100");
    serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::of(serve.spawn().unwrap());
    let ready: Value = serde_json::from_str(&running.wait_for_line("ready", "")).unwrap();
    let url = ready["url"].as_str().unwrap();
    let output = wpc(&["call", "--server", url, "add", "40", "2"]);
    assert_eq!(out(&output), "42\n", "{}", err(&output));
    let mut expected = BTreeSet::from(["post /v1/traces http/1.1", "post /v1/metrics http/1.1"]);
    while !expected.is_empty() {
        let line = received.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("{expected:?}"));
        expected.remove(line.as_str());
    }
    signal(&running, "TERM");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn certificates_for_collectors_that_cannot_be_used_are_reported_at_the_start() {
    let authority = Authority::new();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1");
    let key = authority.path("key.pem");
    serve.env("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", &key);
    let found = fails_with(2, &run(&mut serve));
    assert!(found.contains("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"), "{found}");
    assert!(found.contains(&key) && found.contains("it has no certificate"), "{found}");
}
