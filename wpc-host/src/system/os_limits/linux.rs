//! Counts what is in use and reads the limits, on Linux.

use crate::error::{Error, OsResource};
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

/// A count that led to a refusal stays valid for this many times the duration of the count. Counting 60,000 maps takes tens
/// of milliseconds, and many calls may fail one after another.
const REFUSAL_HOLDS: u32 = 8;

/// Memory maps for the threads that other code starts between two counts.
const MIN_RESERVED_MAPS: u64 = 256;
const MAX_RESERVED_MAPS: u64 = 4096;

/// Threads that the embedder starts between two counts.
const MIN_RESERVED_THREADS: u64 = 4;
const MAX_RESERVED_THREADS: u64 = 64;

/// The arena that the allocator maps for a new thread.
const RESERVED_ADDRESS_SPACE: u64 = 64 << 20;

/// Descriptors that the embedder opens between two counts, and those that starting a process takes.
const RESERVED_DESCRIPTORS: u64 = 16;

/// The address space of a process on usual kernels.
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

/// How much is in use, how much is allowed, and how much of that is reserved.
type Count = (u64, u64, u64);

/// How much of a resource may be taken before it is counted again.
struct Allowance {
    resource: OsResource,
    /// Starts at half of what was free at the last count, because other code uses the resource as well.
    left: AtomicI64,
    /// The last count, if it led to a refusal, and until when it is valid.
    refused: Mutex<Option<(Instant, Count)>>,
}

impl Allowance {
    const fn new(resource: OsResource) -> Self {
        Self { resource, left: AtomicI64::new(0), refused: Mutex::new(None) }
    }

    /// Takes the needed amount or refuses. If the last count does not suffice, `count` counts again; if that returns
    /// `None`, the request is allowed.
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
        // An old count may only be used for another refusal, because more may have been taken since.
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

/// Checks that one more thread can be started.
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
            read => lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64,
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

/// How much is in use, how much is allowed, and how much of that is reserved.
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
            // The count includes the descriptor of this folder, which is closed afterwards.
            Ok(open) => (open.count() as u64).saturating_sub(1),
            // No descriptor is left to read the folder.
            Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => limit,
            Err(_) => return None,
        };
        Some((used, limit, RESERVED_DESCRIPTORS.min(limit)))
    })
}

/// The exhausted limit on threads, if there is one. Called after a thread could not be started.
pub(super) fn exhausted_threads(what: &impl Display) -> Option<Error> {
    let full = thread_limits().into_iter().find(|(used, limit)| used >= limit);
    full.map(|(used, limit)| refusal(what, OsResource::Threads, 1, (used, limit, 0)))
}

/// The used and allowed number of threads for each limit: of the control group and its ancestors, of the user, and of the
/// whole system.
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

/// Whether the user's limit applies to this process. It does not for root or with the capabilities to exceed it.
fn is_limited() -> bool {
    const ADMIN: u64 = 1 << 21;
    const RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    !getuid().is_root() && effective.unwrap_or(0) & (ADMIN | RESOURCE) == 0
}

/// The number of threads of all processes of a user.
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

/// The used and allowed number of threads of the control group and of its ancestors.
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
