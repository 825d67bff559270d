//! Files of guests on fibers that are not regular ones, such as named pipes: they are opened, read and written on helper
//! threads, while their guests are suspended.
//!
//! Regular files and directories stay on the worker's thread: a read of a cached page takes a microsecond, and a helper
//! thread ten times as long. `wasmtime_wasi` reads at positions, which pipes do not have, so it only opens these files.

use super::context::{Awaited, Context};
use super::{BAD_DESCRIPTOR, INVALID, SUCCESS, TOO_MANY_FILES, can_open_file};
use crate::sandbox::failure::Failure;
use crate::sandbox::imports::memory_of;
use crate::sandbox::memory;
use crate::sandbox::state::State;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use wasmtime::{AsContextMut as _, Caller, Memory};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as preview1, WasiSnapshotPreview1 as _};
use wiggle::GuestMemory;

/// The maximum number of bytes of one read or write.
const MAX_BYTES: u32 = 64 * 1024;

/// The maximum number of buffers of one read or write, as on Linux.
const MAX_BUFFERS: u32 = 1024;

/// Longer paths are not those of special files: the operating system refuses them.
const MAX_PATH: u32 = 4096;

/// The sizes of a buffer's description and of a file's status in the memory layout of preview 1, and where a status has the
/// kind of the file.
const BUFFER: u32 = 8;
const STATUS: usize = 64;
const STATUS_KIND: usize = 16;

/// Kinds of files that do not wait: directories, regular files, and symbolic links, which cannot be opened.
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;
const SYMBOLIC_LINK: u8 = 7;

/// The parameters of `path_open` without the position of the descriptor.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) directory: i32,
    pub(super) lookup: i32,
    pub(super) path: i32,
    pub(super) len: i32,
    pub(super) open: i32,
    pub(super) rights: i64,
    pub(super) inherited: i64,
    pub(super) flags: i32,
}

impl Opening {
    /// Calls `path_open` of `wasmtime_wasi`, which writes the descriptor to `opened`.
    async fn run(
        self,
        context: &mut WasiP1Ctx,
        memory: &mut GuestMemory<'_>,
        opened: i32,
    ) -> wasmtime::Result<i32> {
        let Self { directory, lookup, path, len, open, rights, inherited, flags } = self;
        preview1::path_open(
            context, memory, directory, lookup, path, len, open, rights, inherited, flags, opened,
        )
        .await
    }
}

/// `path_open`: opens a file on the worker's thread, or on a helper thread if that may wait.
pub(super) async fn open(
    caller: &mut Caller<'_, State>,
    at: usize,
    nth: usize,
    opening: Opening,
    opened: i32,
) -> wasmtime::Result<i32> {
    if !can_open_file() {
        return Ok(TOO_MANY_FILES);
    }
    let memory = memory_of(caller, at).map_err(wasmtime::Error::new)?;
    let fuel = caller.as_context_mut().hostcall_fuel();
    let path = special_path(caller, memory, nth, opening);
    let Some(path) = path else {
        let (bytes, state) = memory.data_and_store_mut(&mut *caller);
        let context = state.wasi[nth].inner()?;
        context.set_hostcall_fuel(fuel);
        return opening.run(context, &mut GuestMemory::Unshared(bytes), opened).await;
    };
    let state = caller.data_mut();
    let mut context = state.wasi[nth].take_inner()?;
    context.set_hostcall_fuel(fuel);
    let host = Arc::clone(&state.environment.host_runtime);
    let open = move || {
        // The descriptor is written before the path.
        let mut scratch = vec![0; size_of::<u32>()];
        let opening = Opening { path: 4, ..opening };
        scratch.extend_from_slice(&path);
        let answer = {
            let mut memory = GuestMemory::Unshared(&mut scratch);
            at_once(opening.run(&mut context, &mut memory, 0))
        };
        (context, scratch, answer)
    };
    let (context, scratch, answer) = host
        .run_blocking(open)
        .await
        .map_err(|error| wasmtime::Error::new(Failure::Host(error)))?;
    let wasi = &mut caller.data_mut().wasi[nth];
    wasi.put_inner(context);
    let errno = answer?;
    if errno != SUCCESS {
        return Ok(errno);
    }
    let descriptor: [u8; 4] = std::array::from_fn(|at| scratch[at]);
    if let Some(file) = newest_special(wasi)? {
        wasi.awaited.insert(u32::from_le_bytes(descriptor), Awaited::File(file));
    }
    let what = "the buffer for a descriptor";
    let result = memory::buffer(memory, caller, opened.cast_unsigned(), 4, what);
    result.map_err(wasmtime::Error::new)?.copy_from_slice(&descriptor);
    Ok(SUCCESS)
}

/// The path, if it is that of a file that is not a regular one. The guest's own directories bound the look-up.
fn special_path(
    caller: &mut Caller<'_, State>,
    memory: Memory,
    nth: usize,
    opening: Opening,
) -> Option<Vec<u8>> {
    let (path, len) = (opening.path.cast_unsigned(), opening.len.cast_unsigned());
    if len > MAX_PATH {
        return None;
    }
    let path = memory::read(memory, caller, path, len, "a path").ok()?.to_vec();
    let mut scratch = vec![0; STATUS];
    scratch.extend_from_slice(&path);
    let context = caller.data_mut().wasi[nth].inner().ok()?;
    context.set_hostcall_fuel(scratch.len());
    let at = i32::try_from(STATUS).ok()?;
    let mut memory = GuestMemory::Unshared(&mut scratch);
    let Opening { directory, lookup, len, .. } = opening;
    let found = preview1::path_filestat_get(context, &mut memory, directory, lookup, at, len, 0);
    let is_found = matches!(at_once(found), Ok(SUCCESS));
    let is_special = !matches!(scratch[STATUS_KIND], DIRECTORY | REGULAR | SYMBOLIC_LINK);
    (is_found && is_special).then_some(path)
}

/// The result of a future of `wasmtime_wasi` that uses only this thread, and so is ready at the first poll.
fn at_once(future: impl Future<Output = wasmtime::Result<i32>>) -> wasmtime::Result<i32> {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(wasmtime::Error::msg("a file operation did not run on its thread")),
    }
}

/// The open file that is not a regular one and was opened last: the only one without a descriptor here.
fn newest_special(context: &mut Context) -> wasmtime::Result<Option<Arc<File>>> {
    let known: Vec<_> = context.files().map(Arc::as_ptr).collect();
    let table = context.inner()?.ctx().table;
    let mut open = table.iter_mut().filter_map(|entry| match entry.downcast_ref::<Descriptor>() {
        Some(Descriptor::File(file)) => Some(&file.file),
        _ => None,
    });
    let is_regular = |file: &File| file.metadata().is_ok_and(|metadata| metadata.is_file());
    Ok(open.find(|file| !known.contains(&Arc::as_ptr(file)) && !is_regular(file)).map(Arc::clone))
}

/// `fd_read` of a file that may wait. `buffers` are the position and the number of descriptions of buffers.
pub(super) async fn read(
    caller: &mut Caller<'_, State>,
    at: usize,
    file: Arc<File>,
    buffers: (i32, i32),
    result: i32,
) -> Result<i32, Failure> {
    let memory = memory_of(caller, at)?;
    let Some((ptr, len)) = first_buffer(caller, memory, buffers)? else { return Ok(INVALID) };
    let host = Arc::clone(&caller.data().environment.host_runtime);
    let read = move || {
        let mut buffer = vec![0; len as usize];
        let read = until_done(|| (&*file).read(&mut buffer))?;
        buffer.truncate(read);
        Ok(buffer)
    };
    match host.run_blocking(read).await.map_err(Failure::Host)? {
        Ok(bytes) => {
            let read = u32::try_from(bytes.len()).unwrap_or(len);
            memory::buffer(memory, caller, ptr, read, "a buffer for bytes of a file")?
                .copy_from_slice(&bytes);
            write_count(caller, memory, result, read)
        }
        Err(error) => Ok(errno(&error)),
    }
}

/// `fd_write` of a file that may wait.
pub(super) async fn write(
    caller: &mut Caller<'_, State>,
    at: usize,
    file: Arc<File>,
    buffers: (i32, i32),
    result: i32,
) -> Result<i32, Failure> {
    let memory = memory_of(caller, at)?;
    let Some((ptr, len)) = first_buffer(caller, memory, buffers)? else { return Ok(INVALID) };
    let bytes = memory::read(memory, caller, ptr, len, "bytes for a file")?.to_vec();
    let host = Arc::clone(&caller.data().environment.host_runtime);
    let write = move || until_done(|| (&*file).write(&bytes));
    match host.run_blocking(write).await.map_err(Failure::Host)? {
        Ok(written) => write_count(caller, memory, result, u32::try_from(written).unwrap_or(len)),
        Err(error) => Ok(errno(&error)),
    }
}

/// The first buffer that is not empty, at most [`MAX_BYTES`] of it; `None` if there are too many.
fn first_buffer(
    caller: &Caller<'_, State>,
    memory: Memory,
    (ptr, count): (i32, i32),
) -> Result<Option<(u32, u32)>, Failure> {
    let (ptr, count) = (ptr.cast_unsigned(), count.cast_unsigned());
    if count > MAX_BUFFERS {
        return Ok(None);
    }
    let all = memory::read(memory, caller, ptr, count * BUFFER, "its buffers")?;
    let (buffers, _) = all.as_chunks::<{ BUFFER as usize }>();
    let number = |buffer: &[u8; 8], at| u32::from_le_bytes(std::array::from_fn(|n| buffer[at + n]));
    let mut buffers = buffers.iter().map(|buffer| (number(buffer, 0), number(buffer, 4)));
    let (ptr, len) = buffers.find(|(_, len)| *len > 0).unwrap_or_default();
    Ok(Some((ptr, len.min(MAX_BYTES))))
}

fn write_count(
    caller: &mut Caller<'_, State>,
    memory: Memory,
    at: i32,
    count: u32,
) -> Result<i32, Failure> {
    memory::buffer(memory, caller, at.cast_unsigned(), 4, "the buffer for the number of bytes")?
        .copy_from_slice(&count.to_le_bytes());
    Ok(SUCCESS)
}

/// Repeats an operation that a signal interrupted.
fn until_done(mut operation: impl FnMut() -> Result<usize, Error>) -> Result<usize, Error> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Preview 1's number of an error.
fn errno(error: &Error) -> i32 {
    match error.kind() {
        ErrorKind::PermissionDenied => 2,
        ErrorKind::WouldBlock => 6,
        ErrorKind::InvalidInput => INVALID,
        ErrorKind::BrokenPipe => 64,
        // Reading a file that is open only for writing, or the other way round.
        _ if error.raw_os_error() == Some(9) => BAD_DESCRIPTOR,
        _ => 29,
    }
}
