//! A server whose administration has an address of its own.

use crate::harness::Running;
use crate::raw::Connection;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use wpc_server::{Application, ConnectionLimits};

/// A server with such an address, and the URL of the administration.
fn serve(limits: ConnectionLimits) -> (Running, String) {
    let mut url = None;
    let server = Running::with(
        |wpc| Application::new(Arc::new(wpc)),
        |server| {
            let any = SocketAddr::from(([127, 0, 0, 1], 0)).into();
            let server = pollster::block_on(server.limits(limits).administration(&any)).unwrap();
            url = server.administration_url();
            server
        },
    );
    (server, url.unwrap())
}

#[test]
fn the_administration_is_served_only_at_its_address() {
    let (mut server, admin) = serve(ConnectionLimits::default());
    let requests = [
        ("GET", "/v1/deployment", 409),
        ("GET", "/v1/revisions", 409),
        ("GET", "/v1/revisions/1", 409),
        ("POST", "/v1/modules", 409),
        ("POST", "/v1/active", 409),
        ("POST", "/v1/rollback", 409),
        ("GET", "/v1/tokens", 404),
        ("DELETE", "/v1/tokens/ada", 404),
        ("POST", "/v1/functions/add/revive", 200),
    ];
    let public = server.url.clone();
    for (method, path, status) in requests {
        let json = [("content-type", "application/json")];
        let body =
            if method == "POST" { json!({ "revision": 1 }).to_string() } else { String::new() };
        server.url.clone_from(&public);
        let refused = server.request(method, path, &json, body.as_bytes());
        assert_eq!((refused.status, &refused.json()["code"]), (404, &json!("not_found")), "{path}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("`--admin-listen`"));
        server.url.clone_from(&admin);
        let answer = server.request(method, path, &json, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_ne!(answer.json()["code"], "not_found", "{path}");
    }
    for url in [public, admin] {
        server.url = url;
        assert_eq!(server.call("add", &json!([40, 2])).json(), 42);
        for path in ["/readyz", "/metrics", "/", "/v1/functions", "/openapi.json", "/v1/events"] {
            assert_eq!(server.get(path, &[]).status, 200, "{path}");
        }
    }
}

#[test]
fn clients_at_one_address_leave_connections_and_requests_to_the_administration() {
    let mut limits = ConnectionLimits::default();
    (limits.max_connections, limits.max_requests) = (1, 1);
    let (mut server, admin) = serve(limits);
    let mut busy = Connection::open(&server);
    busy.send(
        "POST /v1/functions/add/call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7\r\n\r\n",
    );
    server.wait_for_requests(1);
    assert!(Connection::open(&server).rest().starts_with("http/1.1 503 "));
    server.url = admin;
    assert_eq!(server.call("add", &json!([40, 2])).json(), 42);
    busy.send("[40, 2]");
    assert_eq!(busy.answer().1, "42");
}
