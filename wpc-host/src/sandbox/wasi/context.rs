//! The WASI context of one module of a sandbox: its arguments, files and clock, and its three streams.

use super::input;
use super::output::{Pipe, Stream};
use crate::call::Call;
use crate::definition::wasi::grant::{Input, Output, Stdin, Target, Wasi};
use crate::event::Severity;
use crate::sandbox::environment::Environment;
use crate::sandbox::failure::Failure;
use crate::sandbox::log_line::LogVolume;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, HostMonotonicClock, WasiCtxBuilder, WasiView};

/// How many resources of the host a guest may hold in addition to files and granted directories: its three streams, and
/// temporary resources of a single WASI call.
const OTHER_RESOURCES: usize = 8;

/// The descriptor of standard input.
const STDIN: u32 = 0;

/// The WASI context of one module of a sandbox.
pub(in crate::sandbox) struct Context {
    /// `None` while a helper thread opens a file with it. Meanwhile, the guest is suspended.
    inner: Option<WasiP1Ctx>,
    outputs: Vec<Arc<Pipe>>,
    /// What guests on fibers wait for, by descriptor.
    pub(super) awaited: BTreeMap<u32, Awaited>,
}

/// What a guest waits for when it uses a descriptor.
pub(super) enum Awaited {
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "input is always ready"))]
    Input(Input),
    /// A file that is not a regular one.
    File(Arc<File>),
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
        let mut awaited = BTreeMap::new();
        match &granted.stdin {
            Some(Stdin::Bytes(bytes)) => {
                builder.stdin(MemoryInputPipe::new(bytes::Bytes::from_owner(Arc::clone(bytes))));
            }
            Some(Stdin::Stream(input)) => {
                let (input, environment) = (input.clone(), Arc::clone(environment));
                awaited.insert(STDIN, Awaited::Input(input.clone()));
                builder.stdin(input::Stream { input, environment });
            }
            None => {}
        }
        let mut outputs = Vec::new();
        let mut pipe = |stream, severity, target| {
            let (environment, volume) = (Arc::clone(environment), Arc::clone(volume));
            let pipe = Arc::new(Pipe::new(stream, severity, target, environment, volume));
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
        Ok(Self { inner: Some(inner), outputs, awaited })
    }

    /// The context of `wasmtime_wasi`, for a guest that runs.
    pub(super) fn inner(&mut self) -> wasmtime::Result<&mut WasiP1Ctx> {
        self.inner.as_mut().ok_or_else(in_use)
    }

    /// Takes the context until [`put_inner`](Self::put_inner). The guest must be suspended meanwhile.
    pub(super) fn take_inner(&mut self) -> wasmtime::Result<WasiP1Ctx> {
        self.inner.take().ok_or_else(in_use)
    }

    pub(super) fn put_inner(&mut self, inner: WasiP1Ctx) {
        self.inner = Some(inner);
    }

    /// The open files that are not regular ones.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.awaited.values().filter_map(|awaited| match awaited {
            Awaited::File(file) => Some(file),
            Awaited::Input(_) => None,
        })
    }

    /// The file of a descriptor, if it is not a regular one.
    pub(super) fn file(&self, descriptor: i32) -> Option<Arc<File>> {
        match self.awaited.get(&descriptor.cast_unsigned()) {
            Some(Awaited::File(file)) => Some(Arc::clone(file)),
            Some(Awaited::Input(_)) | None => None,
        }
    }

    /// Records that a descriptor was closed.
    pub(super) fn closed(&mut self, descriptor: i32) {
        self.awaited.remove(&descriptor.cast_unsigned());
    }

    /// Records that a descriptor was renumbered to `to`, which closed the descriptor that had that number.
    pub(super) fn renumbered(&mut self, from: i32, to: i32) {
        let awaited = self.awaited.remove(&from.cast_unsigned());
        self.closed(to);
        if let Some(awaited) = awaited {
            self.awaited.insert(to.cast_unsigned(), awaited);
        }
    }

    /// Attributes further output to `call`.
    pub(in crate::sandbox) fn begin_call(&self, call: &Arc<Call>) {
        for output in &self.outputs {
            output.begin_call(call);
        }
    }

    /// Emits lines that do not end with a newline.
    pub(in crate::sandbox) fn end_call(&self) {
        for output in &self.outputs {
            output.end_call();
        }
    }
}

#[cold]
fn in_use() -> wasmtime::Error {
    wasmtime::Error::msg("the WASI context is in use")
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
