//! Functions of the embedder that guests may call, where their definition was granted them.
//!
//! Bytes come in and bytes go out, as between modules; what the embedder's closure does is foreign
//! code, so its panics are caught and its slowness is bounded from outside: an async one is dropped
//! when its call should end, a blocking one costs its worker if it does not come back.

use crate::call::reply::encode_reply;
use crate::call::{Call, Interrupt};
use crate::codec::decode::decode;
use crate::id::{CallId, WorkerId};
use crate::sync::atomic::AtomicBool;
use crate::sync::{thread, time};
use crate::system::contain::contain;
use crate::system::offload::foreign;
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

/// How often what waits on a worker's thread for others looks whether its call should end.
pub(crate) const LOOK: Duration = Duration::from_millis(1);

/// Which call a host function works for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostContext {
    pub(crate) call: Arc<Call>,
    pub(crate) worker: WorkerId,
    /// Set when the worker has to end.
    pub(crate) stopping: Arc<AtomicBool>,
}

impl HostContext {
    /// The call's number, as events about it carry it.
    #[must_use]
    pub fn call_id(&self) -> CallId {
        self.call.id
    }

    /// The function that was called; a dependency of its may be the one that called the host.
    #[must_use]
    pub fn function_name(&self) -> &str {
        &self.call.function
    }

    /// The worker whose thread this runs on. Its other calls wait meanwhile.
    #[must_use]
    pub fn worker_id(&self) -> WorkerId {
        self.worker
    }

    /// When the call ends, whatever the host function does.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.call.deadline()
    }

    /// Whether the call should end now: its limit passed, somebody cancelled it, or the workers stop.
    /// Its caller is answered within a few milliseconds, and what this function returns is lost: the
    /// guest is interrupted in its place.
    #[must_use]
    pub fn should_end(&self) -> bool {
        self.interrupt().is_some()
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.call.should_end(&self.stopping, time::now())
    }
}

/// What ended a host function before it gave a reply.
pub(crate) struct Interrupted(pub(crate) Interrupt);

/// A host function as sandboxes see it.
///
/// What the embedder's closure owns is dropped as the embedder's code is run.
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
    /// A closure that returns before long.
    pub(crate) fn blocking<A, R, E, F>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        let name = name.to_owned();
        Self(Some(Box::new(move |context, arguments| {
            Ok(contained(&name, || match decode(arguments) {
                Err(reason) => encode_reply(TAG_BAD_ARGUMENTS, &reason),
                Ok(arguments) => reply(&name, &function(context, arguments)),
            }))
        })))
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
        // Only its drop takes it out.
        let Some(run) = &self.0 else { return Ok(Vec::new()) };
        let reply = run(context, arguments)?;
        // One that took its time must not carry its call past the limit.
        context.interrupt().map_or(Ok(reply), |interrupt| Err(Interrupted(interrupt)))
    }
}

/// Polls a future on this thread until it is ready or its call should end; it is dropped then.
pub(crate) fn drive<T>(
    future: impl Future<Output = T>,
    interrupt: impl Fn() -> Option<Interrupt>,
) -> Result<T, Interrupt> {
    let mut future = pin!(future);
    crate::call::with_thread_waker(|waker| {
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

/// The reply that `run` encodes; a panic of it is an error that its guest receives.
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
