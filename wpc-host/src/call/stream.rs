//! The caller's handle to a submitted call whose function yields items.

#[cfg(feature = "json")]
use crate::call::fuel_meter::FuelMeter;
use crate::call::items::{Batch, Items};
use crate::call::pending::{Answer, CancelHandle, PendingCall};
use crate::error::Error;
use crate::id::CallId;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A submitted call whose function yields items before its result, returned by
/// [`WorkerProcedureCall::stream`](crate::WorkerProcedureCall::stream).
///
/// It is a [`Stream`] for async tasks. A thread reads the items with [`next_blocking`](Self::next_blocking), or iterates over
/// `&mut stream`. Either way, the stream ends after the last item or after an error, which is then the last item. After the
/// items, [`finish`](Self::finish) returns the function's result.
///
/// Items that are not read yet wait in a buffer. While it is full, see [`StreamOptions`](crate::StreamOptions), the function
/// is suspended. The time limit of the call still applies. Dropping the stream cancels the call.
#[must_use = "dropping a stream cancels its call"]
pub struct ItemStream<T, R> {
    pending: PendingCall<R>,
    items: Arc<Items>,
    batch: Batch,
    decode: Decoder<T>,
    delivered: u64,
    stage: Stage,
}

type Decoder<T> = Box<dyn Fn(&[u8]) -> Result<T, Error> + Send + Sync>;

/// The stage of a stream.
enum Stage {
    /// More items may come.
    Open,
    /// All items were read, and the function has returned its result.
    Ended,
    /// The stream failed with this error.
    Failed(Error),
}

impl<T, R> fmt::Debug for ItemStream<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemStream")
            .field("call", &self.pending.id())
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

/// Why a stream failed, and how many items were delivered before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamError {
    /// The error with which the call ended.
    pub error: Box<Error>,
    /// The number of items that were delivered before.
    pub delivered: u64,
}

impl StreamError {
    /// The error of a stream of which this many items were delivered, for code that passes streams on.
    #[must_use]
    pub fn new(error: Error, delivered: u64) -> Self {
        Self { error: Box::new(error), delivered }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, delivered } = self;
        write!(f, "{error} (after {delivered} item{})", if *delivered == 1 { "" } else { "s" })
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<StreamError> for Error {
    fn from(failed: StreamError) -> Self {
        *failed.error
    }
}

impl<T, R> ItemStream<T, R> {
    pub(crate) fn new(
        pending: PendingCall<R>,
        items: Arc<Items>,
        decode: impl Fn(&[u8]) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Self {
        let (batch, decode) = (Batch::default(), Box::new(decode));
        Self { pending, items, batch, decode, delivered: 0, stage: Stage::Open }
    }

    /// The call's number, which the events about it carry.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.pending.id()
    }

    #[cfg(feature = "json")]
    pub(crate) fn fuel_meter(&self) -> FuelMeter {
        FuelMeter::of(self.pending.call())
    }

    /// The number of items that were delivered until now.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Ends the call: at once if it is queued or suspended, within a few milliseconds if it runs. Items that wait are still
    /// delivered.
    pub fn cancel(&self) {
        self.pending.cancel();
    }

    /// A handle to cancel the call while another thread reads the stream.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.pending.cancel_handle()
    }

    /// Blocks until the next item is available; `None` after the last one.
    ///
    /// # Errors
    ///
    /// The error with which the call ended, or that of an item that cannot be decoded. It is the last item.
    pub fn next_blocking(&mut self) -> Option<Result<T, StreamError>> {
        match self.stage {
            Stage::Open => {
                let has_item = self.wait();
                self.advance(has_item)
            }
            Stage::Ended | Stage::Failed(_) => None,
        }
    }

    fn failed(&self, error: Error) -> StreamError {
        StreamError { error: Box::new(error), delivered: self.delivered }
    }

    /// Whether the batch has an item; `None` if it has none now, but the call is not answered.
    fn refill(&mut self) -> Option<bool> {
        if !self.batch.is_read() {
            return Some(true);
        }
        // Read first: the guest adds its items before its call is answered.
        let is_answered = self.pending.call().outcome().is_some();
        if self.items.take(&mut self.batch) {
            return Some(true);
        }
        is_answered.then_some(false)
    }

    fn wait(&mut self) -> bool {
        let call = Arc::clone(self.pending.call());
        call.wait_for(|| self.refill())
    }

    fn poll_batch(&mut self, context: &Context<'_>) -> Poll<bool> {
        let call = Arc::clone(self.pending.call());
        call.poll_for(context.waker(), || self.refill())
    }

    /// The next item of the batch; at its end, the error of the call if it failed.
    fn advance(&mut self, has_item: bool) -> Option<Result<T, StreamError>> {
        let error = if has_item {
            let item = self.batch.next().map(|item| (self.decode)(item))?;
            match item {
                Ok(item) => {
                    self.delivered += 1;
                    return Some(Ok(item));
                }
                Err(error) => {
                    self.pending.cancel();
                    error
                }
            }
        } else {
            match self.pending.call().outcome() {
                Some(Err(error)) => error.clone(),
                _ => {
                    self.stage = Stage::Ended;
                    return None;
                }
            }
        };
        self.stage = Stage::Failed(error.clone());
        Some(Err(self.failed(error)))
    }
}

impl<T, R: DeserializeOwned + 'static> ItemStream<T, R> {
    /// Blocks until the call is answered, and returns the function's result. Items that were not read are dropped.
    ///
    /// # Errors
    ///
    /// The error with which the call ended, or that of an item that could not be decoded.
    pub fn finish(self) -> Result<R, StreamError> {
        self.finish_answer().map(|answer| answer.value)
    }

    /// Like [`finish`](Self::finish), with the reply's metadata.
    ///
    /// # Errors
    ///
    /// The error with which the call ended, or that of an item that could not be decoded.
    pub fn finish_answer(mut self) -> Result<Answer<R>, StreamError> {
        while matches!(self.stage, Stage::Open) && self.wait() {
            self.batch.skip();
        }
        self.read()
    }

    /// Like [`finish_answer`](Self::finish_answer), as a future.
    ///
    /// # Errors
    ///
    /// The error with which the call ended, or that of an item that could not be decoded.
    pub async fn answer(mut self) -> Result<Answer<R>, StreamError> {
        while matches!(self.stage, Stage::Open)
            && std::future::poll_fn(|context| self.poll_batch(context)).await
        {
            self.batch.skip();
        }
        self.read()
    }

    /// The outcome of the call, which must have been answered.
    fn read(self) -> Result<Answer<R>, StreamError> {
        let delivered = self.delivered;
        let answer = match self.stage {
            Stage::Failed(error) => Err(error),
            Stage::Open | Stage::Ended => self.pending.wait_answer(),
        };
        answer.map_err(|error| StreamError { error: Box::new(error), delivered })
    }
}

/// Iterates over the items of an [`ItemStream`], or of a mutable reference to one. It blocks the thread until the next item.
#[derive(Debug)]
pub struct BlockingItems<S>(S);

impl<T, R> Iterator for BlockingItems<&mut ItemStream<T, R>> {
    type Item = Result<T, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_blocking()
    }
}

impl<T, R> Iterator for BlockingItems<ItemStream<T, R>> {
    type Item = Result<T, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_blocking()
    }
}

impl<T, R> FusedIterator for BlockingItems<&mut ItemStream<T, R>> {}

impl<T, R> FusedIterator for BlockingItems<ItemStream<T, R>> {}

impl<'a, T, R> IntoIterator for &'a mut ItemStream<T, R> {
    type Item = Result<T, StreamError>;
    type IntoIter = BlockingItems<Self>;

    fn into_iter(self) -> BlockingItems<&'a mut ItemStream<T, R>> {
        BlockingItems(self)
    }
}

impl<T, R> IntoIterator for ItemStream<T, R> {
    type Item = Result<T, StreamError>;
    type IntoIter = BlockingItems<Self>;

    fn into_iter(self) -> BlockingItems<Self> {
        BlockingItems(self)
    }
}

impl<T, R> Stream for ItemStream<T, R> {
    type Item = Result<T, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.stage {
            Stage::Open => self.poll_batch(context).map(|has_item| self.advance(has_item)),
            Stage::Ended | Stage::Failed(_) => Poll::Ready(None),
        }
    }
}

// No field is pinned.
impl<T, R> Unpin for ItemStream<T, R> {}
