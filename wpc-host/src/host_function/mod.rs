//! Functions of the embedder that guests may call if their definition was granted them.
//!
//! Arguments and replies are encoded, as between modules. Panics of the embedder's closure are caught, and its running time
//! is bounded from outside: an async function is dropped when its call should end; a blocking one that does not return
//! makes its worker unresponsive, and the worker is replaced.

pub(crate) mod bindings;

use crate::call::reply::encode_reply;
use crate::call::{Call, Interrupt};
use crate::codec::decode::decode;
use crate::id::{CallId, TraceContext, WorkerId};
use crate::sync::atomic::AtomicBool;
use crate::sync::{thread, time};
use crate::system::contain::contain;
use crate::system::offload::foreign;
use crate::system::thread_waker::with_thread_waker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wpc_abi::GuestError;
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_ERROR, TAG_VALUE};

/// How often code that waits on a worker's thread checks whether its call should end.
pub(crate) const LOOK: Duration = Duration::from_millis(1);

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

    /// The worker on whose thread the host function runs. The worker's other calls wait meanwhile.
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

/// A host function as sandboxes call it.
///
/// Dropping the closure runs code of the embedder, so it happens where such code may run.
pub(crate) struct HostFunction(Option<Box<Run>>);

impl Drop for HostFunction {
    fn drop(&mut self) {
        let run = self.0.take();
        foreign(move || drop(run));
    }
}

type Run = dyn Fn(&HostContext, &[u8]) -> Result<Vec<u8>, Interrupted> + Send + Sync;

impl std::fmt::Debug for HostFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostFunction")
    }
}

impl HostFunction {
    /// A closure that is expected to return soon.
    pub(crate) fn blocking<A, R, E, F>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        let function_name = name.to_owned();
        Self::encoded(name, move |context, arguments| match decode(arguments) {
            Err(reason) => encode_reply(TAG_BAD_ARGUMENTS, &reason),
            Ok(arguments) => reply(&function_name, &function(context, arguments)),
        })
    }

    /// A closure that takes encoded arguments and returns an encoded reply.
    pub(crate) fn encoded<F>(name: &str, function: F) -> Self
    where
        F: Fn(&HostContext, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    {
        let name = name.to_owned();
        Self(Some(Box::new(move |context, arguments| {
            Ok(contained(&name, || function(context, arguments)))
        })))
    }

    /// A closure whose future is polled on the worker's thread.
    pub(crate) fn asynchronous<A, R, E, F, T>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(HostContext, A) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, E>>,
    {
        let name = name.to_owned();
        Self(Some(Box::new(move |context, arguments| {
            let mut interrupted = None;
            let bytes = contained(&name, || {
                let arguments = match decode(arguments) {
                    Ok(arguments) => arguments,
                    Err(reason) => return encode_reply(TAG_BAD_ARGUMENTS, &reason),
                };
                let future = function(context.clone(), arguments);
                match drive(future, || context.interrupt()) {
                    Ok(result) => reply(&name, &result),
                    Err(interrupt) => {
                        interrupted = Some(interrupt);
                        Vec::new()
                    }
                }
            });
            interrupted.map_or(Ok(bytes), |interrupt| Err(Interrupted(interrupt)))
        })))
    }

    pub(crate) fn run(
        &self,
        context: &HostContext,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Interrupted> {
        // Only `drop` removes it.
        let Some(run) = &self.0 else { return Ok(Vec::new()) };
        let reply = run(context, arguments)?;
        // A slow function must not let its call exceed its limit.
        context.interrupt().map_or(Ok(reply), |interrupt| Err(Interrupted(interrupt)))
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
            thread::park_timeout(LOOK);
        }
    })
}

/// The reply that `run` encodes. If it panics, the guest receives an error.
fn contained(name: &str, run: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    contain(run).unwrap_or_else(|message| {
        let message = message.unwrap_or_else(|| "the panic has no message".to_owned());
        let message = format!("host function `{name}` panicked: {message}");
        encode_reply(TAG_ERROR, &GuestError::new("HostFunctionPanicked", message))
    })
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
