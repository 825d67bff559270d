//! WASI preview 1 in a sandbox: `wasmtime_wasi` carries it, confined to what was granted. What waits
//! is ours, so that a sleep ends with its call; so are the two outputs, which become events.

use super::imports::{LINE_COST, MAX_TEXT, memory_of, tell_line};
use super::memory;
use super::state::{Failure, State, Surroundings, Volume};
use crate::call::Call;
use crate::event::Severity;
use crate::wasi::{Target, WASI_MODULE, Wasi};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWrite;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use wasmtime::{Caller, Linker};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{FsPerms, HostMonotonicClock, WasiCtxBuilder, WasiView};

/// How many things of the host's a guest may hold at once: open files, above all.
const MAX_RESOURCES: usize = 256;

/// How often a sleeping guest looks whether its call should end.
const LOOK: Duration = Duration::from_millis(1);

/// How many bytes one step of writing may have.
const MAX_WRITE: usize = 64 * 1024;

/// Keeps `wasmtime_wasi` from starting threads of its own: all that it does here is done at once, on
/// the worker's thread, and needs a runtime only in name.
static RUNTIME: LazyLock<Option<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().build().ok());

/// To be held while a guest with WASI runs.
pub(super) fn enter() -> Option<EnterGuard<'static>> {
    RUNTIME.as_ref().map(Runtime::enter)
}

/// What one module of a sandbox has of WASI.
pub(super) struct Context {
    inner: WasiP1Ctx,
    outputs: Vec<Arc<Pipe>>,
}

impl Context {
    /// A context with what `granted` has; fails where a directory cannot be opened any more.
    pub(super) fn new(
        granted: &Wasi,
        surroundings: &Arc<Surroundings>,
        volume: &Arc<Volume>,
    ) -> Result<Self, Failure> {
        let mut builder = WasiCtxBuilder::new();
        builder.allow_blocking_current_thread(true);
        builder.monotonic_clock(MonotonicClock(surroundings.started));
        for argument in granted.arguments.iter().flatten() {
            builder.arg(argument);
        }
        for (name, value) in granted.environment.iter().flatten() {
            builder.env(name, value);
        }
        if let Some(bytes) = &granted.stdin {
            builder.stdin(MemoryInputPipe::new(bytes::Bytes::from_owner(Arc::clone(bytes))));
        }
        let mut outputs = Vec::new();
        let mut pipe = |stream, severity, target: &Target| {
            let pipe = Arc::new(Pipe {
                stream,
                severity,
                target: target.clone(),
                surroundings: Arc::clone(surroundings),
                volume: Arc::clone(volume),
                line: Mutex::default(),
            });
            outputs.push(Arc::clone(&pipe));
            Stream(pipe)
        };
        if let Some(output) = &granted.stdout {
            builder.stdout(pipe("stdout", Severity::Info, &output.0));
        }
        if let Some(output) = &granted.stderr {
            builder.stderr(pipe("stderr", Severity::Warn, &output.0));
        }
        for directory in &granted.directories {
            let permission =
                if directory.is_writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            builder.preopened_dir(&directory.host, &directory.guest, permission).map_err(
                |error| {
                    let shown = directory.host.display();
                    Failure::Link(format!("the directory `{shown}` cannot be opened: {error:#}"))
                },
            )?;
        }
        let mut inner = builder.build_p1();
        inner.ctx().table.set_max_capacity(MAX_RESOURCES);
        Ok(Self { inner, outputs })
    }

    /// What is written from now on belongs to `call`.
    pub(super) fn begin_call(&self, call: &Arc<Call>) {
        for output in &self.outputs {
            output.lock().call = Some(Arc::clone(call));
        }
    }

    /// Tells what has no line's end yet.
    pub(super) fn end_call(&self) {
        for output in &self.outputs {
            output.end_call();
        }
    }
}

/// Links preview 1 for the module at `at`, whose context is the sandbox's `nth`.
pub(super) fn link(linker: &mut Linker<State>, at: usize, nth: usize) -> wasmtime::Result<()> {
    add_to_linker_sync(linker, move |state: &mut State| &mut state.wasi[nth].inner)?;
    linker.allow_shadowing(true);
    linker.func_wrap(
        WASI_MODULE,
        "poll_oneoff",
        move |caller: Caller<'_, State>, wanted: u32, events: u32, count: u32, found: u32| {
            poll_oneoff(caller, at, wanted, events, count, found).map_err(wasmtime::Error::new)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

struct MonotonicClock(Instant);

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        nanos(self.0.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One of a module's outputs.
struct Pipe {
    stream: &'static str,
    severity: Severity,
    target: Target,
    surroundings: Arc<Surroundings>,
    volume: Arc<Volume>,
    line: Mutex<Line>,
}

/// What was written since the last line's end, and by whom.
#[derive(Default)]
struct Line {
    call: Option<Arc<Call>>,
    text: Vec<u8>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, bytes: &[u8]) -> StreamResult<()> {
        match &self.target {
            Target::Nowhere => Ok(()),
            Target::Events => self.write_lines(bytes),
            Target::Writer(writer) => {
                self.count(bytes.len() + LINE_COST)?;
                let write = || {
                    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    writer.write_all(bytes)?;
                    writer.flush()
                };
                catch_unwind(AssertUnwindSafe(write))
                    .unwrap_or_else(|_| Err(std::io::Error::other("the writer panicked")))
                    .map_err(|error| StreamError::LastOperationFailed(error.into()))
            }
        }
    }

    fn write_lines(&self, bytes: &[u8]) -> StreamResult<()> {
        self.count(bytes.len())?;
        let mut line = self.lock();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            for chunk in text.chunks(MAX_TEXT) {
                if line.text.len() + chunk.len() > MAX_TEXT {
                    self.count(LINE_COST)?;
                    self.tell(&mut line);
                }
                line.text.extend_from_slice(chunk);
            }
            if is_whole {
                self.count(LINE_COST)?;
                self.tell(&mut line);
            }
        }
        Ok(())
    }

    fn count(&self, bytes: usize) -> StreamResult<()> {
        self.volume.add(bytes).map_err(|failure| StreamError::Trap(wasmtime::Error::new(failure)))
    }

    fn tell(&self, line: &mut Line) {
        let text = String::from_utf8_lossy(&line.text).into_owned();
        line.text.clear();
        if let Some(call) = &line.call {
            tell_line(&self.surroundings, call, self.severity, self.stream, text);
        }
    }

    fn end_call(&self) {
        let mut line = self.lock();
        if !line.text.is_empty() {
            self.tell(&mut line);
        }
        line.call = None;
    }
}

struct Stream(Arc<Pipe>);

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(Arc::clone(&self.0)))
    }

    /// Preview 1 never asks for this one.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(MemoryOutputPipe::new(0))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.0.write(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

/// A subscription and an event, as preview 1 lays them out in memory.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

const SUCCESS: i32 = 0;
const INVALID: i32 = 28;

/// What is waited for.
enum Awaited {
    /// Input and output never make a guest wait here.
    Ready,
    Until(Option<Instant>),
    NoSuchClock,
}

/// Waits until one of `count` subscriptions at `wanted` has come about, and writes those that have to
/// `events`, their number to `found`. Ends with the call.
fn poll_oneoff(
    mut caller: Caller<'_, State>,
    at: usize,
    wanted: u32,
    events: u32,
    count: u32,
    found: u32,
) -> Result<i32, Failure> {
    let (Some(wanted_len), Some(_)) = (count.checked_mul(SUBSCRIPTION), count.checked_mul(EVENT))
    else {
        return Ok(INVALID);
    };
    if count == 0 {
        return Ok(INVALID);
    }
    let memory = memory_of(&mut caller, at)?;
    let subscription = |caller: &Caller<'_, State>, nth: u32| -> Result<[u8; 48], Failure> {
        let all = memory::read(memory, caller, wanted, wanted_len, "its subscriptions")?;
        let start = nth as usize * SUBSCRIPTION as usize;
        Ok(std::array::from_fn(|byte| all[start + byte]))
    };
    let started = caller.data().surroundings.started;
    let begun = Instant::now();
    let mut until: Option<Instant> = None;
    let mut waits = true;
    for nth in 0..count {
        match awaited(&subscription(&caller, nth)?, started, begun) {
            Awaited::Ready | Awaited::NoSuchClock => waits = false,
            Awaited::Until(Some(moment)) => {
                until = Some(until.map_or(moment, |until| until.min(moment)));
            }
            Awaited::Until(None) => {}
        }
    }
    if waits {
        sleep(caller.data(), until)?;
    }
    let now = Instant::now();
    let mut written = 0;
    for nth in 0..count {
        let subscription = subscription(&caller, nth)?;
        let errno = match awaited(&subscription, started, begun) {
            Awaited::Ready => SUCCESS,
            Awaited::Until(Some(moment)) if moment <= now => SUCCESS,
            Awaited::Until(_) => continue,
            Awaited::NoSuchClock => INVALID,
        };
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&subscription[..8]);
        event[8] = u8::try_from(errno).unwrap_or_default();
        event[10] = subscription[8];
        // At least one byte can be read or written.
        event[16] = u8::from(subscription[8] != 0);
        let place = events.wrapping_add(written * EVENT);
        memory::room(memory, &mut caller, place, EVENT, "the room for events")?
            .copy_from_slice(&event);
        written += 1;
    }
    memory::room(memory, &mut caller, found, 4, "the room for the number of events")?
        .copy_from_slice(&written.to_le_bytes());
    Ok(SUCCESS)
}

fn awaited(subscription: &[u8; 48], started: Instant, begun: Instant) -> Awaited {
    let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| subscription[at + byte]));
    if subscription[8] != 0 {
        return Awaited::Ready;
    }
    let timeout = Duration::from_nanos(field(24));
    let is_absolute = subscription[40] & 1 == 1;
    let clock = u32::from_le_bytes(std::array::from_fn(|byte| subscription[16 + byte]));
    Awaited::Until(match (clock, is_absolute) {
        (0 | 1, false) => begun.checked_add(timeout),
        (0, true) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            begun.checked_add(timeout.saturating_sub(now))
        }
        (1, true) => started.checked_add(timeout),
        _ => return Awaited::NoSuchClock,
    })
}

/// Sleeps until the moment, or for ever, but no longer than the call may take.
fn sleep(state: &State, until: Option<Instant>) -> Result<(), Failure> {
    loop {
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return Ok(());
        }
        if let Some(interrupt) = state.interrupt(now) {
            return Err(Failure::Interrupted(interrupt));
        }
        let left = until.map_or(LOOK, |until| until - now);
        std::thread::park_timeout(left.min(LOOK));
    }
}
