//! Standard input as a stream: guests that read it are suspended until the embedder's reader returns.

use crate::definition::wasi::grant::{Input, Source};
use crate::host_function::HostRuntime;
use crate::sandbox::environment::Environment;
use crate::sandbox::failure::Failure;
use bytes::Bytes;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::sync::OwnedMutexGuard;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// Waits until something was read ahead, or the input has failed or ended. If the future is dropped before that, the read
/// continues on its helper thread, and what it reads remains for the next guest.
pub(super) async fn filled(
    input: &Input,
    host: &HostRuntime,
) -> Result<OwnedMutexGuard<Source>, Failure> {
    let mut source = input.lock().await;
    if source.is_ready() {
        return Ok(source);
    }
    let fill = move || {
        source.fill();
        source
    };
    host.begin_blocking(fill).await.map_err(Failure::Host)
}

/// The standard input of a module.
pub(super) struct Stream {
    pub(super) input: Input,
    pub(super) environment: Arc<Environment>,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stream {
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Self { input: self.input.clone(), environment: Arc::clone(&self.environment) })
    }

    /// Preview 1 does not use this stream.
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    /// Preview 1 does not poll this stream: `poll_oneoff` is implemented here.
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl InputStream for Stream {
    /// Preview 1 only waits for input.
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        Ok(Bytes::new())
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let filled = filled(&self.input, &self.environment.host_runtime).await;
        let mut source =
            filled.map_err(|failure| StreamError::Trap(wasmtime::Error::new(failure)))?;
        match source.take(size) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(StreamError::Closed),
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}
