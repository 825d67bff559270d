//! Checks the operating system's limits on memory maps, threads, address space and file descriptors before the pool uses
//! much of one.
//!
//! Exhausting one of them at the wrong moment aborts the process. For example, a new thread maps the stack of its signal
//! handlers before any of our code runs on it, and unmapping part of a mapping may create another mapping. Therefore a
//! reserve of each resource is kept, and a request that would use the reserve is refused with an error that names the
//! resource. The reserve also covers what other code of the process uses until the next count.
//!
//! The limits are checked on Linux only. On other systems every request is allowed, and the errors of the operating system
//! are reported.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod unchecked;

use crate::error::Error;
#[cfg(target_os = "linux")]
use linux as limits;
use std::fmt::Display;
#[cfg(not(target_os = "linux"))]
use unchecked as limits;

/// The memory maps that creating an engine takes: the pools of its instances' memories and tables, and the allocator's
/// bookkeeping. 9 were measured.
const MAPS_OF_ENGINE: u64 = 16;

/// The memory maps that a thread takes: its stack, the stack of its signal handlers, a guard page for each, and an arena of
/// the allocator.
const MAPS_OF_THREAD: u64 = 8;

/// The memory maps that a module's code takes: its text, its read-only data, and the image of its memory.
const MAPS_OF_CODE: u64 = 8;

/// The memory maps that an instance takes: its memory's image, the rest of the accessible memory, the inaccessible part, and
/// as many for tables.
const MAPS_OF_INSTANCE: u64 = 8;

/// The file descriptors that an engine or a module's code takes: for the image of a memory, and to query the kernel for
/// written pages.
const DESCRIPTORS: u64 = 1;

/// Checks that an engine can be created that reserves this much address space, and this many memory maps for stacks.
pub(crate) fn check_engine(
    what: impl Display,
    address_space: u64,
    stacks: u64,
) -> Result<(), Error> {
    limits::check_maps(&what, MAPS_OF_ENGINE + stacks)?;
    limits::check_descriptors(&what, DESCRIPTORS)?;
    limits::check_address_space(&what, address_space)
}

/// The error of an engine for which there was not enough contiguous address space; `None` if the amount of address space is
/// unknown.
pub(crate) fn no_space(what: impl Display, address_space: u64) -> Option<Error> {
    limits::no_address_space(&what, address_space)
}

/// Whether the operating system reported that it is out of memory or address space.
pub(crate) fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    #[cfg(target_os = "linux")]
    if error.downcast_ref() == Some(&rustix::io::Errno::NOMEM) {
        return true;
    }
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
}

/// Checks that a module's code can be loaded.
pub(crate) fn check_code(what: impl Display) -> Result<(), Error> {
    limits::check_maps(&what, MAPS_OF_CODE)?;
    limits::check_descriptors(&what, DESCRIPTORS)
}

/// Checks that this many instances, which open this many files, can be created. Usually costs one atomic subtraction for each
/// resource.
pub(crate) fn check_instances(
    what: impl Display,
    instances: usize,
    files: usize,
) -> Result<(), Error> {
    limits::check_maps(&what, MAPS_OF_INSTANCE.saturating_mul(instances as u64))?;
    check_files(what, files)
}

/// Checks that this many files can be opened.
pub(crate) fn check_files(what: impl Display, files: usize) -> Result<(), Error> {
    if files == 0 { Ok(()) } else { limits::check_descriptors(&what, files as u64) }
}

/// Starts a thread by `spawn` if the limits allow one with a stack of this many bytes.
pub(crate) fn start_thread<T>(
    what: impl Display,
    stack: usize,
    spawn: impl FnOnce() -> std::io::Result<T>,
) -> Result<T, Error> {
    limits::check_maps(&what, MAPS_OF_THREAD)?;
    limits::check_threads(&what)?;
    limits::check_address_space(&what, stack as u64)?;
    spawn().map_err(|error| {
        limits::exhausted_threads(&what).unwrap_or_else(|| Error::StartFailed {
            cause: format!("cannot create {what}: {error}"),
        })
    })
}

/// Whether the limits allow another thread, for a caller that needs no reason.
pub(crate) fn allows_another_thread() -> bool {
    limits::check_maps(&"a thread", MAPS_OF_THREAD).is_ok()
        && limits::check_threads(&"a thread").is_ok()
}

/// The stack size of threads for which no size is chosen: the default of the standard library.
pub(crate) const USUAL_STACK: usize = 2 * 1024 * 1024;
