//! One connection: its requests, one after another.

use super::activity::{Activity, BodyRefusal, Order};
use super::connections::{Connections, Member};
use super::messages::Messages;
use super::unrouted;
use crate::application::Application;
use crate::body_memory::MessageMemory;
use crate::lifecycle::Stage;
use crate::observation;
use crate::problem::Problem;
use crate::refusals::RefusalReason;
use crate::router::Plane;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service as _;
use wpc_host::CallOutcome;

/// What the connections of a listener serve. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) application: Application,
    pub(super) router: Router,
    pub(super) plane: Plane,
}

/// State of a connection, which its requests share.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) connections: Connections,
    pub(super) activity: Arc<Activity>,
    endpoint: Endpoint,
    /// The address of the client.
    pub(super) client: Option<IpAddr>,
}

impl ConnectionState {
    pub(super) fn of(member: &Member, endpoint: Endpoint) -> Self {
        Self {
            connections: member.connections().clone(),
            activity: Arc::clone(member.activity()),
            endpoint,
            client: member.peer(),
        }
    }

    fn refuse(&self, reason: RefusalReason) {
        self.connections.traffic().refusals().refuse(reason, self.client);
    }

    fn is_stopping(&self) -> bool {
        self.endpoint.application.lifecycle().stage() >= Stage::Draining
    }

    /// The memory of the messages of a connection that becomes a WebSocket.
    fn message_memory(&self) -> MessageMemory {
        let memory = self.connections.body_memory().clone();
        MessageMemory::new(memory, Arc::clone(self.activity.held()), self.client)
    }

    /// Counts the body of a response towards the memory of all bodies, because a slow client decides how long it takes memory. Returns
    /// whether it fits. Small ones are not counted.
    fn holds(&self, body: &Body) -> bool {
        let size = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|size| *size >= LARGE_RESPONSE) else { return true };
        let fits = self.connections.body_memory().hold(size);
        if fits {
            self.activity.body_held(size);
        }
        fits
    }

    /// The maximum size of an incomplete message with the headers of its frames, in bytes. Headers take less than the content,
    /// unless frames are tiny.
    pub(super) fn max_message(&self) -> usize {
        self.endpoint.application.settings().max_body.saturating_mul(2).saturating_add(MAX_HEADERS)
    }
}

/// The size from which on the body of a response is counted, in bytes.
const LARGE_RESPONSE: usize = 64 << 10;

/// The size of headers that even a small message may have in tiny frames, in bytes.
const MAX_HEADERS: usize = 64 << 10;

/// Serves the requests of a connection until it ends. The progress of the client is recorded in the activity of its member.
pub(super) async fn serve<S>(stream: S, state: ConnectionState)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::clone(&state.activity);
    let mut http = http1::Builder::new();
    // The time limits are those of `activity`, without a timer for each request.
    http.header_read_timeout(None).max_header_size(state.connections.limits().max_header_size);
    let stream = Messages::new(stream, &state);
    let state = Arc::new(state);
    let respond = service_fn(|request| respond(Arc::clone(&state), request));
    let mut connection = http.serve_connection(TokioIo::new(stream), respond).with_upgrades();
    let mut is_first = true;
    let mut is_finishing = false;
    let end = poll_fn(|context| {
        // The waker of a task stays the same, so an order wakes the task.
        if std::mem::take(&mut is_first) {
            activity.register(context);
        }
        match activity.order() {
            Order::Continue => {}
            Order::Finish if is_finishing => {}
            Order::Finish => {
                is_finishing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Order::Abort => return Poll::Ready(End::Aborted),
        }
        Pin::new(&mut connection).poll(context).map(|result| match result {
            Err(error) if error.is_parse() => End::InvalidHttp,
            // It is not an error of the server if a client disconnects.
            _ => End::Closed,
        })
    });
    let end = end.await;
    // `None` if it became a WebSocket.
    let Some(parts) = connection.into_parts() else { return };
    let mut stream = parts.io.into_inner();
    match end {
        End::Closed => Box::pin(stream.discard_input(false)).await,
        End::InvalidHttp => {
            state.refuse(RefusalReason::InvalidHttp);
            stream.refuse().await;
            Box::pin(stream.discard_input(true)).await;
        }
        End::Aborted if activity.is_in_head() && !is_finishing => {
            state.refuse(RefusalReason::SlowHeaders);
            stream.write_at_once(&unrouted::SLOW_HEADERS).await;
        }
        End::Aborted => {}
    }
}

/// How a connection ended.
enum End {
    /// It is complete, the client disconnected, or the connection became a WebSocket.
    Closed,
    /// The client sent something that cannot be parsed.
    InvalidHttp,
    /// By [`Order::Abort`].
    Aborted,
}

async fn respond(
    state: Arc<ConnectionState>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut progress = InProgress::begin(Arc::clone(&state));
    let is_admitted = progress.is_admitted
        || state.endpoint.plane == Plane::Administration
        || is_about_health(request.uri().path());
    let mut is_of_call = false;
    let mut response = if is_admitted {
        if request.extensions().get::<OnUpgrade>().is_some() {
            request.extensions_mut().insert(state.message_memory());
        }
        is_of_call = is_call(request.uri().path());
        let is_held = !is_stored(request.uri().path());
        let body = |inner| RequestBody { inner: Some(inner), is_held, state: Arc::clone(&state) };
        let request = request.map(|inner| Body::new(body(inner)));
        let mut answer = pin!(Some(state.endpoint.router.clone().call(request)));
        let answered = poll_fn(|context| {
            if let Some(refusal) = state.activity.body_refusal() {
                return Poll::Ready(Err(refusal));
            }
            match answer.as_mut().as_pin_mut() {
                // A router does not fail.
                Some(answer) => answer.poll(context).map(|Ok(response)| Ok(response)),
                None => Poll::Pending,
            }
        });
        match answered.await {
            Ok(response) => response,
            Err(refusal) => {
                let response = refusal.answer().into_response();
                observation::replace(|| answer.set(None), response)
            }
        }
    } else {
        state.refuse(RefusalReason::Requests);
        Problem::overloaded("too many requests are in progress").into_response()
    };
    if let Some(reason) = response.extensions().get::<RefusalReason>() {
        state.refuse(*reason);
    }
    if is_of_call && !state.holds(response.body()) {
        state.refuse(RefusalReason::BodyMemory);
        response = unheld().into_response();
    }
    progress.becomes_web_socket = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let mut response =
        response.map(|inner| ResponseBody { inner, rest: Bytes::new(), _progress: progress });
    if state.is_stopping() || state.activity.body_refusal().is_some() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

/// Whether the path is about the health of the server: it is answered even if too many requests are in progress.
fn is_about_health(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/startupz" | "/healthz" | "/metrics")
}

/// Whether the path is that of calls.
fn is_call(path: &str) -> bool {
    path.ends_with("/call") || path == "/rpc"
}

/// The answer in place of one that takes too much memory.
fn unheld() -> Problem {
    let problem = Problem::overloaded(
        "the function has run, but its result does not fit into the memory for bodies",
    );
    problem.with_outcome(CallOutcome::Finished)
}

/// Whether the body of a request to this path is written to disk as it arrives.
fn is_stored(path: &str) -> bool {
    path == "/v1/modules"
}

impl BodyRefusal {
    fn answer(self) -> Problem {
        match self {
            Self::Slow => Problem::request_timeout("body"),
            Self::Memory => Problem::overloaded("the bodies of requests take too much memory"),
        }
    }
}

/// A request in progress, until its response was passed to the connection.
#[derive(Debug)]
struct InProgress {
    state: Arc<ConnectionState>,
    is_admitted: bool,
    becomes_web_socket: bool,
}

impl InProgress {
    fn begin(state: Arc<ConnectionState>) -> Self {
        state.activity.request_began(state.connections.now());
        let before = state.connections.traffic().request_began();
        let is_admitted = before < state.connections.limits().max_requests;
        Self { state, is_admitted, becomes_web_socket: false }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let ConnectionState { connections, activity, .. } = &*self.state;
        connections.body_memory().release(activity.body_dropped());
        connections.traffic().request_ended();
        if self.becomes_web_socket {
            activity.became_web_socket(connections.now());
        } else {
            activity.request_ended(connections.now());
        }
    }
}

/// The body of a request. It observes how long its handler waits.
struct RequestBody {
    /// `None` after its end.
    inner: Option<Incoming>,
    /// Whether its handler holds it in memory.
    is_held: bool,
    state: Arc<ConnectionState>,
}

impl RequestBody {
    /// Whether a part of the body may be held in memory.
    fn hold(&self, bytes: usize) -> bool {
        if !self.is_held {
            return true;
        }
        let fits = self.state.connections.body_memory().hold(bytes);
        if fits {
            self.state.activity.body_held(bytes);
        }
        fits
    }
}

/// The maximum number of bytes of an unread body that are read after the response.
const MAX_DRAINED: usize = 256 << 10;

/// The maximum time for which they are read.
const MAX_DRAINING: Duration = Duration::from_secs(2);

/// A handler that refuses a request does not read its body. If the connection were closed while the client still sends, the
/// client could not read the response. Therefore the rest of a small body is read.
impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) = self.inner.take() else { return };
        let is_large = body.size_hint().lower() > MAX_DRAINED as u64;
        if body.is_end_stream() || is_large || self.state.activity.body_refusal().is_some() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let activity = Arc::clone(&self.state.activity);
            activity.set_discarding(true);
            runtime.spawn(async move {
                let _ = tokio::time::timeout(MAX_DRAINING, drain(body)).await;
                activity.set_discarding(false);
            });
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut read = 0;
    while read < MAX_DRAINED {
        match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.state.activity.body_refusal().is_some() {
            // The request is answered instead.
            return Poll::Pending;
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let poll = Pin::new(inner).poll_frame(context);
        if matches!(poll, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        let (activity, now) = (&self.state.activity, self.state.connections.now());
        match &poll {
            Poll::Pending => activity.body_awaited(now),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if !self.hold(bytes) {
                    self.state.refuse(RefusalReason::BodyMemory);
                    activity.refuse_body(BodyRefusal::Memory);
                    return Poll::Pending;
                }
                activity.body_received(bytes, now);
            }
            Poll::Ready(_) => activity.body_received(0, now),
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The body of a response. The request is in progress until it is dropped.
struct ResponseBody {
    inner: Body,
    /// The rest of a part that is passed in several pieces.
    rest: Bytes,
    _progress: InProgress,
}

/// The maximum size of a piece, in bytes. The connection takes the next pieces when the client has read previous ones, so that the
/// request is in progress, and its memory counted, while a client reads a large response slowly.
const PIECE: usize = 64 << 10;

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE => self.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let size = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (HttpBody::size_hint(&self.inner), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
