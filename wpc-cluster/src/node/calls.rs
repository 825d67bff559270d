//! The calls from other processes: each is checked, submitted to the pool, and answered by a task of its own.

use super::call_task::CallTask;
use super::running::{Credit, KEPT_FOR, Known};
use super::{Inner, Intake};
use crate::connection::Received;
use crate::protocol::admission::Admitted;
use crate::wire::{ArgumentsForm, Body, Control, Frame, Refusal, Reply, Request};
use bytes::Bytes;
use futures::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wpc_host::{
    BackendReply, CallArguments, CallOptions, CallOutcome, Error, ErrorCode, ErrorReport,
    FuelMeter, ReplyFormat, ReplyValue, Sha256Hash, StreamOptions, StreamPart, SubmittedCall,
    SubmittedStream,
};

/// A call or a stream that the pool has accepted.
enum Submitted {
    Call(SubmittedCall),
    Stream(SubmittedStream),
}

/// How often, and at which interval, a node checks whether the guest of an ended call has stopped: 10 s in total. A guest stops within
/// milliseconds, unless a host function keeps it.
const FUEL_CHECKS: u32 = 1000;
const FUEL_DELAY: Duration = Duration::from_millis(10);

/// The maximum length in bytes of arguments that are converted, and of a result that is sent, within microseconds.
const MAX_QUICK: usize = 64 << 10;

impl Submitted {
    fn fuel_meter(&self) -> FuelMeter {
        match self {
            Self::Call(call) => call.fuel_meter(),
            Self::Stream(stream) => stream.fuel_meter(),
        }
    }
}

/// A call that was checked, and its slot among the calls of the node.
struct Accepted {
    request: Request,
    definition: Sha256Hash,
    is_metered: bool,
    inbox: String,
    admitted: Admitted,
}

/// Takes a message with a call.
pub(super) fn take(inner: &Arc<Inner>, message: Received) {
    let Some(inbox) = message.reply.clone() else { return };
    // The node may publish to subjects to which its caller may not. Answers therefore go to inboxes only.
    if !inbox.starts_with("_INBOX") {
        tracing::debug!(%inbox, "a call names a subject for its answer that is not an inbox");
        return;
    }
    match accept(inner, &message, &inbox) {
        Ok((accepted, body)) => start(inner, accepted, body),
        Err(refusal) => refuse(inner, inbox, refusal),
    }
}

/// Refuses a call that was not added to those that run.
fn refuse(inner: &Arc<Inner>, inbox: String, refusal: Refusal) {
    let message = Frame::Refused(refusal).encode(&[]);
    // Kept before it is sent: its caller may ask about the call meanwhile.
    inner.running.keep(&inbox, &message, now());
    send_refusal(inner, inbox, message);
}

/// Refuses a call that was added to those that run, and removes it.
fn withdraw(inner: &Arc<Inner>, inbox: String, refusal: Refusal) {
    let message = Frame::Refused(refusal).encode(&[]);
    inner.running.end(&inbox, &message, now());
    send_refusal(inner, inbox, message);
}

fn send_refusal(inner: &Arc<Inner>, inbox: String, message: Bytes) {
    inner.refused.fetch_add(1, Ordering::Relaxed);
    let connection = inner.connection.clone();
    inner.runtime.spawn(async move {
        let _ = connection.publish(inbox, message).await;
    });
}

/// The time of the runtime's clock, which simulations control.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Checks a call and takes a slot for it.
fn accept(
    inner: &Arc<Inner>,
    message: &Received,
    inbox: &str,
) -> Result<(Accepted, Bytes), Refusal> {
    let malformed = |reason: &dyn std::fmt::Display| Refusal::Malformed(reason.to_string());
    let (request, body) = Request::decode(&message.payload).map_err(|error| malformed(&error))?;
    let definition = message.subject.rsplit('.').next().unwrap_or_default();
    let definition: Sha256Hash = definition.parse().map_err(|error| malformed(&error))?;
    if *inner.intake.borrow() != Intake::Open {
        return Err(Refusal::Draining);
    }
    if inner.connection.now_ms() >= request.deadline_ms {
        return Err(Refusal::Expired);
    }
    let served = inner.serving.read(|served| served.definition(&request.function, definition))?;
    let admitted = inner.admission.admit(served.can_suspend)?;
    let credit = request.stream.map(|window| Arc::new(Credit::new(window.items, window.bytes)));
    if !inner.running.add(inbox, credit) {
        return Err(Refusal::Malformed("another call has the same inbox".to_owned()));
    }
    let (inbox, is_metered) = (inbox.to_owned(), served.is_metered);
    Ok((Accepted { request, definition, is_metered, inbox, admitted }, body))
}

/// Submits a call to the pool, and starts the task that answers it.
fn start(inner: &Arc<Inner>, accepted: Accepted, body: Bytes) {
    let inbox = accepted.inbox.clone();
    let stored = accepted.request.body.clone();
    let is_quick = body.len() <= MAX_QUICK || !accepted.request.arguments.is_json();
    let task = if stored == Body::Inline && is_quick {
        match submit(inner, &accepted, body) {
            Ok(submitted @ Submitted::Call(_)) => CallTask::start_direct(
                &inner.runtime,
                answer(Arc::clone(inner), accepted, submitted),
            ),
            Ok(submitted @ Submitted::Stream(_)) => {
                let task = inner.runtime.spawn(answer(Arc::clone(inner), accepted, submitted));
                CallTask::Runtime(task.abort_handle())
            }
            Err(refusal) => return withdraw(inner, inbox, refusal),
        }
    } else {
        let (inner, own_inbox) = (Arc::clone(inner), inbox.clone());
        let task = inner.runtime.clone().spawn(async move {
            let reading = inner.payloads.read(&stored, body);
            let limit = remaining(&inner, &accepted.request);
            let refusal = match tokio::time::timeout(limit, reading).await {
                Err(_) => Refusal::Expired,
                Ok(Err(error)) => Refusal::Payload(error.to_string()),
                Ok(Ok(body)) => match submit_elsewhere(&inner, accepted, body).await {
                    Ok((accepted, submitted)) => {
                        answer(Arc::clone(&inner), accepted, submitted).await;
                        if let Body::Stored { name, .. } = &stored {
                            inner.payloads.delete(name).await;
                        }
                        return;
                    }
                    Err(refusal) => refusal,
                },
            };
            withdraw(&inner, own_inbox, refusal);
        });
        CallTask::Runtime(task.abort_handle())
    };
    inner.running.set_task(&inbox, task);
}

/// Submits a call with large arguments. Their conversion can take long, and the threads of the runtime report the node meanwhile.
async fn submit_elsewhere(
    inner: &Arc<Inner>,
    accepted: Accepted,
    body: Bytes,
) -> Result<(Accepted, Submitted), Refusal> {
    let inner = Arc::clone(inner);
    let submitting = tokio::task::spawn_blocking(move || {
        submit(&inner, &accepted, body).map(|submitted| (accepted, submitted))
    });
    // The runtime stops, or the conversion has panicked.
    submitting.await.unwrap_or_else(|error| Err(Refusal::Malformed(error.to_string())))
}

/// Submits a call to the pool, if it still has the definition.
fn submit(inner: &Inner, accepted: &Accepted, body: Bytes) -> Result<Submitted, Refusal> {
    let request = &accepted.request;
    let remaining = remaining(inner, request);
    if remaining.is_zero() {
        return Err(Refusal::Expired);
    }
    let options = options(request, remaining);
    let arguments = arguments(request.arguments, body)?;
    let refused = |error: Error| Refusal::Pool(Box::new(ErrorReport::from(&error)));
    let submitted = inner.serving.read(|served| {
        served.definition(&request.function, accepted.definition)?;
        Ok(match request.stream {
            Some(window) => {
                let items = (window.items.max(1) as usize).min(1024);
                let options = StreamOptions::new().call(options).max_waiting_items(items);
                Submitted::Stream(
                    inner.pool.stream(&request.function, arguments, &options).map_err(refused)?,
                )
            }
            None => {
                let format = match request.result {
                    ArgumentsForm::Encoded => ReplyFormat::Encoded,
                    ArgumentsForm::Bytes => ReplyFormat::Bytes,
                    ArgumentsForm::Json | ArgumentsForm::Named => ReplyFormat::JsonText,
                };
                let call = inner.pool.submit(&request.function, arguments, format, &options);
                Submitted::Call(call.map_err(refused)?)
            }
        })
    })?;
    if accepted.is_metered {
        inner.running.set_fuel(&accepted.inbox, submitted.fuel_meter());
    }
    inner.accepted.fetch_add(1, Ordering::Relaxed);
    Ok(submitted)
}

/// The time until the caller no longer waits.
fn remaining(inner: &Inner, request: &Request) -> Duration {
    Duration::from_millis(request.deadline_ms.saturating_sub(inner.connection.now_ms()))
}

/// The options of the call in the pool.
fn options(request: &Request, remaining: Duration) -> CallOptions {
    let mut options = CallOptions::new();
    if request.within_limits {
        options = options.within_limits();
    }
    // The pool applies a limit of the function itself: reaching it is a failure of the function.
    if request.limits_time {
        options = options.timeout(remaining);
    }
    if let Some(fuel) = request.fuel {
        options = options.fuel(fuel);
    }
    if let Some(key) = request.affinity {
        options = options.affinity(key);
    }
    if let Some((parent, state)) = &request.trace
        && let Ok(trace) = parent.parse::<wpc_host::TraceContext>()
    {
        let with_state = state.as_ref().and_then(|state| trace.clone().with_state(state).ok());
        options = options.trace_context(with_state.unwrap_or(trace));
    }
    if let Some(id) = &request.correlation_id {
        options = options.correlation_id(id.as_str());
    }
    options
}

fn arguments(form: ArgumentsForm, body: Bytes) -> Result<CallArguments, Refusal> {
    let malformed = |error: serde_json::Error| Refusal::Malformed(error.to_string());
    Ok(match form {
        ArgumentsForm::Json => {
            CallArguments::Positional(serde_json::from_slice(&body).map_err(malformed)?)
        }
        ArgumentsForm::Named => {
            CallArguments::Named(serde_json::from_slice(&body).map_err(malformed)?)
        }
        ArgumentsForm::Encoded => CallArguments::Encoded(body.into()),
        ArgumentsForm::Bytes => CallArguments::Bytes(body.into()),
    })
}

/// Answers a call when it has ended.
async fn answer(inner: Arc<Inner>, accepted: Accepted, submitted: Submitted) {
    let fuel = accepted.is_metered.then(|| submitted.fuel_meter());
    let (mut frame, body) = match submitted {
        Submitted::Call(call) => match call.await {
            Ok(reply) => result(&inner, &accepted, reply, 0).await,
            Err(error) => failed(&error, 0),
        },
        Submitted::Stream(stream) => forward(&inner, &accepted, stream).await,
    };
    let mut unknown = None;
    if let (Frame::Failed { fuel_used, .. }, Some(fuel)) = (&mut frame, fuel) {
        *fuel_used = fuel.fuel_used();
        unknown = fuel_used.is_none().then_some(fuel);
    }
    let message = frame.encode(&body);
    inner.running.end(&accepted.inbox, &message, now());
    drop(accepted.admitted);
    let _ = inner.connection.publish(accepted.inbox.clone(), message).await;
    if let Some(fuel) = unknown {
        report_fuel(&inner, accepted.inbox, fuel).await;
    }
    if Arc::strong_count(&inner) == 1 {
        // The node was dropped. This thread may be a worker of its pool, which cannot wait for its own end.
        inner.runtime.clone().spawn(async move { drop(inner) });
    }
}

/// Reports the fuel of a call that has ended, when its guest has stopped. The caller waits just as long for it.
async fn report_fuel(inner: &Inner, inbox: String, fuel: FuelMeter) {
    for _ in 0..FUEL_CHECKS {
        if let Some(fuel_used) = fuel.fuel_used() {
            let message = Frame::Stopped { fuel_used }.encode(&[]);
            let _ = inner.connection.publish(inbox, message).await;
            return;
        }
        tokio::time::sleep(FUEL_DELAY).await;
    }
}

fn failed(error: &Error, items: u64) -> (Frame, Bytes) {
    let report = Box::new(ErrorReport::from(error));
    (Frame::Failed { report, items, fuel_used: None }, Bytes::new())
}

/// The answer with the reply of a call. A result that is too large for a message is stored.
async fn result(
    inner: &Arc<Inner>,
    accepted: &Accepted,
    reply: BackendReply,
    items: u64,
) -> (Frame, Bytes) {
    let function = &accepted.request.function;
    let unsendable = |reason: String| failed(&Error::result_not_sent(function, &reason), items);
    let body: Bytes = match reply.value {
        ReplyValue::JsonText(bytes) | ReplyValue::Encoded(bytes) | ReplyValue::Bytes(bytes) => {
            bytes.into()
        }
        // The result of a stream.
        ReplyValue::Json(value) => match serde_json::to_vec(&value) {
            Ok(text) => text.into(),
            Err(error) => return unsendable(error.to_string()),
        },
        other => return unsendable(format!("unknown form: {other:?}")),
    };
    if body.len() > MAX_QUICK {
        // This may be the thread of the worker. From here on, the runtime continues.
        tokio::task::yield_now().await;
    }
    let mut head = Reply::new(accepted.definition.into(), reply.metadata.worker_id.into());
    (head.fuel_used, head.items) = (reply.metadata.fuel_used, items);
    if inner.payloads.fits(body.len()) {
        return (Frame::Reply(Box::new(head)), body);
    }
    let name = format!("{}.result", accepted.inbox);
    let storing = inner.payloads.put(name.clone(), &body);
    let stored = tokio::time::timeout(remaining(inner, &accepted.request), storing).await;
    delete_later(inner, name);
    match stored {
        Ok(Ok(stored)) => {
            head.body = stored;
            (Frame::Reply(Box::new(head)), Bytes::new())
        }
        Ok(Err(error)) => unsendable(error.to_string()),
        Err(_) => failed(&too_late(function, "result"), items),
    }
}

/// Deletes a stored result after its answer was discarded: its caller may have gone.
fn delete_later(inner: &Arc<Inner>, name: String) {
    let node = Arc::downgrade(inner);
    inner.runtime.spawn(async move {
        tokio::time::sleep(KEPT_FOR).await;
        if let Some(inner) = node.upgrade() {
            inner.payloads.delete(&name).await;
        }
    });
}

/// Sends the items of a stream as far as the caller grants, and returns its end.
async fn forward(
    inner: &Arc<Inner>,
    accepted: &Accepted,
    mut stream: SubmittedStream,
) -> (Frame, Bytes) {
    let Some(credit) = inner.running.credit(&accepted.inbox) else {
        return (Frame::UnknownCall, Bytes::new());
    };
    let function = &accepted.request.function;
    let mut items = 0;
    while let Some(part) = stream.next().await {
        match part {
            Ok(StreamPart::Item(item)) => {
                let body = match serde_json::to_vec(&item) {
                    Ok(body) if inner.payloads.fits(body.len()) => body,
                    Ok(body) => {
                        let reason =
                            format!("an item of {} bytes does not fit a message", body.len());
                        return failed(&Error::result_not_sent(function, &reason), items);
                    }
                    Err(error) => {
                        return failed(&Error::result_not_sent(function, error.to_string()), items);
                    }
                };
                // A caller that was killed neither reads nor cancels.
                let limit = remaining(inner, &accepted.request);
                if tokio::time::timeout(limit, credit.take(body.len())).await.is_err() {
                    return failed(&too_late(function, "items"), items);
                }
                let message = Frame::Item(items).encode(&body);
                let inbox = accepted.inbox.clone();
                let _ = inner.connection.publish(inbox, message).await;
                items += 1;
            }
            Ok(StreamPart::Reply(reply)) => return result(inner, accepted, reply, items).await,
            Ok(_) => {}
            Err(error) => return failed(&error.error, items),
        }
    }
    (Frame::UnknownCall, Bytes::new())
}

/// The error of a call whose items its caller does not read, or whose result cannot be stored in time.
fn too_late(function: &str, what: &str) -> Error {
    let text =
        format!("the {what} of function \"{function}\" could not be sent within its time limit");
    ErrorReport::new(ErrorCode::Timeout, CallOutcome::Unknown, text).into()
}

/// Takes a message of a caller about its calls.
pub(super) fn control(inner: &Arc<Inner>, message: Received) {
    let control = match Control::decode(&message.payload) {
        Ok(control) => control,
        Err(error) => {
            tracing::debug!(%error, "a message of a caller cannot be read");
            return;
        }
    };
    match control {
        Control::Cancel { inboxes } => {
            for inbox in inboxes {
                let Some(fuel) = inner.running.cancel(&inbox) else { continue };
                let inner = Arc::clone(inner);
                let report = async move { report_fuel(&inner, inbox, fuel).await };
                tokio::spawn(report);
            }
        }
        Control::Credit { inbox, items, bytes } => inner.running.add_credit(&inbox, items, bytes),
        Control::Ask { inboxes } => {
            let inboxes = inboxes.into_iter().filter(|inbox| inbox.starts_with("_INBOX"));
            let messages = inboxes.filter_map(|inbox| match inner.running.look_up(&inbox) {
                Known::Running => None,
                Known::Answered(message) => Some((inbox, message)),
                Known::Unknown => Some((inbox, Frame::UnknownCall.encode(&[]))),
            });
            let messages: Vec<_> = messages.collect();
            let connection = inner.connection.clone();
            // Elsewhere, because the next messages must not wait until these are sent.
            inner.runtime.spawn(async move {
                for (inbox, message) in messages {
                    let _ = connection.publish(inbox, message).await;
                }
            });
        }
    }
}
