//! The caller's handle to a submitted call.

use crate::call::reply::ReplyMetadata;
use crate::call::{Call, Outcome};
use crate::error::Error;
use crate::id::CallId;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A submitted call. [`wait`](Self::wait) blocks until it is answered; it is also a future for any async runtime. Dropping
/// it cancels the call.
///
/// The answer should be read once. A second read is possible if the future was polled to completion by reference. If the
/// result is one string or byte sequence, the second read fails with [`Error::ResultDecode`], because the first one took the
/// buffer. Other results can be read again.
#[must_use = "dropping a pending call cancels it"]
pub struct PendingCall<R> {
    call: Arc<Call>,
    is_over: bool,
    /// Decodes the encoded value; `None` if `R` decodes itself.
    decoder: Option<Decoder<R>>,
}

type Decoder<R> = Box<dyn Fn(&[u8]) -> Result<R, Error> + Send + Sync>;

impl<R> std::fmt::Debug for PendingCall<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingCall").field("call", &self.call).finish_non_exhaustive()
    }
}

/// A function's result with the reply's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<R> {
    /// The value.
    pub value: R,
    /// Which module and worker answered, and the fuel used.
    pub metadata: ReplyMetadata,
}

/// Cancels a call from any thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<Call>);

impl CancelHandle {
    /// Ends the call: at once if it is queued, within a few milliseconds if it runs. Has no effect on a call that was
    /// answered.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl<R> PendingCall<R> {
    pub(crate) fn new(call: Arc<Call>) -> Self {
        Self { call, is_over: false, decoder: None }
    }

    /// A call whose encoded value is decoded by `decode`.
    pub(crate) fn decoded_by(
        call: Arc<Call>,
        decode: impl Fn(&[u8]) -> Result<R, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { call, is_over: false, decoder: Some(Box::new(decode)) }
    }

    pub(crate) fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The call's number, which the events about it carry.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.call.id
    }

    /// Whether the call is answered, so that waiting for it would not block.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.call.outcome().is_some()
    }

    /// A handle to cancel the call while another thread waits for it.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(Arc::clone(&self.call))
    }

    /// Ends the call: at once if it is queued, within a few milliseconds if it runs. Its outcome can still be waited for.
    pub fn cancel(&self) {
        self.call.cancel();
    }
}

impl<R> PendingCall<R> {
    /// Blocks until the call is answered, and returns the encoded value.
    ///
    /// # Errors
    ///
    /// Any call error, see [`Error`]. [`Error::ResultDecode`] only if the answer was read before.
    pub fn wait_encoded(mut self) -> Result<Answer<Vec<u8>>, Error> {
        let answer = read_encoded(&self.call, self.call.wait());
        self.is_over = true;
        answer
    }

    /// Like [`wait_encoded`](Self::wait_encoded), as a future.
    ///
    /// # Errors
    ///
    /// Any call error, see [`Error`]. [`Error::ResultDecode`] only if the answer was read before.
    pub async fn answer_encoded(mut self) -> Result<Answer<Vec<u8>>, Error> {
        std::future::poll_fn(|context| {
            self.poll_outcome(context, |call, outcome| read_encoded(&call.call, outcome))
        })
        .await
    }

    /// The encoded reply as a guest reads it; its first byte states that it has a value.
    pub(crate) async fn reply_for_guest(mut self) -> Result<Vec<u8>, Error> {
        std::future::poll_fn(|context| {
            self.poll_outcome(context, |call, outcome| {
                let reply = outcome.as_ref().map_err(Error::clone)?;
                reply.body.take_reply(&call.call.function)
            })
        })
        .await
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
    /// Like [`wait`](Self::wait), but replaces the content of `into` with the value. After an error `into` is unchanged.
    ///
    /// A value of 128 KiB or more is not copied. Its buffer is exchanged for the caller's, which the pool reuses for the
    /// payload of another call. A caller that passes the same variable each time makes large calls without allocating, with
    /// any number of them outstanding.
    ///
    /// # Errors
    ///
    /// Any call error, see [`Error`].
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
    /// Any call error, see [`Error`].
    pub async fn answer_into(mut self, into: &mut Vec<u8>) -> Result<ReplyMetadata, Error> {
        std::future::poll_fn(|context| {
            self.poll_outcome(context, |call, outcome| read_into(&call.call, outcome, into))
        })
        .await
    }
}

impl<R: DeserializeOwned + 'static> PendingCall<R> {
    /// The decoded value of an outcome, or its error.
    fn read(&self, outcome: &Outcome) -> Result<Answer<R>, Error> {
        let reply = outcome.as_ref().map_err(Error::clone)?;
        let function = &self.call.function;
        let value = match &self.decoder {
            None => reply.body.take(function)?,
            Some(decode) => decode(&reply.body.take_encoded(function)?)?,
        };
        Ok(Answer { value, metadata: reply.metadata })
    }

    /// Blocks until the call is answered, which is at the latest at its time limit, or a few milliseconds later if it must be
    /// interrupted.
    ///
    /// # Errors
    ///
    /// Any call error, see [`Error`].
    pub fn wait(self) -> Result<R, Error> {
        self.wait_answer().map(|answer| answer.value)
    }

    /// Like [`wait`](Self::wait), with the reply's metadata.
    ///
    /// # Errors
    ///
    /// Any call error, see [`Error`].
    pub fn wait_answer(mut self) -> Result<Answer<R>, Error> {
        let answer = self.read(self.call.wait());
        self.is_over = true;
        answer
    }

    /// Like [`wait`](Self::wait), with the fuel that the call used, even if it failed with a guest error, a trap or an
    /// interruption.
    ///
    /// The fuel of a call that returned or used up its fuel is exact. The fuel of a call that
    /// trapped or was interrupted is a lower bound: its operators used at most
    /// [`MAX_UNCOUNTED_FUEL`](crate::MAX_UNCOUNTED_FUEL) more. `None` if the function is not metered,
    /// if the call never ran, or if it was answered while a host function prevented the guest from ending.
    pub fn wait_metered(mut self) -> (Result<R, Error>, Option<u64>) {
        let answer = self.read(self.call.wait());
        self.is_over = true;
        (answer.map(|answer| answer.value), self.call.fuel_used())
    }

    /// The answer as a future, with the reply's metadata.
    ///
    /// # Errors
    ///
    /// Any call error, see [`Error`].
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
        if !self.is_over && self.call.outcome().is_none() {
            self.call.cancel();
        }
    }
}

/// The encoded value of an outcome, or its error.
fn read_encoded(call: &Call, outcome: &Outcome) -> Result<Answer<Vec<u8>>, Error> {
    let reply = outcome.as_ref().map_err(Error::clone)?;
    Ok(Answer { value: reply.body.take_encoded(&call.function)?, metadata: reply.metadata })
}

/// The same, with the value written to `into`.
fn read_into(call: &Call, outcome: &Outcome, into: &mut Vec<u8>) -> Result<ReplyMetadata, Error> {
    let reply = outcome.as_ref().map_err(Error::clone)?;
    reply.body.take_into(&call.function, into)?;
    Ok(reply.metadata)
}
