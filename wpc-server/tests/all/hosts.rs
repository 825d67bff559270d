//! Which hosts and origins are accepted.

use crate::harness::Running;
use crate::raw::{Connection, add};
use std::sync::Arc;
use wpc_server::{AccessSettings, Application, Server, ServerError};

fn allowing(host: &str, origin: &str) -> Running {
    let mut settings = AccessSettings::default();
    settings.allowed_hosts = vec![host.to_owned()];
    settings.allowed_origins = vec![origin.to_owned()];
    Running::of(|wpc| Application::builder(Arc::new(wpc)).access(&settings).build())
}

fn answer(server: &Running, request: impl AsRef<[u8]>) -> (String, String) {
    let mut connection = Connection::open(server);
    connection.send(request);
    connection.answer()
}

#[test]
fn another_domain_is_refused_as_protection_from_dns_rebinding() {
    let server = allowing("wpc.example", "https://app.example");
    let (head, body) = answer(&server, add("host: evil.example\r\n"));
    assert!(head.starts_with("http/1.1 421 "), "{head}");
    assert!(body.contains("--allow-host evil.example"), "{body}");
    for host in ["wpc.example", "localhost:7071", "127.0.0.1", "[::1]:80"] {
        let (head, body) = answer(&server, add(&format!("host: {host}\r\n")));
        assert!(head.starts_with("http/1.1 200 ") && body == "42", "{head}{body}");
    }
}

#[test]
fn a_request_without_a_host_or_with_two_is_refused() {
    let server = Running::start();
    for headers in [
        "",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: \r\n",
        "host: [::1].evil.example\r\n",
        "host: user@localhost\r\n",
        "host: localhost:99999\r\n",
    ] {
        let (head, _) = answer(&server, add(headers));
        assert!(head.starts_with("http/1.1 400 "), "{headers}: {head}");
    }
}

#[test]
fn a_page_of_another_origin_is_refused_unless_it_is_allowed() {
    let server = allowing("wpc.example", "https://app.example");
    let (head, body) = answer(&server, add("host: localhost\r\norigin: https://evil.example\r\n"));
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    assert!(body.contains("--allow-origin https://evil.example"), "{body}");
    let (head, body) = answer(&server, add("host: localhost\r\norigin: http://localhost\r\n"));
    assert!(head.starts_with("http/1.1 200 ") && body == "42", "{head}");
    assert!(!head.contains("access-control"), "{head}");
    let (head, body) = answer(&server, add("host: localhost\r\norigin: https://app.example\r\n"));
    assert!(head.starts_with("http/1.1 200 ") && body == "42", "{head}");
    assert!(head.contains("access-control-allow-origin: https://app.example"), "{head}");
}

#[test]
fn a_preflight_request_of_an_allowed_origin_is_accepted() {
    let server = allowing("wpc.example", "https://app.example");
    let ask = |origin: &str| {
        let asked = "access-control-request-method: POST\r\n";
        answer(
            &server,
            format!(
                "OPTIONS /v1/functions/add/call HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n{asked}\r\n"
            ),
        )
    };
    let (head, _) = ask("https://app.example");
    assert!(head.starts_with("http/1.1 204 "), "{head}");
    assert!(head.contains("access-control-allow-methods: get, post"), "{head}");
    assert!(head.contains("access-control-allow-headers: accept, authorization"), "{head}");
    assert!(ask("https://evil.example").0.starts_with("http/1.1 403 "));
}

#[test]
fn other_machines_are_not_served_without_tokens() {
    let server = Running::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let serve = |settings: &AccessSettings| {
        let backend = Arc::new(server.wpc.clone());
        let application = Application::builder(backend).access(settings).build();
        runtime.block_on(async {
            let server = Server::bind(([0, 0, 0, 0], 0).into()).await.unwrap();
            server.serve(application, async {}).await
        })
    };
    let refused = serve(&AccessSettings::default()).unwrap_err();
    assert!(matches!(refused, ServerError::Open { .. }), "{refused}");
    let mut settings = AccessSettings::default();
    settings.is_insecure = true;
    serve(&settings).unwrap();
}
