//! The outputs of a module, which become log lines or go to the embedder's writer.

use crate::call::Call;
use crate::definition::wasi::grant::{Target, Writer};
use crate::event::Severity;
use crate::sandbox::environment::Environment;
use crate::sandbox::failure::Failure;
use crate::sandbox::log_line::{LINE_COST, LogVolume, MAX_TEXT, emit_line};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// One of a module's outputs.
pub(super) struct Pipe {
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
    pub(super) fn new(
        stream: &'static str,
        severity: Severity,
        target: Target,
        environment: Arc<Environment>,
        volume: Arc<LogVolume>,
    ) -> Self {
        Self { stream, severity, target, environment, volume, line: Mutex::default() }
    }

    /// Attributes further output to `call`.
    pub(super) fn begin_call(&self, call: &Arc<Call>) {
        self.lock().call = Some(Arc::clone(call));
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, bytes: Bytes) -> StreamResult<()> {
        match &self.target {
            Target::Nowhere => self.count(bytes.len()),
            Target::Events => self.write_lines(&bytes),
            Target::Writer(writer) => self.write_on_helper(writer, bytes).await,
            Target::InlineWriter(writer) => {
                self.count(bytes.len() + LINE_COST)?;
                let written = writer.lock().await.write(&bytes);
                // A slow writer must not let its call exceed its limit.
                self.check_interrupt()?;
                written.map_err(|error| StreamError::LastOperationFailed(error.into()))
            }
        }
    }

    /// Writes on a helper thread, when no other guest writes. If the future is dropped before that, nothing is written.
    async fn write_on_helper(&self, writer: &Writer, bytes: Bytes) -> StreamResult<()> {
        self.count(bytes.len() + LINE_COST)?;
        let mut writer = writer.lock().await;
        let host = &self.environment.host_runtime;
        let written = host.run_blocking(move || writer.write(&bytes)).await;
        written
            .map_err(|error| StreamError::Trap(wasmtime::Error::new(Failure::Host(error))))?
            .map_err(|error| StreamError::LastOperationFailed(error.into()))
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
            let (text, is_complete) = match part {
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
            if is_complete {
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

    /// Emits a line that does not end with a newline.
    pub(super) fn end_call(&self) {
        let mut line = self.lock();
        if !line.text.is_empty() {
            // The call is over, so a line that exceeds the limit is only dropped.
            drop(self.emit(&mut line));
        }
        line.text.clear();
        line.call = None;
    }
}

/// The stream of an output.
pub(super) struct Stream(pub(super) Arc<Pipe>);

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
    /// Preview 1 only writes with [`blocking_write_and_flush`](Self::blocking_write_and_flush).
    fn write(&mut self, _: Bytes) -> StreamResult<()> {
        Err(StreamError::trap("a write that does not wait"))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(0)
    }
}
