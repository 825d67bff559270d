//! The OpenAPI 3.1 document of the functions that a client may call: `GET /openapi.json`.

mod document;
mod operation;
mod responses;
mod schema;

use crate::access::Principal;
use crate::application::Application;
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use document::Document;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Mutex;
use wpc_host::FunctionInformation;

pub(crate) fn routes() -> axum::Router<Application> {
    let cache = Arc::new(Mutex::new(Cache::default()));
    axum::Router::new().route("/openapi.json", get(openapi)).layer(Extension(cache))
}

/// The most bytes of documents that are kept: those of clients that may call different functions.
const CACHE_SIZE: usize = 64 << 20;

/// The documents of the current definitions.
#[derive(Debug, Default)]
struct Cache {
    version: Option<u64>,
    functions: Vec<FunctionInformation>,
    /// Each with the functions that it describes, the one that was used last at the end.
    documents: VecDeque<(Vec<bool>, Document)>,
}

impl Cache {
    fn document(
        &mut self,
        application: &Application,
        principal: &Principal,
    ) -> Result<Document, serde_json::Error> {
        let backend = application.backend();
        let version = backend.definitions_version();
        if self.version != Some(version) {
            *self = Self {
                version: Some(version),
                functions: backend.functions(),
                documents: VecDeque::new(),
            };
        }
        let shown: Vec<bool> =
            self.functions.iter().map(|function| principal.may_call(&function.name)).collect();
        let found = self.documents.iter().position(|(of, _)| *of == shown);
        let (shown, document) = match found.and_then(|at| self.documents.remove(at)) {
            Some(found) => found,
            None => {
                let functions = self.functions.iter().zip(&shown);
                let functions =
                    functions.filter(|(_, shown)| **shown).map(|(function, _)| function);
                let document = Document::of(functions)?;
                (shown, document)
            }
        };
        self.documents.push_back((shown, document.clone()));
        let size = |cache: &Self| -> usize {
            cache.documents.iter().map(|(shown, document)| shown.len() + document.json.len()).sum()
        };
        while self.documents.len() > 1 && size(self) > CACHE_SIZE {
            self.documents.pop_front();
        }
        Ok(document)
    }
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
        let detail = "the document could not be created".to_owned();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Err(Problem::new(status, "internal", "internal error", detail));
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
