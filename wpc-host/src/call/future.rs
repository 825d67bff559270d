//! The future of a call, which was submitted or refused.

use crate::call::pending::PendingCall;
use crate::error::Error;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future of a call, for any async runtime. Returned by [`call_async`](crate::WorkerProcedureCall::call_async).
///
/// The call was submitted when the future was created, so that it runs even if the future is not polled. Dropping the
/// future cancels the call. The future borrows nothing and does not keep the pool alive: if the pool's last handle is
/// dropped first, the call ends with [`Error::Stopped`].
#[must_use = "dropping it cancels the call"]
#[derive(Debug)]
pub struct CallFuture<R>(State<R>);

#[derive(Debug)]
enum State<R> {
    Submitted(PendingCall<R>),
    Refused(Error),
}

impl<R> CallFuture<R> {
    pub(crate) fn new(submitted: Result<PendingCall<R>, Error>) -> Self {
        Self(match submitted {
            Ok(call) => State::Submitted(call),
            Err(error) => State::Refused(error),
        })
    }
}

impl<R: DeserializeOwned + 'static> Future for CallFuture<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Submitted(call) => Pin::new(call).poll(context),
            State::Refused(error) => Poll::Ready(Err(error.clone())),
        }
    }
}
