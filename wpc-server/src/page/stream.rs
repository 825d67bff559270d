//! `/v1/live`: a frame each second as Server-Sent Events.

use super::frame::{Cursor, frame};
use super::query::Parameters;
use crate::access::Principal;
use crate::application::Application;
use crate::events::unbuffered;
use crate::lifecycle::Stage;
use crate::live::Watcher;
use crate::problem::{Problem, ServerCode};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::future::{BoxFuture, FutureExt, OptionFuture};
use std::convert::Infallible;

pub(super) async fn live(
    State(application): State<Application>,
    principal: Principal,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let parameters = super::read(&principal, parameters)?;
    application.live().collect(&**application.shared_backend());
    let watcher = Watcher::new(application.live(), application.shared_backend());
    let watcher = watcher.ok_or_else(|| {
        Problem::new(ServerCode::TooManyWatchers, "too many clients watch at the moment")
    })?;
    let cursor = Cursor::new(&parameters);
    let ended = OptionFuture::from(principal.ended().map(FutureExt::boxed));
    let watch = Watch { application, principal, ended, parameters, watcher, cursor };
    Ok((unbuffered(), Sse::new(events(watch))).into_response())
}

struct Watch {
    application: Application,
    principal: Principal,
    /// Completes when the client's token was revoked or has expired.
    ended: OptionFuture<BoxFuture<'static, Problem>>,
    parameters: Parameters,
    watcher: Watcher,
    cursor: Cursor,
}

impl Watch {
    /// The next event, and whether more follow.
    async fn next(&mut self) -> (Event, bool) {
        let Self { application, principal, ended, parameters, watcher, cursor } = self;
        let sample = tokio::select! {
            // A client should not reconnect to a server that stops.
            biased;
            () = application.lifecycle().entered(Stage::Draining) => {
                return (Event::default().event("stop").data("{}"), false);
            }
            // The client reconnects, and that response states the reason.
            Some(_) = ended => {
                return (Event::default().event("unauthenticated").data("{}"), false);
            }
            sample = watcher.next() => sample,
        };
        match sample {
            Some(sample) => {
                let json = frame(application, principal, parameters, &sample, cursor);
                (Event::default().event("frame").data(json), true)
            }
            None => (Event::default().event("displaced").data("{}"), false),
        }
    }
}

/// The client pulls frames, so a slow one gets the newest sample when it reads again.
fn events(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        let (event, goes_on) = watch.next().await;
        Some((Ok(event), goes_on.then_some(watch)))
    })
}
