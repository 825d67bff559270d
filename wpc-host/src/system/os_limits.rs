//! What the operating system still allows this process: memory maps, threads, address space and file
//! descriptors. Whatever takes much of one of them asks here first.
//!
//! Running out of one in the wrong place aborts the process: a new thread maps the stack of its signal handlers before
//! any of our code runs on it, and unmapping a part of a mapping may need a further one. So a reserve of each is kept,
//! and a request that would cut into it is refused by name. Other code of the process takes from the same limits: the
//! reserve is what it has until the next count.
//!
//! Only Linux is asked; elsewhere everything is allowed, and what the operating system refuses is reported as it says.

use crate::error::Error;
use std::fmt::Display;

/// How many memory maps an engine takes when it is made: the pools of its instances' memories and tables, and what the
/// allocator maps for its books. *Seen*: 9.
const MAPS_OF_ENGINE: u64 = 16;

/// How many a thread takes: its stack, the stack of its signal handlers, a guard page each, and an arena of the
/// allocator's.
const MAPS_OF_THREAD: u64 = 8;

/// How many a module's code takes: its text, what is read only, and the image of its memory.
const MAPS_OF_CODE: u64 = 8;

/// How many an instance takes: its memory's image, what follows that, what is not accessible yet, and as much for
/// tables.
const MAPS_OF_INSTANCE: u64 = 8;

/// How many file descriptors an engine or a module's code takes: for the image of a memory, and to ask the kernel which
/// pages were written.
const DESCRIPTORS: u64 = 1;

/// Sees that an engine can be made whose instances have this much address space.
pub(crate) fn check_engine(what: impl Display, address_space: u64) -> Result<(), Error> {
    linux::check_maps(&what, MAPS_OF_ENGINE)?;
    linux::check_descriptors(&what, DESCRIPTORS)?;
    linux::check_address_space(&what, address_space)
}

/// The error of an engine for which there was too little address space in one piece; `None` if it is not known how
/// much there is.
pub(crate) fn no_space(what: impl Display, address_space: u64) -> Option<Error> {
    linux::no_address_space(&what, address_space)
}

/// Whether this is the operating system's answer that it has no memory, or no address space.
pub(crate) fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    #[cfg(target_os = "linux")]
    if error.downcast_ref() == Some(&rustix::io::Errno::NOMEM) {
        return true;
    }
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
}

/// Sees that a module's code can be loaded.
pub(crate) fn check_code(what: impl Display) -> Result<(), Error> {
    linux::check_maps(&what, MAPS_OF_CODE)?;
    linux::check_descriptors(&what, DESCRIPTORS)
}

/// Sees that so many instances can be made, which open so many files. Costs an atomic subtraction of each as a rule.
pub(crate) fn check_instances(
    what: impl Display,
    instances: usize,
    files: usize,
) -> Result<(), Error> {
    linux::check_maps(&what, MAPS_OF_INSTANCE.saturating_mul(instances as u64))?;
    check_files(what, files)
}

/// Sees that so many files can be opened.
pub(crate) fn check_files(what: impl Display, files: usize) -> Result<(), Error> {
    if files == 0 { Ok(()) } else { linux::check_descriptors(&what, files as u64) }
}

/// Starts a thread by `spawn` where there is enough for one, with a stack of so many bytes.
pub(crate) fn start_thread<T>(
    what: impl Display,
    stack: usize,
    spawn: impl FnOnce() -> std::io::Result<T>,
) -> Result<T, Error> {
    linux::check_maps(&what, MAPS_OF_THREAD)?;
    linux::check_threads(&what)?;
    linux::check_address_space(&what, stack as u64)?;
    spawn().map_err(|error| {
        linux::exhausted_threads(&what).unwrap_or_else(|| Error::StartFailed {
            cause: format!("{what} could not be created: {error}"),
        })
    })
}

/// Whether a thread can be started without the process being aborted, for a caller that needs no reason.
pub(crate) fn has_room_for_thread() -> bool {
    linux::check_maps(&"a thread", MAPS_OF_THREAD).is_ok()
        && linux::check_threads(&"a thread").is_ok()
}

/// How large the stack of a thread is for which no size was chosen: that of the standard library.
pub(crate) const USUAL_STACK: usize = 2 * 1024 * 1024;

#[cfg(target_os = "linux")]
mod linux {
    use crate::error::Error;
    use crate::error::OsResource;
    use rustix::io::Errno;
    use rustix::process::{Resource, getrlimit, getuid};
    use std::fmt::Display;
    use std::fs;
    use std::io::Read as _;
    use std::path::Path;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    static MAPS: Allowance = Allowance::new(OsResource::MemoryMaps);
    static THREADS: Allowance = Allowance::new(OsResource::Threads);
    static DESCRIPTORS: Allowance = Allowance::new(OsResource::FileDescriptors);

    /// For how many times as long as it took a count that ended in a refusal holds: counting 60,000 maps takes some tens
    /// of milliseconds, and calls may fail one after another.
    const REFUSAL_HOLDS: u32 = 8;

    /// How many threads may start beside the one that was counted for, before the next count.
    const MIN_RESERVED_MAPS: u64 = 256;
    const MAX_RESERVED_MAPS: u64 = 4096;

    /// What the embedder starts between two counts.
    const MIN_RESERVED_THREADS: u64 = 4;
    const MAX_RESERVED_THREADS: u64 = 64;

    /// An arena of the allocator, which it maps for a new thread.
    const RESERVED_ADDRESS_SPACE: u64 = 64 << 20;

    /// What the embedder opens between two counts, and what starting a process takes.
    const RESERVED_DESCRIPTORS: u64 = 16;

    /// What a process may address on the usual kernels.
    const ADDRESSABLE: u64 = 1 << if cfg!(target_arch = "x86_64") { 47 } else { 48 };

    fn number(path: impl AsRef<Path>) -> Option<u64> {
        // `max` stands for no limit.
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    fn refusal(
        what: &impl Display,
        resource: OsResource,
        needed: u64,
        (used, limit, reserve): Count,
    ) -> Error {
        Error::OsLimit { what: what.to_string(), resource, needed, used, limit, reserve }
    }

    /// How much is in use, how much is allowed, and how much of that is kept free.
    type Count = (u64, u64, u64);

    /// How much of a resource may still be taken before it is counted again.
    struct Allowance {
        resource: OsResource,
        /// Half of what was free at the last count, since other code takes some as well.
        left: AtomicI64,
        /// The last count, if it ended in a refusal, and until when it holds.
        refused: Mutex<Option<(Instant, Count)>>,
    }

    impl Allowance {
        const fn new(resource: OsResource) -> Self {
            Self { resource, left: AtomicI64::new(0), refused: Mutex::new(None) }
        }

        /// Takes so much of it, or refuses. `count` is asked where the last count does not suffice; without an answer,
        /// everything is allowed.
        fn take(
            &self,
            what: &impl Display,
            needed: u64,
            count: impl FnOnce() -> Option<Count>,
        ) -> Result<(), Error> {
            let wanted = i64::try_from(needed).unwrap_or(i64::MAX);
            let take = || self.left.fetch_sub(wanted, Ordering::Relaxed) >= wanted;
            if take() { Ok(()) } else { self.count(what, needed, take, count) }
        }

        #[cold]
        fn count(
            &self,
            what: &impl Display,
            needed: u64,
            take: impl FnOnce() -> bool,
            count: impl FnOnce() -> Option<Count>,
        ) -> Result<(), Error> {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have counted meanwhile.
            if take() {
                return Ok(());
            }
            self.left.store(0, Ordering::Relaxed);
            let free = |(used, limit, reserve): Count| (limit - reserve).saturating_sub(used);
            let refusal = |count| Err(refusal(what, self.resource, needed, count));
            let begun = Instant::now();
            // A count that ended in a refusal may refuse again. It allows nothing: more was taken since.
            if let Some((_, count)) =
                refused.filter(|(until, count)| begun < *until && free(*count) < needed)
            {
                return refusal(count);
            }
            let Some(count) = count() else { return Ok(()) };
            if free(count) < needed {
                *refused = Some((begun + begun.elapsed() * (1 + REFUSAL_HOLDS), count));
                return refusal(count);
            }
            *refused = None;
            let left = i64::try_from((free(count) - needed) / 2).unwrap_or(i64::MAX);
            self.left.store(left, Ordering::Relaxed);
            Ok(())
        }
    }

    pub(super) fn check_maps(what: &impl Display, needed: u64) -> Result<(), Error> {
        MAPS.take(what, needed, || {
            let limit = number("/proc/sys/vm/max_map_count")?;
            let reserve = (limit / 16).clamp(MIN_RESERVED_MAPS, MAX_RESERVED_MAPS).min(limit);
            Some((count_lines("/proc/self/maps")?, limit, reserve))
        })
    }

    /// Sees that one more thread can be started.
    pub(super) fn check_threads(what: &impl Display) -> Result<(), Error> {
        THREADS.take(what, 1, || {
            let kept = |(used, limit): (u64, u64)| {
                let reserve = (limit / 16).clamp(MIN_RESERVED_THREADS, MAX_RESERVED_THREADS);
                (used, limit, reserve.min(limit))
            };
            let counts = thread_limits().into_iter().map(kept);
            counts.min_by_key(|(used, limit, reserve)| (limit - reserve).saturating_sub(*used))
        })
    }

    fn count_lines(path: &str) -> Option<u64> {
        let mut file = fs::File::open(path).ok()?;
        let mut buffer = vec![0; 64 * 1024];
        let mut lines = 0;
        loop {
            match file.read(&mut buffer).ok()? {
                0 => return Some(lines),
                read => {
                    lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64
                }
            }
        }
    }

    pub(super) fn check_address_space(what: &impl Display, needed: u64) -> Result<(), Error> {
        let Some(state @ (used, limit, reserve)) = address_space() else { return Ok(()) };
        if needed.saturating_add(used).saturating_add(reserve) <= limit {
            return Ok(());
        }
        Err(refusal(what, OsResource::AddressSpace, needed, state))
    }

    pub(super) fn no_address_space(what: &impl Display, needed: u64) -> Option<Error> {
        Some(refusal(what, OsResource::AddressSpace, needed, address_space()?))
    }

    /// How much is used, how much is allowed, and how much of that is kept free.
    fn address_space() -> Option<Count> {
        let limit = getrlimit(Resource::As).current.unwrap_or(u64::MAX).min(ADDRESSABLE);
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
        let kib: u64 = size.split_whitespace().next()?.parse().ok()?;
        Some((kib.saturating_mul(1024), limit, RESERVED_ADDRESS_SPACE))
    }

    pub(super) fn check_descriptors(what: &impl Display, needed: u64) -> Result<(), Error> {
        DESCRIPTORS.take(what, needed, || {
            let limit = getrlimit(Resource::Nofile).current?;
            let used = match fs::read_dir("/proc/self/fd") {
                // The one that reads the folder is counted as well, and gone at once.
                Ok(open) => (open.count() as u64).saturating_sub(1),
                // Not even that one can be opened.
                Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => limit,
                Err(_) => return None,
            };
            Some((used, limit, RESERVED_DESCRIPTORS.min(limit)))
        })
    }

    /// The limit on threads that is used up, if one is: asked after one could not be started.
    pub(super) fn exhausted_threads(what: &impl Display) -> Option<Error> {
        let full = thread_limits().into_iter().find(|(used, limit)| used >= limit);
        full.map(|(used, limit)| refusal(what, OsResource::Threads, 1, (used, limit, 0)))
    }

    /// How many threads there are of those that each limit counts, and the limit: of the control group and those above
    /// it, of the user, of all processes.
    fn thread_limits() -> Vec<(u64, u64)> {
        let of_user = || {
            let limit = getrlimit(Resource::Nproc).current.filter(|_| is_limited())?;
            Some((threads_of(getuid().as_raw()), limit))
        };
        let of_all = || {
            // `running/all`, the fourth field.
            let load = fs::read_to_string("/proc/loadavg").ok()?;
            let (_, all) = load.split_whitespace().nth(3)?.split_once('/')?;
            Some((all.parse().ok()?, number("/proc/sys/kernel/threads-max")?))
        };
        let mut limits = of_groups();
        limits.extend(of_user());
        limits.extend(of_all());
        limits
    }

    /// Whether the limit of the user holds for this process: not for root, nor with the capabilities to exceed it.
    fn is_limited() -> bool {
        const ADMIN: u64 = 1 << 21;
        const RESOURCE: u64 = 1 << 24;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
        !getuid().is_root() && effective.unwrap_or(0) & (ADMIN | RESOURCE) == 0
    }

    /// How many threads the processes of a user have.
    fn threads_of(user: u32) -> u64 {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let statuses =
            processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
        let field = |status: &str, name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        statuses
            .filter(|status| field(status, "Uid:") == Some(u64::from(user)))
            .filter_map(|status| field(&status, "Threads:"))
            .sum()
    }

    /// How many threads the control group has and how many it may have, and the same of each above it.
    fn of_groups() -> Vec<(u64, u64)> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let root = match controllers {
                "" => Path::new("/sys/fs/cgroup").to_owned(),
                "pids" => Path::new("/sys/fs/cgroup/pids").to_owned(),
                _ => return None,
            };
            let own = root.join(path.trim_start_matches('/'));
            let all = own.ancestors().take_while(|group| group.starts_with(&root));
            let limit = |group: &Path| {
                Some((number(group.join("pids.current"))?, number(group.join("pids.max"))?))
            };
            Some(all.filter_map(limit).collect::<Vec<_>>())
        });
        limits.flatten().collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use crate::error::Error;
    use std::fmt::Display;

    pub(super) fn check_maps(_: &impl Display, _: u64) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn check_address_space(_: &impl Display, _: u64) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn no_address_space(_: &impl Display, _: u64) -> Option<Error> {
        None
    }

    pub(super) fn check_descriptors(_: &impl Display, _: u64) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn check_threads(_: &impl Display) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn exhausted_threads(_: &impl Display) -> Option<Error> {
        None
    }
}
