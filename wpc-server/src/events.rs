//! The events of the backend as Server-Sent Events: `GET /v1/events`.

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::lifecycle::Stage;
use crate::problem::{Problem, ServerCode};
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::{BoxFuture, FutureExt, OptionFuture};
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wpc_host::{EventSubscription, WorkerEvent};

/// How many events wait for a client that does not read. More are counted as lost.
const WAITING: usize = 1_024;

/// How many clients can follow events at once, because each event is copied for each of them.
const MAX_FOLLOWERS: usize = 32;

pub(crate) fn routes() -> axum::Router<Application> {
    let followers = Arc::new(Semaphore::new(MAX_FOLLOWERS));
    axum::Router::new().route("/v1/events", get(events)).layer(Extension(followers))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Whether the response continues with later events.
    #[serde(default)]
    follow: bool,
}

/// The last events, and then later ones.
async fn events(
    State(application): State<Application>,
    Extension(followers): Extension<Arc<Semaphore>>,
    principal: Principal,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    principal.require(Scope::Observe)?;
    let Query(Parameters { follow }) = parameters?;
    let permit = if follow {
        let permit = followers.try_acquire_owned();
        Some(permit.map_err(|_| {
            let detail = "too many clients follow the events at the moment";
            Problem::new(ServerCode::TooManyWatchers, detail)
        })?)
    } else {
        None
    };
    application.live().collect(application.backend());
    // The subscription begins before the last events are read, so that no event in between is missed.
    let coming = follow.then(|| application.backend().subscribe(WAITING));
    application.live().flush().await;
    let last = application.live().recent().log.clone();
    let ended = OptionFuture::from(principal.ended().map(FutureExt::boxed));
    let feed = Feed { application, _permit: permit, ended, last, coming, last_id: 0, lagged: 0 };
    let answer = Sse::new(feed.stream()).keep_alive(KeepAlive::new());
    Ok((unbuffered(), answer).into_response())
}

/// Headers of a response whose parts must arrive as they are sent.
pub(crate) fn unbuffered() -> [(HeaderName, &'static str); 2] {
    // Without the second header, proxies such as nginx would buffer the events.
    [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")]
}

/// The events for a client.
struct Feed {
    application: Application,
    _permit: Option<OwnedSemaphorePermit>,
    last: VecDeque<WorkerEvent>,
    coming: Option<EventSubscription>,
    /// Completes when the client's token was revoked or has expired.
    ended: OptionFuture<BoxFuture<'static, Problem>>,
    /// The number of the event that was sent last, because the subscription may contain some of the last events too.
    last_id: u64,
    /// How many lost events were reported to the client.
    lagged: u64,
}

impl Feed {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, |mut feed| async move {
            let event = feed.next().await?;
            Some((Ok(event), feed))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.last.pop_front() {
            return Some(self.event(&event));
        }
        let stage = self.application.lifecycle().clone();
        let coming = self.coming.as_mut()?;
        loop {
            let lagged = coming.lagged();
            if lagged > self.lagged {
                let data = json!({ "lost": lagged - self.lagged });
                self.lagged = lagged;
                return Some(Event::default().event("lagged").data(data.to_string()));
            }
            let event = tokio::select! {
                // A flood of events must not delay the end.
                biased;
                Some(_) = &mut self.ended => return None,
                // The stream ends when the server stops, because the server waits for its clients.
                () = stage.entered(Stage::Draining) => return None,
                event = coming.next() => event?,
            };
            if event.event_id > self.last_id {
                return Some(self.event(&event));
            }
        }
    }

    fn event(&mut self, event: &WorkerEvent) -> Event {
        self.last_id = event.event_id;
        // Strings and numbers can always be written.
        let data = serde_json::to_string(event).unwrap_or_default();
        Event::default().event(event.event_name()).data(data)
    }
}
