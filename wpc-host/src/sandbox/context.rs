//! What one module of a sandbox has of WASI: its arguments, files and clock, and its two outputs, which
//! become lines or reach the embedder's writer.

use super::environment::{Environment, Failure, LINE_COST, MAX_TEXT, Volume, tell_line};
use crate::call::Call;
use crate::definition::wasi::{Output, Target, Wasi};
use crate::event::Severity;
use crate::host_function::LOOK;
use crate::system::contain::contain;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{FsPerms, HostMonotonicClock, WasiCtxBuilder, WasiView};

/// How many things of the host's a guest may hold beside files and granted directories: its three
/// streams, and what one call of it needs for a moment.
const OTHER_RESOURCES: usize = 8;

/// How many bytes one step of writing may have.
const MAX_WRITE: usize = 64 * 1024;

/// What one module of a sandbox has of WASI.
pub(super) struct Context {
    pub(super) inner: WasiP1Ctx,
    outputs: Vec<Arc<Pipe>>,
}

impl Context {
    /// A context with what `granted` has; fails where a directory cannot be opened any more.
    pub(super) fn new(
        granted: &Wasi,
        open_files: usize,
        environment: &Arc<Environment>,
        volume: &Arc<Volume>,
    ) -> Result<Self, Failure> {
        let mut builder = WasiCtxBuilder::new();
        // Whatever waits does so here, on the worker's thread: `wasmtime_wasi` starts none of its own.
        builder.allow_blocking_current_thread(true);
        builder.monotonic_clock(MonotonicClock(environment.started));
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
        let mut pipe = |stream, severity, target| {
            let pipe = Arc::new(Pipe {
                stream,
                severity,
                target,
                environment: Arc::clone(environment),
                volume: Arc::clone(volume),
                line: Mutex::default(),
            });
            outputs.push(Arc::clone(&pipe));
            Stream(pipe)
        };
        let target = |output: &Option<Output>| {
            output.as_ref().map_or(Target::Nowhere, |output| output.0.clone())
        };
        builder.stdout(pipe("stdout", Severity::Info, target(&granted.stdout)));
        builder.stderr(pipe("stderr", Severity::Warn, target(&granted.stderr)));
        for directory in &granted.directories {
            let permission =
                if directory.is_writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            builder.preopened_dir(directory.path(), &directory.guest, permission).map_err(
                |error| {
                    let shown = directory.host.display();
                    Failure::Link(format!("the directory `{shown}` cannot be opened: {error:#}"))
                },
            )?;
        }
        let mut inner = builder.build_p1();
        let most = open_files.saturating_add(granted.directories.len() + OTHER_RESOURCES);
        inner.ctx().table.set_max_capacity(most);
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
    environment: Arc<Environment>,
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
            Target::Nowhere => self.count(bytes.len()),
            Target::Events => self.write_lines(bytes),
            Target::Writer(writer) => {
                self.count(bytes.len() + LINE_COST)?;
                let mut writer = self.wait_for(&writer.0)?;
                let write = || match &mut *writer {
                    Some(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
                    None => Ok(()),
                };
                let written = contain(write)
                    .unwrap_or_else(|_| Err(std::io::Error::other("the writer panicked")));
                drop(writer);
                // One that took its time must not carry its call past the limit.
                self.look()?;
                written.map_err(|error| StreamError::LastOperationFailed(error.into()))
            }
        }
    }

    /// Waits for its turn, but no longer than the call may take: another's write may block for ever.
    fn wait_for<'a>(
        &self,
        writer: &'a Mutex<Option<Box<dyn Write + Send>>>,
    ) -> StreamResult<MutexGuard<'a, Option<Box<dyn Write + Send>>>> {
        loop {
            match writer.try_lock() {
                Ok(writer) => return Ok(writer),
                Err(TryLockError::Poisoned(writer)) => return Ok(writer.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            self.look()?;
            std::thread::park_timeout(LOOK);
        }
    }

    /// Ends the guest if its call should end.
    fn look(&self) -> StreamResult<()> {
        let call = self.lock().call.clone();
        match self.environment.interrupt(call.as_deref(), Instant::now()) {
            Some(interrupt) => {
                Err(StreamError::Trap(wasmtime::Error::new(Failure::Interrupted(interrupt))))
            }
            None => Ok(()),
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
                    // A character that is not whole yet goes with the next piece.
                    let whole = match std::str::from_utf8(&line.text) {
                        Err(error) if error.error_len().is_none() => error.valid_up_to(),
                        _ => line.text.len(),
                    };
                    let rest = line.text.split_off(whole);
                    self.tell(&mut line)?;
                    line.text = rest;
                }
                line.text.extend_from_slice(chunk);
            }
            if is_whole {
                self.count(LINE_COST)?;
                self.tell(&mut line)?;
            }
        }
        Ok(())
    }

    fn count(&self, bytes: usize) -> StreamResult<()> {
        self.volume.add(bytes).map_err(|failure| StreamError::Trap(wasmtime::Error::new(failure)))
    }

    fn tell(&self, line: &mut Line) -> StreamResult<()> {
        let text = String::from_utf8_lossy(&line.text).into_owned();
        // What is no text becomes longer.
        self.count(text.len().saturating_sub(line.text.len()))?;
        line.text.clear();
        if let Some(call) = &line.call {
            tell_line(&self.environment, call, self.severity, self.stream, text);
        }
        Ok(())
    }

    fn end_call(&self) {
        let mut line = self.lock();
        if !line.text.is_empty() {
            // The call is over: a line too much is only not told.
            drop(self.tell(&mut line));
        }
        line.text.clear();
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
