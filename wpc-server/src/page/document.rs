//! The document of the page: HTML, CSS and JavaScript in one file.
//!
//! The browser runs only the script and the style whose hashes the Content-Security-Policy lists, and connects only to this
//! server.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// The parts of the script, which is one module for the browser. `main.js` runs it.
const SCRIPT: &str = concat!(
    include_str!("assets/dom.js"),
    include_str!("assets/format.js"),
    include_str!("assets/connection.js"),
    include_str!("assets/functions.js"),
    include_str!("assets/status.js"),
    include_str!("assets/nodes.js"),
    include_str!("assets/recent.js"),
    include_str!("assets/fields.js"),
    include_str!("assets/details.js"),
    include_str!("assets/deployments.js"),
    include_str!("assets/main.js"),
);

/// The document, and its policy.
static DOCUMENT: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
    let (style, script) = (include_str!("assets/page.css"), SCRIPT);
    let html = include_str!("assets/page.html")
        .replace("/* style */", style)
        .replace("/* script */", script);
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(script),
        hash(style)
    );
    // The policy consists of ASCII.
    (html, HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")))
});

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// The document. It contains no data, so every client may read it.
pub(super) async fn page() -> Response {
    let (html, policy) = &*DOCUMENT;
    let text = HeaderValue::from_static;
    let headers = [
        (header::CONTENT_TYPE, text("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, text("nosniff")),
        (header::REFERRER_POLICY, text("no-referrer")),
        (header::CACHE_CONTROL, text("no-cache")),
    ];
    (headers, html.as_str()).into_response()
}
