//! Calls as JSON lines of standard input, answers as JSON lines of standard output, until the input ends or a
//! signal asks for an end.

use crate::answer_writer::{AnswerWriter, Progress};
use crate::failure::{self, Failure};
use crate::file;
use crate::remedy::Interface;
use crate::signals::Signals;
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
use wpc_host::{CallOptions, PendingJson, WorkerProcedureCall};

/// How calls are served.
pub(crate) struct Service {
    /// Whether answers come in the order of their calls.
    pub(crate) is_ordered: bool,
    /// How many calls are under way at once.
    pub(crate) outstanding: usize,
    /// How long a stop lets calls finish.
    pub(crate) stop_timeout: Duration,
    /// How many bytes a line may have, without its end.
    pub(crate) max_line: usize,
    pub(crate) as_json: bool,
}

/// A call as a line of standard input says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    /// Given back as it was written.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    function: String,
    #[serde(default)]
    arguments: Vec<Value>,
    #[serde(default, with = "humantime_serde")]
    timeout: Option<Duration>,
    fuel: Option<u64>,
    /// The SHA-1 that the function must have.
    pin: Option<String>,
    affinity: Option<String>,
}

/// What a line that is not a call should have been.
#[derive(Default, Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// How long the reader of standard output may take nothing once every call has ended after a signal, where the
/// stop timeout is shorter: a busy reader may be away for a moment.
const MIN_READER_PATIENCE: Duration = Duration::from_secs(1);

/// How long a last message may take where the reader of standard error stalls too.
const LAST_MESSAGE: Duration = Duration::from_millis(500);

/// Serves until standard input ends, and answers what was taken. A signal ends it too: then no more lines are
/// taken, and calls have the stop timeout to end before they are interrupted.
pub(crate) fn serve(
    wpc: &WorkerProcedureCall,
    service: &Service,
    mut signals: Signals,
) -> Result<(), Failure> {
    // Room for one: who writes calls is held up when enough are under way.
    let (sender, lines) = mpsc::channel(0);
    let given_up = Arc::<OnceLock<String>>::default();
    let (max_line, why) = (service.max_line, Arc::clone(&given_up));
    #[expect(clippy::disallowed_methods, reason = "ends with standard input, or the process")]
    std::thread::Builder::new()
        .name("wpc-input".to_owned())
        .spawn(move || read_lines(sender, max_line, &why))
        .map_err(|error| Failure::machine(format!("no thread for standard input: {error}")))?;
    let (lines, taking) = abortable(lines);
    let calls = lines.map(|line| match submit(wpc, line) {
        Ok((id, call)) => Either::Left(answer(id, call)),
        Err(answer) => Either::Right(std::future::ready(answer)),
    });
    let answers = if service.is_ordered {
        calls.buffered(service.outstanding).left_stream()
    } else {
        calls.buffer_unordered(service.outstanding).right_stream()
    };
    let writer = AnswerWriter::start(std::io::stdout())?;
    let progress = writer.progress();
    let work = writer.write_all(answers);
    let mut stopping = None;
    let written: Result<_, Failure> = block_on(async {
        match select(pin!(work), pin!(signals.first())).await {
            Either::Left((written, _)) => Ok(written),
            Either::Right(((), work)) => {
                taking.abort();
                stopping = Some(stop(wpc, service, progress)?);
                report_stop(service);
                Ok(work.await)
            }
        }
    });
    let written = written?;
    if let Some(stopping) = stopping {
        // It waits for the workers, as is done in any case.
        let _ = stopping.join();
    }
    written.map_err(|error| Failure::machine(format!("standard output: {error}")))?;
    match given_up.get() {
        Some(why) => Err(Failure::machine(format!("standard input was given up: {why}"))),
        None => Ok(()),
    }
}

/// Stops the workers, and then ends the process where the reader of standard output holds up its end.
fn stop(
    wpc: &WorkerProcedureCall,
    service: &Service,
    progress: Arc<Progress>,
) -> Result<JoinHandle<()>, Failure> {
    let wpc = wpc.clone();
    let (patience, as_json) = (service.stop_timeout.max(MIN_READER_PATIENCE), service.as_json);
    let stop = move || {
        wpc.stop_workers();
        if progress.wait_for_stall(patience) {
            end_without_the_rest(patience, as_json);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "one, at the end of the process")]
    let thread = std::thread::Builder::new().name("wpc-stop".to_owned()).spawn(stop);
    thread.map_err(|error| Failure::machine(format!("no thread to stop the workers: {error}")))
}

fn end_without_the_rest(patience: Duration, as_json: bool) -> ! {
    let (said, is_said) = sync_channel(1);
    let report = move || {
        let message = format!(
            "standard output: its reader took nothing for {}; the rest of the answers is lost",
            humantime::format_duration(patience)
        );
        Failure::machine(message).write(as_json, Interface::Manifest);
        // The process may be ending already.
        let _ = said.send(());
    };
    #[expect(clippy::disallowed_methods, reason = "one, at the end of the process")]
    let thread = std::thread::Builder::new().spawn(report);
    if thread.is_ok() {
        // Standard error may stall as well.
        let _ = is_said.recv_timeout(LAST_MESSAGE);
    }
    std::process::exit(1)
}

fn report_stop(service: &Service) {
    let time = humantime::format_duration(service.stop_timeout).to_string();
    let line = if service.as_json {
        json!({ "event": "stopping", "stop_timeout": time }).to_string()
    } else {
        format!("stopping: calls have {time} to end; a second signal ends the process at once")
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn answer(id: String, call: PendingJson) -> String {
    // As log lines and events have it.
    let number = call.id();
    match call.answer().await {
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
            with_id(&id, &json)
        }
        Err(error) => {
            let error = failure::error_json(&error, Interface::Manifest);
            with_id(&id, &json!({ "call": number, "error": error }))
        }
    }
}

/// A line with its number, or why there is none.
type Input = (usize, Result<Vec<u8>, String>);

/// Sends on each line until the input ends, or is given up: then `given_up` has the reason.
fn read_lines(mut sender: mpsc::Sender<Input>, max_line: usize, given_up: &OnceLock<String>) {
    let mut input = std::io::stdin().lock();
    for number in 1.. {
        let mut line = Vec::new();
        // One more is its end, or shows that it is too long.
        let most = (max_line as u64).saturating_add(1);
        let read = input.by_ref().take(most).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(_) if line.trim_ascii().is_empty() && line.len() <= max_line => continue,
            Ok(_) if line.len() > max_line && line.last() != Some(&b'\n') => {
                Err(format!("it has more than {max_line} bytes; raise `--max-line`"))
            }
            Ok(_) => Ok(line),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = &line {
            let _ = given_up.set(format!("line {number}: {why}"));
        }
        let is_last = line.is_err();
        // The lines are not wanted any more where standard output is gone, or the process is to end.
        if block_on(sender.send((number, line))).is_err() || is_last {
            return;
        }
    }
}

/// Puts the call's id before the rest of an object.
fn with_id(id: &str, rest: &Value) -> String {
    format!("{{\"id\":{id},{}", &rest.to_string()[1..])
}

/// Submits a line's call, or returns the answer that says why not.
fn submit(
    wpc: &WorkerProcedureCall,
    (number, line): Input,
) -> Result<(String, PendingJson), String> {
    let wrong = |id: &str, why: String| {
        let message = format!("line {number}: {why}");
        let error = json!({ "code": "usage", "message": message, "retry_can_help": false });
        with_id(id, &json!({ "error": error }))
    };
    const NO_ID: &str = "null";
    let line = line.map_err(|why| wrong(NO_ID, why))?;
    let line = file::without_byte_order_mark(&line);
    // What reads a structure would also take a list.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(
            NO_ID,
            "a call is a JSON object, as in {\"function\": \"f\"}".to_owned(),
        ));
    }
    let call: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        let only: OnlyId<'_> = serde_json::from_slice(line).unwrap_or_default();
        wrong(only.id.map_or(NO_ID, RawValue::get), error.to_string())
    })?;
    let id = call.id.map_or(NO_ID, RawValue::get);
    let mut options = CallOptions::new().wait_for_room();
    if let Some(timeout) = call.timeout {
        options = options.time_limit(timeout);
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
    match wpc.submit_json(&call.function, &call.arguments, &options) {
        Ok(pending) => Ok((id.to_owned(), pending)),
        Err(error) => {
            Err(with_id(id, &json!({ "error": failure::error_json(&error, Interface::Manifest) })))
        }
    }
}
