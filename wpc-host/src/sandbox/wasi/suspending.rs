//! The functions of preview 1 in which guests on fibers are suspended while they wait.

use super::context::Context;
use super::files::{self, Opening};
use super::poll::{Parameters, suspending_poll_oneoff};
use super::{SUCCESS, preview1};
use crate::definition::wasi::WASI_MODULE;
use crate::sandbox::imports::{check_interrupt, memory_of};
use crate::sandbox::state::State;
use wasmtime::{AsContextMut as _, Caller, Linker};
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wiggle::GuestMemory;

/// Calls a function of `wasmtime_wasi` for the module at `at`, which uses the sandbox's `nth` context.
macro_rules! call {
    ($caller:ident, $at:ident, $nth:ident, $name:ident($($argument:expr),*)) => {{
        let memory = memory_of(&mut $caller, $at).map_err(wasmtime::Error::new)?;
        let fuel = $caller.as_context_mut().hostcall_fuel();
        let (bytes, state) = memory.data_and_store_mut(&mut $caller);
        let context = state.wasi[$nth].inner()?;
        context.set_hostcall_fuel(fuel);
        preview1::$name(context, &mut GuestMemory::Unshared(bytes), $($argument),*).await
    }};
}

/// Links them for the module at `at`, which uses the sandbox's `nth` context.
pub(super) fn link(linker: &mut Linker<State>, at: usize, nth: usize) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        WASI_MODULE,
        "fd_read",
        move |mut caller: Caller<'_, State>, (fd, buffers, count, result): (i32, i32, i32, i32)| {
            Box::new(async move {
                check_interrupt(&caller)?;
                match caller.data().wasi[nth].file(fd) {
                    Some(file) => files::read(&mut caller, at, file, (buffers, count), result)
                        .await
                        .map_err(wasmtime::Error::new),
                    None => call!(caller, at, nth, fd_read(fd, buffers, count, result)),
                }
            })
        },
    )?;
    linker.func_wrap_async(
        WASI_MODULE,
        "fd_write",
        move |mut caller: Caller<'_, State>, (fd, buffers, count, result): (i32, i32, i32, i32)| {
            Box::new(async move {
                check_interrupt(&caller)?;
                match caller.data().wasi[nth].file(fd) {
                    Some(file) => files::write(&mut caller, at, file, (buffers, count), result)
                        .await
                        .map_err(wasmtime::Error::new),
                    None => call!(caller, at, nth, fd_write(fd, buffers, count, result)),
                }
            })
        },
    )?;
    linker.func_wrap_async(
        WASI_MODULE,
        "fd_close",
        move |mut caller: Caller<'_, State>, (fd,): (i32,)| {
            Box::new(async move {
                check_interrupt(&caller)?;
                let errno = call!(caller, at, nth, fd_close(fd))?;
                Ok(recorded(&mut caller.data_mut().wasi[nth], errno, |context| context.closed(fd)))
            })
        },
    )?;
    linker.func_wrap_async(
        WASI_MODULE,
        "fd_renumber",
        move |mut caller: Caller<'_, State>, (from, to): (i32, i32)| {
            Box::new(async move {
                check_interrupt(&caller)?;
                let errno = call!(caller, at, nth, fd_renumber(from, to))?;
                let record = |context: &mut Context| context.renumbered(from, to);
                Ok(recorded(&mut caller.data_mut().wasi[nth], errno, record))
            })
        },
    )?;
    linker.func_wrap_async(
        WASI_MODULE,
        "path_open",
        move |mut caller: Caller<'_, State>,
              (directory, lookup, path, len, open, rights, inherited, flags, opened): (
            i32,
            i32,
            i32,
            i32,
            i32,
            i64,
            i64,
            i32,
            i32,
        )| {
            let opening = Opening { directory, lookup, path, len, open, rights, inherited, flags };
            Box::new(async move {
                check_interrupt(&caller)?;
                files::open(&mut caller, at, nth, opening, opened).await
            })
        },
    )?;
    linker.func_wrap_async(
        WASI_MODULE,
        "poll_oneoff",
        move |caller: Caller<'_, State>, parameters: Parameters| {
            Box::new(async move {
                check_interrupt(&caller)?;
                let polled = suspending_poll_oneoff(caller, at, nth, parameters).await;
                polled.map_err(wasmtime::Error::new)
            })
        },
    )?;
    Ok(())
}

/// Records a change to the descriptors if it succeeded.
fn recorded(context: &mut Context, errno: i32, record: impl FnOnce(&mut Context)) -> i32 {
    if errno == SUCCESS {
        record(context);
    }
    errno
}
