//! Tokens: what they allow, and how they end.

use crate::harness::{Answer, Running};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use wpc_server::{
    Application, Audit, NewToken, Server, Store, Timestamp, TokenError, TokenInformation, Tokens,
    add_token_to_file,
};

/// A server with tokens in a data folder.
pub(crate) struct Guarded {
    pub(crate) server: Running,
    pub(crate) tokens: Tokens,
    pub(crate) folder: TempDir,
}

impl Guarded {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::of_store(Store::open(folder.path()).unwrap()).unwrap();
        Self::with(tokens, folder)
    }

    /// A server with these tokens, whose audit log is in the folder.
    pub(crate) fn with(tokens: Tokens, folder: TempDir) -> Self {
        let audit = Audit::open(folder.path()).unwrap();
        let server = Running::of(|wpc| {
            let builder = Application::builder(Arc::new(wpc));
            builder.tokens(tokens.clone()).audit(audit).build()
        });
        Self { server, tokens, folder }
    }

    /// A token with these scopes.
    pub(crate) fn token(&self, name: &str, scopes: &[&str]) -> String {
        self.create(name, scopes, |_| {}).1
    }

    pub(crate) fn create(
        &self,
        name: &str,
        scopes: &[&str],
        set: impl FnOnce(&mut NewToken),
    ) -> (TokenInformation, String) {
        let (information, text) = self.tokens.create(new(name, scopes, set)).unwrap();
        (information, text.as_str().to_owned())
    }

    pub(crate) fn add(&self, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        self.add_with(&[("authorization", &authorization)])
    }

    fn add_with(&self, headers: &[(&str, &str)]) -> Answer {
        self.server.post("/v1/functions/add/call", headers, b"[40, 2]")
    }
}

pub(crate) fn new(name: &str, scopes: &[&str], set: impl FnOnce(&mut NewToken)) -> NewToken {
    let mut new = NewToken::default();
    new.name = name.to_owned();
    new.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    set(&mut new);
    new
}

fn refused(answer: &Answer, challenge: &str) {
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("unauthenticated")));
    assert_eq!(answer.header("www-authenticate"), challenge);
}

const INVALID: &str = "Bearer realm=\"wpc\", error=\"invalid_token\"";

#[test]
fn no_token_is_required_before_the_first_one_is_created() {
    let guarded = Guarded::start();
    assert_eq!(guarded.add_with(&[]).json(), 42);
    let token = guarded.token("first", &["call:add"]);
    refused(&guarded.add_with(&[]), "Bearer realm=\"wpc\"");
    assert_eq!(guarded.add(&token).json(), 42);
    // Revoking the last token does not open the server again.
    guarded.tokens.revoke("first").unwrap();
    refused(&guarded.add_with(&[]), "Bearer realm=\"wpc\"");
}

#[test]
fn a_token_is_refused_from_the_first_request_after_its_revocation() {
    let guarded = Guarded::start();
    let (information, token) = guarded.create("shop", &["call"], |_| {});
    assert_eq!(guarded.add(&token).json(), 42);
    guarded.tokens.revoke(&information.id.to_string()).unwrap();
    refused(&guarded.add(&token), INVALID);
    assert!(matches!(guarded.tokens.revoke("shop"), Err(TokenError::NotFound(_))));
}

#[test]
fn a_token_is_refused_after_it_expired() {
    let guarded = Guarded::start();
    // Long enough that it is not over yet when the token is created.
    let end = Timestamp::now().after(Duration::from_secs(5));
    let (_, token) = guarded.create("shop", &["call"], |new| new.expires = Some(end));
    while Timestamp::now() < end {
        std::thread::yield_now();
    }
    let answer = guarded.add(&token);
    refused(&answer, INVALID);
    assert!(answer.json()["detail"].as_str().unwrap().contains("expired"));
}

#[test]
fn malformed_forged_and_unknown_tokens_are_refused() {
    let guarded = Guarded::start();
    let token = guarded.token("shop", &["call"]);
    let other = Guarded::start().token("shop", &["call"]);
    let cut = &token[..token.len() - 1];
    for header in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {token}"),
        format!("Bearer {cut}"),
        format!("Bearer {token}0"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {token} {token}"),
        format!("Bearer {other}"),
        format!("Bearer {}", "a".repeat(30_000)),
    ] {
        refused(&guarded.add_with(&[("authorization", &header)]), INVALID);
    }
    let header = format!("Bearer {token}");
    let twice = [("authorization", &*header), ("authorization", &*header)];
    refused(&guarded.add_with(&twice), INVALID);
    assert_eq!(guarded.add_with(&[("authorization", &format!("bearer  {token}"))]).json(), 42);
}

#[test]
fn a_token_calls_only_the_functions_of_its_patterns() {
    let guarded = Guarded::start();
    for (scope, status) in
        [("call:add", 200), ("call:a*", 200), ("call", 200), ("admin", 200), ("call:ad", 403)]
            .into_iter()
            .chain([("call:addition", 403), ("call:echo*", 403), ("observe", 403), ("deploy", 403)])
    {
        let token = guarded.token(scope, &[scope]);
        let answer = guarded.add(&token);
        assert_eq!(answer.status, status, "{scope}");
        if status == 403 {
            let challenge = "Bearer realm=\"wpc\", error=\"insufficient_scope\"";
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
}

#[test]
fn probes_need_no_token_and_everything_else_does() {
    let guarded = Guarded::start();
    guarded.token("first", &["call"]);
    for path in ["/livez", "/readyz", "/startupz", "/healthz", "/problems/internal"] {
        assert_eq!(guarded.server.get(path, &[]).status, 200, "{path}");
    }
    for path in
        ["/metrics", "/openapi.json", "/v1/tokens", "/readyz?verbose", "/livez/", "/nothing"]
    {
        assert_eq!(guarded.server.get(path, &[]).status, 401, "{path}");
    }
}

#[test]
fn tokens_survive_a_restart_and_their_text_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Tokens::of_store(Store::open(folder.path()).unwrap()).unwrap();
    let (information, text) = open().create(new("shop", &["call"], |_| {})).unwrap();
    let tokens = open();
    assert_eq!(tokens.list(), [information]);
    let server =
        Running::of(|wpc| Application::builder(Arc::new(wpc)).tokens(tokens.clone()).build());
    let header = format!("Bearer {}", text.as_str());
    let answer = server.post("/v1/functions/add/call", &[("authorization", &header)], b"[40, 2]");
    assert_eq!(answer.json(), 42);
    let secret = text.as_str().rsplit('_').next().unwrap().as_bytes();
    let stored = std::fs::read(folder.path().join("wpc.redb")).unwrap();
    assert!(!stored.windows(16).any(|window| window == &secret[..16]));
}

#[test]
fn invalid_tokens_are_not_created() {
    let guarded = Guarded::start();
    guarded.token("shop", &["call"]);
    let past = Timestamp::from(std::time::UNIX_EPOCH);
    for (new, reason) in [
        (new("", &["call"], |_| {}), "name"),
        (new("a\nb", &["call"], |_| {}), "name"),
        (new(&"a".repeat(101), &["call"], |_| {}), "name"),
        (new("a", &[], |_| {}), "scope"),
        (new("a", &["root"], |_| {}), "\"root\" is not a scope"),
        (new("a", &["call"], |new| new.expires = Some(past)), "expiry time"),
        (new("shop", &["call"], |_| {}), "\"shop\""),
    ] {
        let error = guarded.tokens.create(new).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(guarded.tokens.list().len(), 1);
}

#[test]
fn an_administrator_creates_lists_and_revokes_tokens_over_http() {
    let guarded = Guarded::start();
    let admin = format!("Bearer {}", guarded.token("admin", &["admin"]));
    let headers = [("authorization", &*admin), ("content-type", "application/json")];
    let body = json!({ "name": "shop", "scopes": ["call:add"], "quota": { "calls": "100/s" } });
    let created = guarded.server.post("/v1/tokens", &headers, body.to_string().as_bytes());
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("cache-control"), "no-store");
    let created = created.json();
    let token = created["token"].as_str().unwrap();
    assert_eq!(guarded.add(token).json(), 42);
    let list = guarded.server.get("/v1/tokens", &headers);
    let listed = list.json();
    let names: Vec<&Value> =
        listed["tokens"].as_array().unwrap().iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["admin", "shop"]);
    let secret = token.rsplit('_').next().unwrap();
    assert!(!String::from_utf8_lossy(&list.body).contains(secret));
    let again = guarded.server.post("/v1/tokens", &headers, body.to_string().as_bytes());
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("name_taken")));
    let broken = guarded.server.post("/v1/tokens", &headers, b"{\"name\": \"x\", \"root\": true}");
    assert_eq!(broken.status, 400);
    let path = format!("/v1/tokens/{}", created["id"].as_str().unwrap());
    assert_eq!(guarded.server.delete(&path, &headers).status, 200);
    refused(&guarded.add(token), INVALID);
    assert_eq!(guarded.server.delete(&path, &headers).status, 404);
    let call = format!("Bearer {}", guarded.token("caller", &["call", "observe", "deploy"]));
    assert_eq!(guarded.server.get("/v1/tokens", &[("authorization", &call)]).status, 403);
}

#[test]
fn tokens_of_a_file_are_read_again_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let (_, first) = add_token_to_file(&path, new("first", &["call"], |_| {})).unwrap();
    let tokens = Tokens::of_file(&path).unwrap();
    let server =
        Running::of(|wpc| Application::builder(Arc::new(wpc)).tokens(tokens.clone()).build());
    let status = |token: &str| {
        let header = format!("Bearer {token}");
        server.post("/v1/functions/add/call", &[("authorization", &header)], b"[40, 2]").status
    };
    let (_, second) = add_token_to_file(&path, new("second", &["call"], |_| {})).unwrap();
    assert_eq!((status(first.as_str()), status(second.as_str())), (200, 401));
    tokens.reload().unwrap();
    assert_eq!((status(first.as_str()), status(second.as_str())), (200, 200));
    let text = std::fs::read_to_string(&path).unwrap();
    for broken in
        ["[[tokens]]\nname = 1", &format!("{text}\n{text}"), &text.replace("call", "root")]
    {
        std::fs::write(&path, broken).unwrap();
        let error = tokens.reload().unwrap_err().to_string();
        assert!(error.contains("tokens.toml") || error.contains("the token"), "{error}");
        assert_eq!((status(first.as_str()), status(second.as_str())), (200, 200));
    }
    // An empty file does not open the server.
    std::fs::write(&path, "").unwrap();
    tokens.reload().unwrap();
    assert_eq!(status(first.as_str()), 401);
    let error = tokens.create(new("third", &["call"], |_| {})).unwrap_err();
    assert!(matches!(error, TokenError::ReadOnly(_)), "{error}");
}

#[test]
fn other_machines_are_served_with_tokens() {
    let guarded = Guarded::start();
    guarded.token("first", &["call"]);
    let backend = Arc::new(guarded.server.wpc.clone());
    let application = Application::builder(backend).tokens(guarded.tokens.clone()).build();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = Server::bind(([0, 0, 0, 0], 0).into()).await.unwrap();
        server.serve(application, async {}).await.unwrap();
    });
}
