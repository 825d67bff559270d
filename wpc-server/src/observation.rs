//! Observes every request: counts it, and reports it to the application.

use crate::access::Principal;
use crate::application::Application;
use crate::problem::ProblemCode;
use crate::refusals::RefusalReason;
use crate::telemetry::{FinishedRequest, StatusClass, UNMATCHED};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, Uri};
use axum::response::Response;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use wpc_host::TraceContext;

/// Adds the observation to a router. It is the outermost layer, so that refused requests are observed too.
#[derive(Debug, Clone)]
pub(crate) struct Observation(pub(crate) Application);

impl<S> Layer<S> for Observation {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, application: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Observed<S> {
    inner: S,
    application: Application,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Observed<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let request_in_flight = InFlight::begin(self.application.clone(), &request);
        Observing { answer: self.inner.call(request), request: Some(request_in_flight) }
    }
}

pin_project! {
    /// The response to a request. If it is dropped before it is ready, the client has disconnected, or another response is
    /// [sent instead](replace).
    pub(crate) struct Observing<F> {
        #[pin]
        answer: F,
        request: Option<InFlight>,
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for Observing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(context));
        if let (Some(request), Ok(response)) = (this.request.take(), &answer) {
            request.answered(response);
        }
        Poll::Ready(answer)
    }
}

thread_local! {
    /// The response that is sent in place of that of a request, while this thread drops the request.
    static REPLACEMENT: Cell<Option<Response>> = const { Cell::new(None) };
}

/// Sends `response` in place of that of a request, which `drop_request` drops. Without this, the dropped request would be observed as
/// one whose client has disconnected.
pub(crate) fn replace(drop_request: impl FnOnce(), response: Response) -> Response {
    REPLACEMENT.set(Some(response));
    drop_request();
    REPLACEMENT.take().unwrap_or_default()
}

/// A request without a response.
struct InFlight {
    application: Application,
    began: Instant,
    route: Option<MatchedPath>,
    /// Data for the report, if the request may be reported.
    reported: Option<Reported>,
    is_answered: bool,
}

struct Reported {
    method: Method,
    uri: Uri,
    trace: Option<HeaderValue>,
    principal: Option<Principal>,
}

impl InFlight {
    fn begin(application: Application, request: &Request) -> Self {
        application.telemetry().requests().in_flight().fetch_add(1, Ordering::Relaxed);
        let reported = application.telemetry().reports().then(|| Reported {
            method: request.method().clone(),
            uri: request.uri().clone(),
            trace: request.headers().get("traceparent").cloned(),
            principal: request.extensions().get::<Principal>().cloned(),
        });
        let route = request.extensions().get::<MatchedPath>().cloned();
        Self { application, began: Instant::now(), route, reported, is_answered: false }
    }

    fn answered(mut self, response: &Response) {
        self.is_answered = true;
        self.end(Some(response));
    }

    fn end(&mut self, response: Option<&Response>) {
        let duration = self.began.elapsed();
        let telemetry = self.application.telemetry();
        let route = self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        let class = response
            .map_or(StatusClass::Aborted, |response| StatusClass::of(response.status().as_u16()));
        let requests = telemetry.requests();
        requests.in_flight().fetch_sub(1, Ordering::Relaxed);
        requests.route(route).count(class, duration);
        let status = response.map(|response| response.status().as_u16());
        let (Some(report), Some(reported)) = (telemetry.report(status), self.reported.take())
        else {
            return;
        };
        let extensions = response.map(Response::extensions);
        let principal = extensions.and_then(|found| found.get::<Principal>().cloned());
        let header = |name: &str| Some(response?.headers().get(name)?.to_str().ok()?.to_owned());
        report(&FinishedRequest {
            method: bounded(reported.method.as_str()),
            route: route.to_owned(),
            status,
            code: extensions.and_then(|found| Some(found.get::<ProblemCode>()?.0.to_string())),
            refusal: extensions.and_then(|found| found.get::<RefusalReason>().copied()),
            duration,
            function: function(route, reported.uri.path()).as_deref().map(bounded),
            call: header("wpc-call-id").and_then(|id| Some(id.parse::<u64>().ok()?.into())),
            trace: reported.trace.as_ref().and_then(trace),
            principal: principal.or(reported.principal).map(|found| found.name().to_owned()),
        });
    }
}

/// At most 256 characters of a text that a client chooses.
fn bounded(text: &str) -> String {
    text.chars().take(256).collect()
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_answered {
            let replacement = REPLACEMENT.take();
            self.end(replacement.as_ref());
            REPLACEMENT.set(replacement);
        }
    }
}

/// The segment of the path at the position of `{name}` in the route of a function.
fn function(route: &str, path: &str) -> Option<String> {
    let before = "/v1/functions/";
    route.strip_prefix(before)?.strip_prefix("{name}")?;
    path.strip_prefix(before)?.split('/').next().map(str::to_owned)
}

/// The trace of a `traceparent`; `None` if it is invalid.
fn trace(parent: &HeaderValue) -> Option<String> {
    let text = parent.to_str().ok()?;
    text.parse::<TraceContext>().ok()?;
    text.split('-').nth(1).map(str::to_owned)
}
