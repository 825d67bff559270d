//! What the page shows to clients without a token, and without rights.

use crate::browser::{Browser, key};
use crate::served::usual_pool;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use tokio::runtime::Runtime;
use wpc_server::{Application, Principal, Scope};

/// Requires a token, as the server's authentication does: `observer` may observe and call `add`, `caller` may call it.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let token = request.headers().get("authorization").map(|value| value.to_str().unwrap());
    let scopes = match token {
        _ if request.uri().path() == "/" => [].as_slice(),
        Some("Bearer observer") => &[Scope::Call, Scope::Observe],
        Some("Bearer caller") => &[Scope::Call],
        _ => {
            let detail =
                if token.is_some() { "the token is not known" } else { "a token is required" };
            let problem = format!(r#"{{"title":"unauthenticated","detail":"{detail}"}}"#);
            return (StatusCode::UNAUTHORIZED, problem).into_response();
        }
    };
    let principal = Principal::new("ada", scopes.iter().copied(), ["add".to_owned()]);
    request.extensions_mut().insert(principal);
    next.run(request).await
}

fn serve() -> (String, Runtime) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = wpc_server::router(Application::new(Arc::new(usual_pool())));
    let router = router.layer(from_fn(authenticate));
    runtime.spawn(async { axum::serve(listener, router).await });
    (url, runtime)
}

#[test]
fn the_page_asks_for_a_token_and_keeps_it_in_the_tab_only() {
    let Some(browser) = Browser::start() else { return };
    let (url, _runtime) = serve();
    browser.open(&url);
    browser.wait_for_text("#sign-in-title", "Token required");
    browser.wait_for("the field has the focus", "return document.activeElement.id === 'token'");
    assert_eq!(browser.run("return document.querySelector('#data').hidden"), true);
    browser.press(&format!("mistake{}", key::ENTER));
    browser.wait_for_text("#sign-in-error", "the token is not known");
    browser.press(&format!("observer{}", key::ENTER));
    browser.wait_for_text("#functions-rows", "add");
    assert_eq!(
        browser.run("return [sessionStorage.length, localStorage.length, document.cookie]"),
        serde_json::json!([1, 0, ""])
    );
    assert_eq!(browser.run("return document.body.innerText.includes('observer')"), false);
    browser.run("document.querySelector('#sign-out').click()");
    browser.wait_for_text("#sign-in-title", "Token required");
    assert_eq!(browser.run("return sessionStorage.length"), 0);
}

#[test]
fn a_client_without_rights_sees_why_controls_are_disabled() {
    let Some(browser) = Browser::start() else { return };
    let (url, _runtime) = serve();
    browser.open(&url);
    browser.wait_for("the field has the focus", "return document.activeElement.id === 'token'");
    browser.press(&format!("observer{}", key::ENTER));
    browser.wait_for_text("#who", "ada · read-only");
    browser.wait_for_text("#functions-rows", "spins");
    let open = |name: &str| {
        browser.run(&format!("[...document.querySelectorAll('.name')].find((node) => node.textContent === '{name}').click()"));
    };
    open("spins");
    browser.wait_for_text("#call-note", "it lacks the scope call:spins");
    assert_eq!(browser.run("return document.querySelector('#call-submit').disabled"), true);
    browser.press(key::ESCAPE);
    open("add");
    browser.wait_for("it may be called", "return !document.querySelector('#call-submit').disabled && document.querySelector('#call-note').hidden");
}

#[test]
fn a_token_without_the_scope_is_refused_with_the_reason() {
    let Some(browser) = Browser::start() else { return };
    let (url, _runtime) = serve();
    browser.open(&url);
    browser.wait_for("the field has the focus", "return document.activeElement.id === 'token'");
    browser.press(&format!("caller{}", key::ENTER));
    browser.wait_for_text("#sign-in-title", "Scope missing");
    browser.wait_for_text("#sign-in-error", "does not have the scope `observe`");
}
