//! Functions of the embedder that guests may call if their definition was granted them.
//!
//! Arguments and replies are encoded, as between modules. Panics of the embedder's closure are caught. When the call should
//! end, the future of an async function is dropped, and the helper thread of a blocking one is abandoned. An inline function
//! that does not return makes its worker unresponsive, and the worker is replaced.

pub(crate) mod bindings;

mod runtime;

pub(crate) use runtime::HostRuntime;

use crate::call::reply::encode_reply;
use crate::call::{Call, Interrupt};
use crate::codec::decode::decode;
use crate::error::Error;
use crate::id::{CallId, TraceContext, WorkerId};
use crate::sync::atomic::AtomicBool;
use crate::sync::{thread, time};
use crate::system::background::{Dropped, Interest};
use crate::system::contain::contain;
use crate::system::offload::foreign;
use crate::system::thread_waker::with_thread_waker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wpc_abi::GuestError;
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_ERROR, TAG_VALUE};

/// The interval at which code that waits on a worker's thread checks whether its call should end.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// The call on whose behalf a host function runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostContext {
    pub(crate) call: Arc<Call>,
    pub(crate) worker: WorkerId,
    /// Set when the worker must end.
    pub(crate) stopping: Arc<AtomicBool>,
}

impl HostContext {
    /// The call's id, which events about it contain.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.call.id
    }

    /// The function that was called. The caller of the host function may be one of its dependencies.
    #[must_use]
    pub fn function_name(&self) -> &str {
        &self.call.function
    }

    /// The worker that runs the call. A host function that is neither async nor blocking runs on this worker's thread, so the
    /// worker's other calls wait meanwhile.
    #[must_use]
    pub fn worker_id(&self) -> WorkerId {
        self.worker
    }

    /// When the call ends, whether or not the host function has returned.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.call.deadline()
    }

    /// The time until [`deadline`](Self::deadline); zero if it has passed.
    #[must_use]
    pub fn remaining_time(&self) -> Duration {
        self.deadline().saturating_duration_since(time::now())
    }

    /// The trace that the caller passed with [`CallOptions::trace_context`](crate::CallOptions::trace_context), to
    /// continue it in requests that the host function makes.
    #[must_use]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.call.context.as_ref()?.trace.as_ref()
    }

    /// The identifier that the caller passed with [`CallOptions::correlation_id`](crate::CallOptions::correlation_id).
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.call.context.as_ref()?.correlation_id()
    }

    /// Whether the call should end now: its limit passed, it was cancelled, or the workers are stopping. Its caller is
    /// answered within a few milliseconds. The result of the host function is discarded, and the guest is interrupted.
    #[must_use]
    pub fn should_end(&self) -> bool {
        self.interrupt().is_some()
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.call.should_end(&self.stopping, time::now())
    }
}

/// Why a host function ended without a reply.
pub(crate) struct Interrupted(pub(crate) Interrupt);

/// The form in which sandboxes call a host function.
///
/// Dropping the closure runs code of the embedder, so it happens where such code may run.
pub(crate) struct HostFunction(Option<Run>);

/// A closure that takes encoded arguments and returns an encoded reply.
type Closure = dyn Fn(&HostContext, &[u8]) -> Vec<u8> + Send + Sync;

/// The encoded reply of an async host function.
type Reply = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// A closure that starts an async host function.
type Start = dyn Fn(HostContext, &[u8]) -> Reply + Send + Sync;

/// How a host function runs.
enum Run {
    /// On the guest's thread. It is expected to return soon.
    Inline(Box<Closure>),
    /// As a future, during which the guest is suspended.
    Async(Box<Start>),
    /// On a helper thread, during which the guest is suspended.
    Blocking(Arc<Closure>),
}

impl Drop for HostFunction {
    fn drop(&mut self) {
        let run = self.0.take();
        foreign(move || drop(run));
    }
}

impl std::fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostFunction")
    }
}

impl HostFunction {
    /// A closure that is expected to return soon.
    pub(crate) fn inline<A, R, E, F>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        Self(Some(Run::Inline(Box::new(typed(name, function)))))
    }

    /// A closure that may block.
    pub(crate) fn blocking<A, R, E, F>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        Self(Some(Run::Blocking(Arc::new(typed(name, function)))))
    }

    /// A closure that takes encoded arguments and returns an encoded reply.
    #[cfg(feature = "json")]
    pub(crate) fn encoded<F>(name: &str, function: F) -> Self
    where
        F: Fn(&HostContext, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    {
        let name = name.to_owned();
        Self(Some(Run::Inline(Box::new(move |context, arguments| {
            contained(&name, || function(context, arguments))
        }))))
    }

    /// A closure that returns a future.
    pub(crate) fn asynchronous<A, R, E, F, T>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(HostContext, A) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, E>> + Send + 'static,
    {
        let name: Arc<str> = name.into();
        Self(Some(Run::Async(Box::new(move |context, arguments| {
            let mut refused = None;
            let future = contain(|| match decode(arguments) {
                Ok(arguments) => Some(function(context, arguments)),
                Err(reason) => {
                    refused = Some(encode_reply(TAG_BAD_ARGUMENTS, &reason));
                    None
                }
            });
            match future {
                Ok(Some(future)) => {
                    let own_name = Arc::clone(&name);
                    let future = async move { reply(&own_name, &future.await) };
                    Box::pin(Contained { name: Arc::clone(&name), future: Some(Box::pin(future)) })
                }
                Ok(None) => Box::pin(ready(refused.unwrap_or_default())),
                Err(message) => Box::pin(ready(panicked(&name, message))),
            }
        }))))
    }

    /// Whether a guest that calls it is suspended while it runs.
    pub(crate) fn suspends(&self) -> bool {
        matches!(self.0, Some(Run::Async(_) | Run::Blocking(_)))
    }

    /// Runs it on this thread until it returns, or until its call should end.
    pub(crate) fn run(
        &self,
        context: &HostContext,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Interrupted> {
        let reply = match &self.0 {
            Some(Run::Inline(run)) => run(context, arguments),
            Some(Run::Blocking(run)) => run(context, arguments),
            Some(Run::Async(start)) => {
                drive(start(context.clone(), arguments), || context.interrupt())
                    .map_err(Interrupted)?
            }
            // Only `drop` removes it.
            None => Vec::new(),
        };
        // A slow function must not let its call exceed its limit.
        context.interrupt().map_or(Ok(reply), |interrupt| Err(Interrupted(interrupt)))
    }

    /// Starts it; the guest is suspended until the reply is ready. Dropping the reply ends an async function, and abandons a
    /// blocking one. The function runs at once if it does not suspend the guest.
    pub(crate) fn start(
        &self,
        context: HostContext,
        arguments: Vec<u8>,
        host: &Arc<HostRuntime>,
    ) -> Result<Reply, Error> {
        Ok(match &self.0 {
            Some(Run::Inline(run)) => Box::pin(ready(run(&context, &arguments))),
            Some(Run::Async(start)) => {
                let reply = host.within(|| start(context, &arguments))?;
                Box::pin(WithinRuntime { host: Arc::clone(host), reply: Some(reply) })
            }
            Some(Run::Blocking(run)) => {
                let run = Arc::clone(run);
                let task = move |_: &Interest| Ok(run(&context, &arguments));
                let outcome = host.helpers().run(Dropped::IsWithdrawn, task)?;
                Box::pin(async move { outcome.await.unwrap_or_default() })
            }
            None => Box::pin(ready(Vec::new())),
        })
    }
}

/// A future that is polled and dropped within the runtime for host functions.
struct WithinRuntime {
    host: Arc<HostRuntime>,
    /// Taken when it is dropped.
    reply: Option<Reply>,
}

impl Future for WithinRuntime {
    type Output = Vec<u8>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Vec<u8>> {
        let Self { host, reply } = &mut *self;
        let Some(reply) = reply else { return Poll::Pending };
        // The runtime was started before the reply was.
        host.within(|| reply.as_mut().poll(task)).unwrap_or(Poll::Pending)
    }
}

impl Drop for WithinRuntime {
    fn drop(&mut self) {
        let reply = self.reply.take();
        let _ = self.host.within(|| drop(reply));
    }
}

/// A future of the embedder. Its panics, including panics while it is dropped, become a reply.
struct Contained {
    name: Arc<str>,
    /// Taken when it has ended.
    future: Option<Reply>,
}

impl Future for Contained {
    type Output = Vec<u8>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        let Some(future) = &mut self.future else { return Poll::Ready(Vec::new()) };
        let polled = contain(|| future.as_mut().poll(context));
        let reply = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(reply)) => reply,
            Err(message) => panicked(&self.name, message),
        };
        self.drop_future();
        Poll::Ready(reply)
    }
}

impl Contained {
    fn drop_future(&mut self) {
        let future = self.future.take();
        drop(contain(|| drop(future)));
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.drop_future();
    }
}

/// Polls a future on this thread until it is ready or its call should end, and drops it.
pub(crate) fn drive<T>(
    future: impl Future<Output = T>,
    interrupt: impl Fn() -> Option<Interrupt>,
) -> Result<T, Interrupt> {
    let mut future = pin!(future);
    with_thread_waker(|waker| {
        let mut task = Context::from_waker(waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut task) {
                return Ok(value);
            }
            if let Some(interrupt) = interrupt() {
                return Err(interrupt);
            }
            thread::park_timeout(CHECK_INTERVAL);
        }
    })
}

/// A closure over encoded arguments and replies.
fn typed<A, R, E, F>(
    name: &str,
    function: F,
) -> impl Fn(&HostContext, &[u8]) -> Vec<u8> + Send + Sync + 'static
where
    A: DeserializeOwned,
    R: Serialize,
    E: Display,
    F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
{
    let name = name.to_owned();
    move |context, arguments| {
        contained(&name, || match decode(arguments) {
            Err(reason) => encode_reply(TAG_BAD_ARGUMENTS, &reason),
            Ok(arguments) => reply(&name, &function(context, arguments)),
        })
    }
}

/// The reply that `run` encodes. If it panics, the guest receives an error.
fn contained(name: &str, run: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    contain(run).unwrap_or_else(|message| panicked(name, message))
}

#[cold]
fn panicked(name: &str, message: Option<String>) -> Vec<u8> {
    let message = message.unwrap_or_else(|| "the panic has no message".to_owned());
    let message = format!("host function `{name}` panicked: {message}");
    encode_reply(TAG_ERROR, &GuestError::new("HostFunctionPanicked", message))
}

fn reply<R: Serialize, E: Display>(name: &str, result: &Result<R, E>) -> Vec<u8> {
    match result {
        Ok(value) => encode_reply(TAG_VALUE, value),
        Err(error) => {
            let kind = std::any::type_name::<E>().split('<').next().unwrap_or_default();
            let kind = match kind.rsplit("::").next().unwrap_or_default() {
                "String" | "&str" => "Error",
                kind => kind,
            };
            let stack = format!("in host function {name}");
            let error = GuestError::new(kind, error.to_string()).with_stack(stack);
            encode_reply(TAG_ERROR, &error)
        }
    }
}
