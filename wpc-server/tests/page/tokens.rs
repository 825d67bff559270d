//! What the page shows to clients without a token, and without rights. The tokens are those of a server with a data folder.

use crate::browser::{Browser, key};
use crate::deployed::{deploy, serve};
use crate::served::{Served, guest};
use std::time::Duration;
use tempfile::TempDir;
use wpc_host::WorkerProcedureCall;
use wpc_server::{NewToken, Timestamp, Tokens};

/// A server that requires tokens. Two revisions are deployed, and some functions are defined besides.
struct Guarded {
    served: Served,
    tokens: Tokens,
    _pool: WorkerProcedureCall,
    _data: TempDir,
}

impl Guarded {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (pool, served, tokens) = serve(data.path());
        let first = deploy(served.address, 1, None);
        deploy(served.address, 2, Some(first));
        for function in ["add", "spins"] {
            pool.define_worker_function(function, guest("sdk")).unwrap();
        }
        // From the first one on, tokens are required.
        let guarded = Self { served, tokens, _pool: pool, _data: data };
        guarded.token("administrator", &["admin"]);
        guarded
    }

    /// A token with these scopes.
    fn token(&self, name: &str, scopes: &[&str]) -> String {
        self.create(name, scopes, None)
    }

    fn create(&self, name: &str, scopes: &[&str], expires: Option<Timestamp>) -> String {
        let mut new = NewToken::default();
        (new.name, new.expires) = (name.to_owned(), expires);
        new.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.tokens.create(new).unwrap().1.as_str().to_owned()
    }

    /// Opens the page.
    fn open(&self, browser: &Browser) {
        browser.open(&self.served.url());
        browser.wait_for_text("#sign-in-title", "Token required");
        browser.wait_for("the field has the focus", "return document.activeElement.id === 'token'");
    }

    /// Opens the page with a token.
    fn sign_in(&self, browser: &Browser, token: &str) {
        self.open(browser);
        browser.press(&format!("{token}{}", key::ENTER));
    }
}

fn open_details(browser: &Browser, name: &str) {
    browser.run(&format!("[...document.querySelectorAll('.name')].find((node) => node.textContent === '{name}').click()"));
}

#[test]
fn the_page_asks_for_a_token_and_keeps_it_in_the_tab_only() {
    let Some(browser) = Browser::start() else { return };
    let guarded = Guarded::start();
    let token = guarded.token("ada", &["observe"]);
    guarded.open(&browser);
    assert_eq!(browser.run("return document.querySelector('#data').hidden"), true);
    browser.press(&format!("mistake{}", key::ENTER));
    browser.wait_for_text("#sign-in-error", "token");
    assert_eq!(browser.run("return document.querySelector('#data').hidden"), true);
    browser.press(&format!("{token}{}", key::ENTER));
    browser.wait_for_text("#functions-rows", "add");
    assert_eq!(
        browser.run("return [sessionStorage.length, localStorage.length, document.cookie]"),
        serde_json::json!([1, 0, ""])
    );
    assert_eq!(
        browser.run(&format!("return document.documentElement.outerHTML.includes('{token}')")),
        false
    );
    browser.run("document.querySelector('#sign-out').click()");
    browser.wait_for_text("#sign-in-title", "Token required");
    assert_eq!(browser.run("return sessionStorage.length"), 0);
}

#[test]
fn a_token_that_may_only_observe_shows_everything_and_changes_nothing() {
    let Some(browser) = Browser::start() else { return };
    let guarded = Guarded::start();
    guarded.sign_in(&browser, &guarded.token("ada", &["observe", "call:add"]));
    browser.wait_for_text("#who", "ada · read-only");
    browser.wait_for_text("#functions-rows", "spins");
    browser.wait_for_text("#deployments-note", "read-only: the scope deploy is missing");
    let roll_back = "document.querySelector('[aria-label=\"Roll back to revision 1\"]')";
    browser.wait_for("revisions", &format!("return {roll_back} !== null"));
    assert_eq!(browser.run(&format!("return {roll_back}.disabled")), true);
    open_details(&browser, "spins");
    browser.wait_for_text("#call-note", "it lacks the scope call:spins");
    assert_eq!(browser.run("return document.querySelector('#call-submit').disabled"), true);
    browser.press(key::ESCAPE);
    open_details(&browser, "add");
    browser.wait_for("it may be called", "return !document.querySelector('#call-submit').disabled && document.querySelector('#call-note').hidden");
}

#[test]
fn a_token_of_an_administrator_rolls_back() {
    let Some(browser) = Browser::start() else { return };
    let guarded = Guarded::start();
    guarded.sign_in(&browser, &guarded.token("grace", &["admin"]));
    browser.wait_for_text("#who", "grace");
    assert_eq!(browser.text("#who"), "grace");
    browser.wait_for_text("#revisions", "returns 1");
    browser.run("document.querySelector('[aria-label=\"Roll back to revision 1\"]').click()");
    browser.wait_for_text("#confirm-text", "Compared with revision 2: changed");
    browser.run("document.querySelector('#confirm-yes').click()");
    browser.wait_for_text("#revisions li:first-child", "Revision 3active");
    browser.wait_for_text("#revisions li:first-child", "grace");
}

#[test]
fn a_token_without_the_scope_is_refused_with_the_reason() {
    let Some(browser) = Browser::start() else { return };
    let guarded = Guarded::start();
    guarded.sign_in(&browser, &guarded.token("ada", &["call"]));
    browser.wait_for_text("#sign-in-title", "Scope missing");
    browser.wait_for_text("#sign-in-error", "does not have the scope `observe`");
}

#[test]
fn a_token_that_has_expired_is_refused_with_the_reason() {
    let Some(browser) = Browser::start() else { return };
    let guarded = Guarded::start();
    // Long enough that it is not over yet when the token is created.
    let end = Timestamp::now().after(Duration::from_secs(5));
    let token = guarded.create("ada", &["observe"], Some(end));
    while Timestamp::now() < end {
        std::thread::yield_now();
    }
    guarded.sign_in(&browser, &token);
    browser.wait_for_text("#sign-in-error", "expired");
    assert_eq!(browser.run("return document.querySelector('#data').hidden"), true);
}

#[test]
fn a_page_that_is_open_reports_that_its_token_was_revoked() {
    let Some(browser) = Browser::start() else { return };
    let guarded = Guarded::start();
    guarded.sign_in(&browser, &guarded.token("ada", &["observe"]));
    browser.wait_for_text("#functions-rows", "add");
    guarded.tokens.revoke("ada").unwrap();
    browser.wait_for_text("#sign-in-error", "revoked");
    assert_eq!(browser.run("return document.querySelector('#data').hidden"), true);
}
