//! The OpenAPI 3.1 document of the functions that a client may call: `GET /openapi.json`.

mod decimal;
mod document;
mod example;
mod operation;
mod responses;
mod schema;

use crate::access::Principal;
use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use document::Document;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Mutex;

pub(crate) fn routes() -> axum::Router<Application> {
    let cache = Arc::new(Mutex::new(Cache::default()));
    axum::Router::new().route("/openapi.json", get(openapi)).layer(Extension(cache))
}

/// The maximum size of all kept documents in bytes. Clients that may call different functions have different documents.
const CACHE_SIZE: usize = 64 << 20;

/// The documents of the current definitions.
#[derive(Debug, Default)]
struct Cache {
    version: Option<u64>,
    /// The names of all functions.
    names: Vec<String>,
    /// Each with the functions that it describes, by their positions in `names`. The one that was used last is at the end.
    documents: VecDeque<(Vec<bool>, Document)>,
}

impl Cache {
    fn document(
        &mut self,
        application: &Application,
        principal: &Principal,
    ) -> Result<Document, serde_json::Error> {
        let version = application.backend().definitions_version();
        if self.version == Some(version) {
            let shown = shown(principal, &self.names);
            let found = self.documents.iter().position(|(of, _)| *of == shown);
            if let Some(found) = found.and_then(|at| self.documents.remove(at)) {
                let document = found.1.clone();
                self.documents.push_back(found);
                return Ok(document);
            }
        } else {
            *self = Self { version: Some(version), ..Self::default() };
        }
        let functions = application.backend().functions();
        let names = functions.iter().map(|function| function.name.clone()).collect();
        if self.names != names {
            // The definitions may be newer than the version. Then the next request finds another version and creates a new
            // document.
            (self.names, self.documents) = (names, VecDeque::new());
        }
        let shown = shown(principal, &self.names);
        let described = functions.iter().zip(&shown).filter(|(_, shown)| **shown);
        let document = Document::of(described.map(|(function, _)| function))?;
        self.documents.push_back((shown, document.clone()));
        while self.documents.len() > 1 && self.size() > CACHE_SIZE {
            self.documents.pop_front();
        }
        Ok(document)
    }

    fn size(&self) -> usize {
        self.documents.iter().map(|(shown, document)| shown.len() + document.json.len()).sum()
    }
}

/// Which of these functions the client may call.
fn shown(principal: &Principal, names: &[String]) -> Vec<bool> {
    names.iter().map(|name| principal.may_call(name)).collect()
}

async fn openapi(
    State(application): State<Application>,
    Extension(cache): Extension<Arc<Mutex<Cache>>>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // One document is created at a time, outside of the threads that serve connections.
    let mut cache = cache.lock_owned().await;
    let create = move || cache.document(&application, &principal);
    let document = tokio::task::spawn_blocking(create).await;
    let Ok(Ok(document)) = document else {
        let detail = "the document could not be created";
        return Err(Problem::new(ServerCode::Internal, detail));
    };
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_known = known.any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == document.etag.as_bytes()
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], document.json).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, document.etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    Ok(response)
}
