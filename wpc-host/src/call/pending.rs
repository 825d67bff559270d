//! A call under way, as its caller holds it.

use crate::call::reply::ReplyMetadata;
use crate::call::{Call, Outcome};
use crate::codec::type_check::Declared;
use crate::error::Error;
use crate::id::CallId;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A submitted call: [`wait`](Self::wait) for it on this thread, or `await` it under any async
/// runtime, or under none. Dropping it cancels the call.
///
/// An answer is read once. A future that was polled to its end by reference has read it: waiting after that gives
/// it again where it is a small value, and [`Error::ResultDecode`] where it was a string or bytes, which whoever
/// reads first takes over.
#[must_use = "dropping a pending call cancels it"]
#[derive(Debug)]
pub struct PendingCall<R> {
    call: Arc<Call>,
    is_over: bool,
    /// What the reply is compared with, if the result's type is not proven.
    unproven: Option<Arc<Declared>>,
    result: PhantomData<fn() -> R>,
}

/// A function's value with what is known of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<R> {
    /// The value.
    pub value: R,
    /// Which code gave it, and what it took.
    pub metadata: ReplyMetadata,
}

/// Cancels a call from anywhere; cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<Call>);

impl CancelHandle {
    /// Ends the call: at once where it waits, within a few milliseconds where it runs. Nothing
    /// where it is over.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl<R> PendingCall<R> {
    pub(crate) fn new(call: Arc<Call>) -> Self {
        Self { call, is_over: false, unproven: None, result: PhantomData }
    }

    /// The same, whose reply is compared with what is declared.
    pub(crate) fn compared(self, unproven: Option<Arc<Declared>>) -> Self {
        let mut call = self;
        call.unproven = unproven;
        call
    }

    /// The call's number, as events about it carry it.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.call.id
    }

    /// Whether the answer is there, so that waiting for it would not block.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.call.outcome().is_some()
    }

    /// Something to cancel the call with while it is being waited for.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(Arc::clone(&self.call))
    }

    /// Ends the call: at once where it waits, within a few milliseconds where it runs. What it
    /// ended with is still to be had by waiting.
    pub fn cancel(&self) {
        self.call.cancel();
    }
}

impl<R> PendingCall<R> {
    /// Blocks until the call is answered and gives the value as it was encoded.
    ///
    /// # Errors
    ///
    /// Everything a call can end with but that its value is none, see [`Error`].
    pub fn wait_encoded(mut self) -> Result<Answer<Vec<u8>>, Error> {
        let answer = read_encoded(&self.call, self.call.wait());
        self.is_over = true;
        answer
    }

    /// Like [`wait_encoded`](Self::wait_encoded), as a future.
    ///
    /// # Errors
    ///
    /// Everything a call can end with but that its value is none, see [`Error`].
    pub async fn answer_encoded(mut self) -> Result<Answer<Vec<u8>>, Error> {
        std::future::poll_fn(|context| self.poll_encoded(context)).await
    }

    pub(crate) fn poll_encoded(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Result<Answer<Vec<u8>>, Error>> {
        self.poll_outcome(context, |call, outcome| read_encoded(&call.call, outcome))
    }

    fn poll_outcome<T>(
        &mut self,
        context: &Context<'_>,
        read: impl FnOnce(&Self, &Outcome) -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        match self.call.poll(context.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.is_over = true;
                Poll::Ready(read(self, outcome))
            }
        }
    }
}

impl PendingCall<Vec<u8>> {
    /// Like [`wait`](Self::wait), into a buffer that the caller has: `into` holds the value then, and nothing of what it
    /// held before. After an error it is as it was.
    ///
    /// A value of 128 KiB or more is not copied: its buffer changes places with the caller's, which the pool reuses for
    /// the payload of another call. So a caller that passes the same variable each time makes large calls without
    /// allocating, with any number of them outstanding.
    ///
    /// # Errors
    ///
    /// Everything a call can end with, see [`Error`].
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// # let pages: [Vec<u8>; 0] = [];
    /// let compress = wpc.function::<(Vec<u8>,), Vec<u8>>("compress")?;
    /// let calls = pages.iter().map(|page| compress.submit((page.as_slice(),)));
    /// let calls = calls.collect::<Result<Vec<_>, _>>()?;
    /// let mut compressed = Vec::new();
    /// for call in calls {
    ///     call.wait_into(&mut compressed)?;
    ///     println!("{} bytes", compressed.len());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait_into(mut self, into: &mut Vec<u8>) -> Result<ReplyMetadata, Error> {
        let answer = read_into(&self.call, self.call.wait(), into);
        self.is_over = true;
        answer
    }

    /// Like [`wait_into`](Self::wait_into), as a future.
    ///
    /// # Errors
    ///
    /// Everything a call can end with, see [`Error`].
    pub async fn answer_into(mut self, into: &mut Vec<u8>) -> Result<ReplyMetadata, Error> {
        std::future::poll_fn(|context| {
            self.poll_outcome(context, |call, outcome| read_into(&call.call, outcome, into))
        })
        .await
    }
}

impl<R: DeserializeOwned + 'static> PendingCall<R> {
    /// Takes an outcome apart: the value, the guest's error, or the host's.
    fn read(&self, outcome: &Outcome) -> Result<Answer<R>, Error> {
        let reply = outcome.as_ref().map_err(Error::clone)?;
        let function = &self.call.function;
        let value = match &self.unproven {
            None => reply.body.take(function)?,
            Some(declared) => declared.decode(function, &reply.body.take_encoded(function)?)?,
        };
        Ok(Answer { value, metadata: reply.metadata })
    }

    /// Blocks until the call is answered: by its time limit, or a few milliseconds later where it has
    /// to be interrupted.
    ///
    /// # Errors
    ///
    /// Everything a call can end with, see [`Error`].
    pub fn wait(self) -> Result<R, Error> {
        self.wait_answer().map(|answer| answer.value)
    }

    /// Like [`wait`](Self::wait), with what is known of the call.
    ///
    /// # Errors
    ///
    /// Everything a call can end with, see [`Error`].
    pub fn wait_answer(mut self) -> Result<Answer<R>, Error> {
        let answer = self.read(self.call.wait());
        self.is_over = true;
        answer
    }

    /// Like [`wait`](Self::wait), with the fuel that the call used, also where it failed: with a guest's
    /// error, a trap, or an interrupt.
    ///
    /// The fuel of a call that returned or used up its fuel is exact. The fuel of a call that
    /// trapped or was interrupted is a lower bound: its operators used at most
    /// [`MAX_UNCOUNTED_FUEL`](crate::MAX_UNCOUNTED_FUEL) more. `None` where the function is not metered,
    /// the call never ran, or it was answered while a host function kept its guest from ending.
    pub fn wait_metered(mut self) -> (Result<R, Error>, Option<u64>) {
        let answer = self.read(self.call.wait());
        self.is_over = true;
        (answer.map(|answer| answer.value), self.call.fuel_used())
    }

    /// The answer as a future, with what is known of the call.
    ///
    /// # Errors
    ///
    /// Everything a call can end with, see [`Error`].
    pub async fn answer(mut self) -> Result<Answer<R>, Error> {
        std::future::poll_fn(|context| self.poll_outcome(context, Self::read)).await
    }
}

impl<R: DeserializeOwned + 'static> Future for PendingCall<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_outcome(context, Self::read)
            .map(|answer| answer.map(|answer: Answer<R>| answer.value))
    }
}

impl<R> Drop for PendingCall<R> {
    fn drop(&mut self) {
        if !self.is_over {
            self.call.cancel();
        }
    }
}

/// The value of an outcome as it was encoded, the guest's error, or what the host has to say.
fn read_encoded(call: &Call, outcome: &Outcome) -> Result<Answer<Vec<u8>>, Error> {
    let reply = outcome.as_ref().map_err(Error::clone)?;
    Ok(Answer { value: reply.body.take_encoded(&call.function)?, metadata: reply.metadata })
}

/// The same for bytes that take the place of those in `into`.
fn read_into(call: &Call, outcome: &Outcome, into: &mut Vec<u8>) -> Result<ReplyMetadata, Error> {
    let reply = outcome.as_ref().map_err(Error::clone)?;
    reply.body.take_into(&call.function, into)?;
    Ok(reply.metadata)
}
