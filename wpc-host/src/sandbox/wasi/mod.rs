//! WASI preview 1 in a sandbox. `wasmtime_wasi` implements it, limited to what was granted. Functions that may wait or
//! run for a long time are implemented here, so that they end with their call.
//!
//! The functions are linked one by one instead of by `wasmtime_wasi`'s own linker. That linker blocks on a `tokio` runtime,
//! which panics on a thread that runs an async task, as callers' threads may. Linking them here also lets each function
//! check whether its call should end. Guests on fibers are suspended in those that may wait; in other guests no function
//! waits for another thread, so each of their futures is ready at the first poll.
//!
//! * `context`: the context of a module.
//! * `files`: files for which guests on fibers wait.
//! * `input`: standard input as a stream.
//! * `output`: standard output and standard error.
//! * `poll`: sleep, and waiting for input.
//! * `suspending`: the functions in which guests on fibers are suspended.

mod context;
mod files;
mod input;
mod output;
mod poll;
mod suspending;

pub(super) use context::Context;

use super::failure::Failure;
use super::imports::{check_interrupt, fill_with_random, memory_of};
use super::state::State;
use crate::call::Interrupt;
use crate::definition::wasi::WASI_MODULE;
use crate::definition::wasi::grant::Wasi;
use crate::host_function::drive;
use crate::system::os_limits;
use poll::poll_oneoff;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::ResourceTableError;
use wasmtime::{AsContextMut as _, Caller, Linker};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as preview1, WasiSnapshotPreview1 as _};
use wiggle::GuestMemory;

/// Links functions of preview 1 that `wasmtime_wasi` implements, each with the types of its parameters: synchronous
/// functions and those that return futures.
macro_rules! link_functions {
    ($linker:ident, $at:ident, $nth:ident; synchronous { $($sync:ident($($sync_ty:ident),*);)* } futures { $($name:ident($($ty:ident),*);)+ }) => {
        $(link_functions!(@one $linker, $at, $nth, $sync, ready, ($($sync_ty),*) (a b c d e f g h i) ());)*
        $(link_functions!(@one $linker, $at, $nth, $name, awaited, ($($ty),*) (a b c d e f g h i) ());)+
    };
    // Gives each parameter a name.
    (@one $linker:ident, $at:ident, $nth:ident, $name:ident, $how:ident, ($ty:ident $(, $rest:ident)*) ($letter:ident $($letters:ident)*) ($($done:tt)*)) => {
        link_functions!(@one $linker, $at, $nth, $name, $how, ($($rest),*) ($($letters)*) ($($done)* ($letter: $ty)))
    };
    (@one $linker:ident, $at:ident, $nth:ident, $name:ident, $how:ident, () ($($letters:ident)*) ($(($letter:ident: $ty:ident))*)) => {
        $linker.func_wrap(
            WASI_MODULE,
            stringify!($name),
            move |mut caller: Caller<'_, State> $(, $letter: $ty)*| -> wasmtime::Result<i32> {
                check_interrupt(&caller)?;
                if stringify!($name) == "path_open" && !can_open_file() {
                    return Ok(TOO_MANY_FILES);
                }
                let memory = memory_of(&mut caller, $at).map_err(wasmtime::Error::new)?;
                let fuel = caller.as_context_mut().hostcall_fuel();
                let (bytes, state) = memory.data_and_store_mut(&mut caller);
                let State { wasi, call, environment, .. } = state;
                let context = wasi[$nth].inner()?;
                context.set_hostcall_fuel(fuel);
                let mut memory = GuestMemory::Unshared(bytes);
                let answer = preview1::$name(context, &mut memory $(, $letter)*);
                $how(answer, || environment.interrupt(call.as_deref(), Instant::now()))
            },
        )?
    };
}

/// Numbers that functions of preview 1 return: success, an invalid argument, a descriptor that is not open or not for this
/// operation, and a process that cannot open another file.
const SUCCESS: i32 = 0;
const INVALID: i32 = 28;
const BAD_DESCRIPTOR: i32 = 8;
const TOO_MANY_FILES: i32 = 33;

/// Whether the process can open another file without using the descriptors that are kept in reserve. The guest receives
/// an `errno`, as from any operating system: part of it has run, so its call is not refused.
fn can_open_file() -> bool {
    os_limits::check_files("a file of a guest", 1).is_ok()
}

/// Links preview 1 for the module at `at`, which uses the sandbox's `nth` context. With `has_fibers`,
/// its guests are suspended while they wait. Returns the grant of that context, which
/// is empty for a module that was granted only capabilities.
pub(super) fn link(
    linker: &mut Linker<State>,
    at: usize,
    nth: usize,
    granted: Option<&Arc<Wasi>>,
    has_fibers: bool,
) -> wasmtime::Result<Arc<Wasi>> {
    link_functions! { linker, at, nth;
        synchronous {
            args_get(i32, i32);
            args_sizes_get(i32, i32);
            clock_res_get(i32, i32);
            clock_time_get(i32, i64, i32);
            environ_get(i32, i32);
            environ_sizes_get(i32, i32);
            fd_allocate(i32, i64, i64);
            fd_fdstat_set_flags(i32, i32);
            fd_fdstat_set_rights(i32, i64, i64);
            fd_prestat_dir_name(i32, i32, i32);
            fd_prestat_get(i32, i32);
            fd_tell(i32, i32);
            proc_raise(i32);
            sched_yield();
        }
        futures {
            fd_advise(i32, i64, i64, i32);
            fd_datasync(i32);
            fd_fdstat_get(i32, i32);
            fd_filestat_get(i32, i32);
            fd_filestat_set_size(i32, i64);
            fd_filestat_set_times(i32, i64, i64, i32);
            fd_pread(i32, i32, i32, i64, i32);
            fd_pwrite(i32, i32, i32, i64, i32);
            fd_readdir(i32, i32, i32, i64, i32);
            fd_seek(i32, i64, i32, i32);
            fd_sync(i32);
            path_create_directory(i32, i32, i32);
            path_filestat_get(i32, i32, i32, i32, i32);
            path_filestat_set_times(i32, i32, i32, i32, i64, i64, i32);
            path_link(i32, i32, i32, i32, i32, i32, i32);
            path_readlink(i32, i32, i32, i32, i32, i32);
            path_remove_directory(i32, i32, i32);
            path_rename(i32, i32, i32, i32, i32, i32);
            path_symlink(i32, i32, i32, i32, i32);
            path_unlink_file(i32, i32, i32);
        }
    }
    if has_fibers {
        suspending::link(linker, at, nth)?;
    } else {
        link_functions! { linker, at, nth;
            synchronous {}
            futures {
                fd_close(i32);
                fd_read(i32, i32, i32, i32);
                fd_renumber(i32, i32);
                fd_write(i32, i32, i32, i32);
                path_open(i32, i32, i32, i32, i32, i64, i64, i32, i32);
            }
        }
        linker.func_wrap(
            WASI_MODULE,
            "poll_oneoff",
            move |caller: Caller<'_, State>, wanted: u32, events: u32, count: u32, found: u32| {
                check_interrupt(&caller)?;
                let polled = poll_oneoff(caller, at, (wanted, events, count, found));
                polled.map_err(wasmtime::Error::new)
            },
        )?;
    }
    // The implementation of `wasmtime_wasi` generates byte by byte, and into a buffer of the host first.
    linker.func_wrap(
        WASI_MODULE,
        "random_get",
        move |mut caller: Caller<'_, State>, buffer: u32, len: u32| {
            check_interrupt(&caller)?;
            fill_with_random(&mut caller, at, buffer, len).map_err(wasmtime::Error::new)?;
            Ok(SUCCESS)
        },
    )?;
    // Unlike that of `wasmtime_wasi`, it reports which module exited and accepts any status.
    linker.func_wrap(
        WASI_MODULE,
        "proc_exit",
        move |caller: Caller<'_, State>, status: i32| -> wasmtime::Result<()> {
            check_interrupt(&caller)?;
            Err(wasmtime::Error::new(Failure::Exited { at, status }))
        },
    )?;
    Ok(granted.map(Arc::clone).unwrap_or_default())
}

/// Whether a guest was ended because it opened more files than its limit allows.
pub(super) fn has_too_many_files(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
}

/// The answer of a synchronous function.
fn ready(
    answer: wasmtime::Result<i32>,
    _: impl Fn() -> Option<Interrupt>,
) -> wasmtime::Result<i32> {
    answer
}

/// The answer of a future. It is ready at the first poll; if it were not, it would be polled until its call should end.
fn awaited(
    future: impl Future<Output = wasmtime::Result<i32>>,
    interrupt: impl Fn() -> Option<Interrupt>,
) -> wasmtime::Result<i32> {
    drive(future, interrupt)
        .unwrap_or_else(|interrupt| Err(wasmtime::Error::new(Failure::Interrupted(interrupt))))
}
