//! The WASI context of one module of a sandbox: its arguments, files and clock, and its two outputs, which become log lines
//! or go to the embedder's writer.

use crate::call::Call;
use crate::definition::wasi::grant::{Output, Target, Wasi};
use crate::event::Severity;
use crate::host_function::LOOK;
use crate::sandbox::environment::Environment;
use crate::sandbox::failure::Failure;
use crate::sandbox::log_line::{LINE_COST, LogVolume, MAX_TEXT, emit_line};
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

/// How many resources of the host a guest may hold in addition to files and granted directories: its three streams, and
/// temporary resources of a single WASI call.
const OTHER_RESOURCES: usize = 8;

/// The maximum number of bytes in one write.
const MAX_WRITE: usize = 64 * 1024;

/// The WASI context of one module of a sandbox.
pub(in crate::sandbox) struct Context {
    pub(super) inner: WasiP1Ctx,
    outputs: Vec<Arc<Pipe>>,
}

impl Context {
    /// Creates a context with what was granted; fails if a directory can no longer be opened.
    pub(in crate::sandbox) fn new(
        granted: &Wasi,
        open_files: usize,
        environment: &Arc<Environment>,
        volume: &Arc<LogVolume>,
    ) -> Result<Self, Failure> {
        let mut builder = WasiCtxBuilder::new();
        // Blocking operations run on the worker's thread, so that `wasmtime_wasi` starts no threads of its own.
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

    /// Attributes further output to `call`.
    pub(in crate::sandbox) fn begin_call(&self, call: &Arc<Call>) {
        for output in &self.outputs {
            output.lock().call = Some(Arc::clone(call));
        }
    }

    /// Emits lines that do not end with a newline.
    pub(in crate::sandbox) fn end_call(&self) {
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
    volume: Arc<LogVolume>,
    line: Mutex<Line>,
}

/// The output since the last newline, and the call that wrote it.
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
                // A slow writer must not let its call exceed its limit.
                self.check_interrupt()?;
                written.map_err(|error| StreamError::LastOperationFailed(error.into()))
            }
        }
    }

    /// Waits for the lock of the writer, but not beyond the end of the call: another call's write may block forever.
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
            self.check_interrupt()?;
            std::thread::park_timeout(LOOK);
        }
    }

    /// Ends the guest if its call should end.
    fn check_interrupt(&self) -> StreamResult<()> {
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
                    // An incomplete character is moved to the next part.
                    let whole = match std::str::from_utf8(&line.text) {
                        Err(error) if error.error_len().is_none() => error.valid_up_to(),
                        _ => line.text.len(),
                    };
                    let rest = line.text.split_off(whole);
                    self.emit(&mut line)?;
                    line.text = rest;
                }
                line.text.extend_from_slice(chunk);
            }
            if is_whole {
                self.count(LINE_COST)?;
                self.emit(&mut line)?;
            }
        }
        Ok(())
    }

    fn count(&self, bytes: usize) -> StreamResult<()> {
        self.volume.add(bytes).map_err(|failure| StreamError::Trap(wasmtime::Error::new(failure)))
    }

    fn emit(&self, line: &mut Line) -> StreamResult<()> {
        let text = String::from_utf8_lossy(&line.text).into_owned();
        // Replacing invalid UTF-8 makes the text longer.
        self.count(text.len().saturating_sub(line.text.len()))?;
        line.text.clear();
        if let Some(call) = &line.call {
            emit_line(&self.environment, call, self.severity, self.stream, text);
        }
        Ok(())
    }

    fn end_call(&self) {
        let mut line = self.lock();
        if !line.text.is_empty() {
            // The call is over, so a line that exceeds the limit is only dropped.
            drop(self.emit(&mut line));
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

    /// Preview 1 does not use this stream.
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
