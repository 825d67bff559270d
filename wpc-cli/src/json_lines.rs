//! Serves calls from standard input and writes answers to standard output, both as JSON lines, until the input ends or
//! the process receives a signal.

use crate::answer_writer::{AnswerWriter, Progress};
use crate::event_log::{self, Level};
use crate::exit_code::ExitCode;
use crate::failure::{self, Failure};
use crate::remedy::Interface;
use crate::signals::Signals;
use crate::terminal;
use futures::channel::mpsc;
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::stream::abortable;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{BufRead as _, Read as _, Write as _};
use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use wpc_deploy::file;
use wpc_host::{
    CallOptions, Error, ItemStream, PendingCall, StreamOptions, TraceContext, WorkerProcedureCall,
};

/// The settings of [`serve`].
pub(crate) struct Service {
    /// Whether answers are written in the order of their calls.
    pub(crate) is_ordered: bool,
    /// The maximum number of concurrent calls.
    pub(crate) outstanding: usize,
    /// How long calls may take to finish after a stop.
    pub(crate) stop_timeout: Duration,
    /// The maximum length of a line in bytes, without its terminator.
    pub(crate) max_line: usize,
    pub(crate) as_json: bool,
}

/// A call as a line of standard input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    /// Returned unchanged in the answer.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    function: String,
    #[serde(default)]
    arguments: Vec<Value>,
    #[serde(default, with = "humantime_serde")]
    timeout: Option<Duration>,
    fuel: Option<u64>,
    /// The required SHA-1 of the function's module.
    pin: Option<String>,
    affinity: Option<String>,
    /// Whether the items that the function yields are written.
    #[serde(default)]
    stream: bool,
    /// The trace that the call belongs to, as in the headers of W3C Trace Context.
    traceparent: Option<String>,
    tracestate: Option<String>,
    /// The caller's identifier of the call, for logs.
    correlation_id: Option<String>,
}

/// The id of a line that is not a valid call.
#[derive(Default, Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// The minimum time without progress, after a signal and the end of all calls, after which the reader of standard
/// output counts as stalled. It applies if the stop timeout is shorter, because a busy reader may pause.
const MIN_STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the process waits for its last message to be written, because the reader of standard error may stall too.
const LAST_MESSAGE: Duration = Duration::from_millis(500);

/// Serves until standard input ends or a signal arrives, and answers all calls that were read. After a signal no more
/// lines are read, and calls that still run after the stop timeout are interrupted.
pub(crate) fn serve(
    wpc: &WorkerProcedureCall,
    service: &Service,
    mut signals: Signals,
) -> Result<(), Failure> {
    // A capacity of one line, so that the writer of calls is blocked while the maximum number of calls is running.
    let (sender, lines) = mpsc::channel(0);
    let input_error = Arc::<OnceLock<String>>::default();
    let (max_line, error) = (service.max_line, Arc::clone(&input_error));
    #[expect(clippy::disallowed_methods, reason = "ends with standard input, or the process")]
    std::thread::Builder::new()
        .name("wpc-input".to_owned())
        .spawn(move || read_lines(sender, max_line, &error))
        .map_err(|error| {
            Failure::environment(format!("failed to start the thread for standard input: {error}"))
        })?;
    let (lines, reading) = abortable(lines);
    let broken =
        |error| Failure::environment(format!("failed to write to standard output: {error}"));
    let writer = AnswerWriter::start(terminal::output().map_err(broken)?)?;
    let items = writer.sender();
    // Moved into the stream: the writer ends when all senders are gone.
    let calls = lines.map(move |line| match submit(wpc, service, line) {
        Ok((id, call)) => Either::Left(answer(id, call, items.clone())),
        Err(answer) => Either::Right(std::future::ready(answer)),
    });
    let answers = if service.is_ordered {
        calls.buffered(service.outstanding).left_stream()
    } else {
        calls.buffer_unordered(service.outstanding).right_stream()
    };
    let progress = writer.progress();
    let work = writer.write_all(answers);
    let mut stopping = None;
    let written: Result<_, Failure> = block_on(async {
        match select(pin!(work), pin!(signals.first())).await {
            Either::Left((written, _)) => Ok(written),
            Either::Right(((), work)) => {
                reading.abort();
                stopping = Some(stop(wpc, service, progress)?);
                report_stop(service.stop_timeout, service.as_json);
                Ok(work.await)
            }
        }
    });
    let written = written?;
    if let Some(stopping) = stopping {
        // The thread stops the workers, which the caller would wait for as well.
        let _ = stopping.join();
    }
    written.map_err(broken)?;
    match input_error.get() {
        Some(error) => Err(Failure::environment(format!("failed to read standard input: {error}"))),
        None => Ok(()),
    }
}

/// Stops the workers, and then ends the process if the reader of standard output has stalled.
fn stop(
    wpc: &WorkerProcedureCall,
    service: &Service,
    progress: Arc<Progress>,
) -> Result<JoinHandle<()>, Failure> {
    let wpc = wpc.clone();
    let (timeout, as_json) = (service.stop_timeout.max(MIN_STALL_TIMEOUT), service.as_json);
    let stop = move || {
        wpc.stop_workers();
        if progress.wait_for_stall(timeout) {
            exit_with_lost_answers(timeout, as_json);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "one thread at the end of the process")]
    let thread = std::thread::Builder::new().name("wpc-stop".to_owned()).spawn(stop);
    thread
        .map_err(|error| Failure::environment(format!("failed to start the stop thread: {error}")))
}

fn exit_with_lost_answers(timeout: Duration, as_json: bool) -> ! {
    let (reported, is_reported) = sync_channel(1);
    let report = move || {
        let message = format!(
            "standard output was not read for {}; the remaining answers are lost",
            humantime::format_duration(timeout)
        );
        Failure::environment(message).write(as_json, Interface::MANIFEST);
        // The process may be exiting already.
        let _ = reported.send(());
    };
    #[expect(clippy::disallowed_methods, reason = "one thread at the end of the process")]
    let thread = std::thread::Builder::new().spawn(report);
    if thread.is_ok() {
        // Standard error may stall as well.
        let _ = is_reported.recv_timeout(LAST_MESSAGE);
    }
    ExitCode::System.exit()
}

/// Reports that a signal to stop arrived, and how long calls have to complete.
pub(crate) fn report_stop(stop_timeout: Duration, as_json: bool) {
    let time = humantime::format_duration(stop_timeout).to_string();
    let line = if as_json {
        event_log::json_notice("stopping", Level::Info, json!({ "stop_timeout": time }))
    } else {
        format!("stopping: calls have {time} to complete; a second signal ends the process at once")
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A call that was submitted.
enum Submitted {
    Call(PendingCall<Value>),
    /// Its items are written too.
    Stream(Box<ItemStream<Value, Value>>),
}

/// The answer of a call, after its items.
async fn answer(id: String, call: Submitted, mut items: mpsc::Sender<String>) -> String {
    // The same number as in log lines and events.
    let number = match &call {
        Submitted::Call(call) => call.id(),
        Submitted::Stream(stream) => stream.id(),
    };
    let (answer, delivered) = match call {
        Submitted::Call(call) => (call.answer().await, None),
        Submitted::Stream(mut stream) => {
            while let Some(Ok(item)) = stream.next().await {
                let line = with_id(&id, &json!({ "item": item, "call": number }));
                if items.send(line).await.is_err() {
                    // Standard output is closed, so no answer is written either.
                    stream.cancel();
                    break;
                }
            }
            let delivered = stream.delivered();
            (stream.answer().await.map_err(Error::from), Some(delivered))
        }
    };
    let mut json = match answer {
        Ok(answer) => {
            let mut json = json!({
                "value": answer.value,
                "call": number,
                "worker": answer.metadata.worker_id,
                "function_hash_sha1": answer.metadata.function_hash_sha1,
            });
            if let Some(fuel) = answer.metadata.fuel_used {
                json["fuel_used"] = fuel.into();
            }
            json
        }
        Err(error) => {
            json!({ "call": number, "error": failure::error_json(&error, Interface::MANIFEST) })
        }
    };
    if let Some(delivered) = delivered {
        json["items"] = delivered.into();
    }
    with_id(&id, &json)
}

/// A line with its number, or the error that ended the input.
type Input = (usize, Result<Vec<u8>, String>);

/// Sends each line until the input ends or an error occurs, which is stored in `input_error`.
fn read_lines(mut sender: mpsc::Sender<Input>, max_line: usize, input_error: &OnceLock<String>) {
    let mut input = std::io::stdin().lock();
    for number in 1.. {
        let mut line = Vec::new();
        // The additional byte is the line's terminator, or shows that the line is too long.
        let limit = (max_line as u64).saturating_add(1);
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(_) if line.trim_ascii().is_empty() && line.len() <= max_line => continue,
            Ok(_) if line.len() > max_line && line.last() != Some(&b'\n') => {
                Err(format!("longer than {max_line} bytes; raise `--max-line`"))
            }
            Ok(_) => Ok(line),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = &line {
            let _ = input_error.set(format!("line {number}: {why}"));
        }
        let is_last = line.is_err();
        // Sending fails if standard output is closed or the process is stopping.
        if block_on(sender.send((number, line))).is_err() || is_last {
            return;
        }
    }
}

/// Inserts the call's id at the start of an object.
fn with_id(id: &str, rest: &Value) -> String {
    format!("{{\"id\":{id},{}", &rest.to_string()[1..])
}

/// Submits the call of a line. If that fails, returns the answer with the error.
fn submit(
    wpc: &WorkerProcedureCall,
    service: &Service,
    (number, line): Input,
) -> Result<(String, Submitted), String> {
    let wrong = |id: &str, why: String| {
        let message = format!("line {number}: {why}");
        let error = json!({ "code": "usage", "message": message, "retry_can_help": false });
        with_id(id, &json!({ "error": error }))
    };
    const NO_ID: &str = "null";
    let line = line.map_err(|why| wrong(NO_ID, why))?;
    let line = file::without_byte_order_mark(&line);
    // Deserializing a struct would also accept an array.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(
            NO_ID,
            "expected a JSON object such as {\"function\": \"f\"}".to_owned(),
        ));
    }
    let call: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        let only: OnlyId<'_> = serde_json::from_slice(line).unwrap_or_default();
        wrong(only.id.map_or(NO_ID, RawValue::get), error.to_string())
    })?;
    let id = call.id.map_or(NO_ID, RawValue::get);
    let mut options = CallOptions::new().wait_for_capacity();
    if let Some(timeout) = call.timeout {
        options = options.timeout(timeout);
    }
    if let Some(fuel) = call.fuel {
        options = options.fuel(fuel);
    }
    if let Some(pin) = &call.pin {
        options = options.pin(pin.parse().map_err(|error| wrong(id, format!("`pin`: {error}")))?);
    }
    if let Some(key) = &call.affinity {
        options = options.affinity(key);
    }
    if let Some(trace) = &call.traceparent {
        let context = trace.parse::<TraceContext>();
        let context = context.and_then(|context| match &call.tracestate {
            Some(state) => context.with_state(state),
            None => Ok(context),
        });
        options = options.trace_context(context.map_err(|error| wrong(id, error.to_string()))?);
    }
    if let Some(correlation) = call.correlation_id {
        options = options.correlation_id(correlation);
    }
    if call.stream && service.is_ordered {
        return Err(wrong(id, "`stream` needs `wpc run` without `--ordered`".to_owned()));
    }
    let submitted = if call.stream {
        let options = StreamOptions::new().call(options);
        let stream = wpc.stream_json(&call.function, &call.arguments, &options);
        stream.map(|stream| Submitted::Stream(Box::new(stream)))
    } else {
        wpc.submit_json(&call.function, &call.arguments, &options).map(Submitted::Call)
    };
    match submitted {
        Ok(submitted) => Ok((id.to_owned(), submitted)),
        Err(error) => {
            Err(with_id(id, &json!({ "error": failure::error_json(&error, Interface::MANIFEST) })))
        }
    }
}
