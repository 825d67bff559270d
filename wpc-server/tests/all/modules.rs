//! Uploads of modules.

use crate::deployed::{file_of, serve, serve_limited, version};
use crate::harness::guest_bytes;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};
use wpc_host::{FunctionHash, Sha256Hash};

/// The names of the stored files.
fn files(data: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(data.join("modules")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_uploaded_module_is_described() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let module = guest_bytes("sdk");
    let answer = server.upload(&module);
    assert_eq!(answer.status, 201, "{answer:?}");
    let described = answer.json();
    assert_eq!(described["hash_sha1"], json!(FunctionHash::of(&module)));
    let hash = Sha256Hash::of(&module);
    assert_eq!(
        (&described["hash_sha256"], &described["size"]),
        (&json!(hash), &json!(module.len()))
    );
    let functions = described["functions"].as_array().unwrap();
    assert!(functions.iter().any(|function| function["name"] == "add"), "{described}");
    assert_eq!(files(data.path()), [file_of(&module)]);
    assert_eq!(server.get(&format!("/v1/modules/{hash}"), &[]).json(), described);
    assert_eq!(server.upload(&module).status, 200, "it is stored already");
    let unknown = Sha256Hash::of(b"unknown");
    assert_eq!(server.get(&format!("/v1/modules/{unknown}"), &[]).status, 404);
}

#[test]
fn an_upload_that_is_not_the_expected_module_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let module = version(1);
    for (body, code) in [
        (b"".as_slice(), "not_wasm"),
        (b"GIF89a", "not_wasm"),
        (&module[..4], "not_wasm"),
        (&module[..module.len() - 2], "module_refused"),
    ] {
        let answer = server.upload(body);
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!(code)), "{answer:?}");
    }
    let path = format!("/v1/modules?sha256={}", Sha256Hash::of(b"other"));
    let answer = server.post(&path, &[], &module);
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("sha256_mismatch")));
    assert_eq!(server.post("/v1/modules?sha256=abc", &[], &module).status, 400);
    assert_eq!(files(data.path()), [""; 0]);
}

#[test]
fn an_upload_that_is_too_large_is_refused_before_it_arrives() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream
        .write_all(
            b"POST /v1/modules HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9999999999\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn an_incomplete_upload_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let module = version(1);
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /v1/modules HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n",
        module.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&module[..module.len() / 2]).unwrap();
    let wait_for = |expected: usize| {
        let begun = Instant::now();
        while files(data.path()).len() != expected {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", files(data.path()));
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait_for(1);
    drop(stream);
    wait_for(0);
    assert_eq!(server.upload(&module).status, 201);
}

#[test]
fn an_upload_that_stalls_is_ended_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = serve_limited(data.path(), |limits| {
        limits.body_timeout = Duration::from_millis(1);
    });
    let module = version(1);
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /v1/modules HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n",
        module.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&module[..module.len() / 2]).unwrap();
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    crate::harness::eventually("the removal", || files(data.path()).is_empty());
    // Without the limit, which an upload that waits for its turn may reach too.
    drop(server);
    let server = serve(data.path());
    assert_eq!(server.upload(&module).status, 201);
}
