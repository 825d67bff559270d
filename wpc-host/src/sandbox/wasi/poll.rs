//! `poll_oneoff` of WASI preview 1: guests wait for clocks until their call ends, suspended if they run on fibers. Input and
//! output are always ready.

use crate::host_function::LOOK;
use crate::sandbox::failure::Failure;
use crate::sandbox::imports::memory_of;
use crate::sandbox::memory;
use crate::sandbox::state::State;
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::{Caller, Memory};

/// The maximum number of subscriptions in one call; the host keeps a copy of them while it waits.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// The sizes of a subscription and of an event in the memory layout of preview 1.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

pub(super) const SUCCESS: i32 = 0;
const INVALID: i32 = 28;

/// The kind of a subscription to a clock. Kinds 1 and 2 are reading and writing.
const CLOCK: u8 = 0;

/// A decoded subscription.
struct Awaited {
    user_data: [u8; 8],
    kind: u8,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// Input or output, which are always ready.
    Ready,
    /// A moment; `None` is never.
    Until(Option<Instant>),
    /// An unknown clock or kind.
    Unknown,
}

/// The parameters of `poll_oneoff`: where the subscriptions are and where to write the events, how many subscriptions there
/// are, and where to write the number of events.
pub(super) type Parameters = (u32, u32, u32, u32);

/// A call of `poll_oneoff`.
struct Wanted {
    memory: Memory,
    subscriptions: Vec<Awaited>,
    events: u32,
    found: u32,
}

/// Waits until one of the subscriptions is ready, and reports those that are. Returns early if the call should end.
pub(super) fn poll_oneoff(
    mut caller: Caller<'_, State>,
    at: usize,
    parameters: Parameters,
) -> Result<i32, Failure> {
    let Some(wanted) = Wanted::read(&mut caller, at, parameters)? else { return Ok(INVALID) };
    if let Wait::Until(until) = wanted.wait() {
        sleep(caller.data(), until)?;
    }
    wanted.answer(&mut caller)
}

/// Like [`poll_oneoff`], for guests on fibers, which are suspended meanwhile.
#[cfg(feature = "tokio")]
pub(super) async fn suspending_poll_oneoff(
    mut caller: Caller<'_, State>,
    at: usize,
    parameters: Parameters,
) -> Result<i32, Failure> {
    let Some(wanted) = Wanted::read(&mut caller, at, parameters)? else { return Ok(INVALID) };
    match wanted.wait() {
        Wait::No => {}
        Wait::Until(None) => std::future::pending().await,
        Wait::Until(Some(until)) => {
            let host = Arc::clone(&caller.data().environment.host_runtime);
            if !host.sleep_until(until).await.map_err(Failure::Host)? {
                sleep(caller.data(), Some(until))?;
            }
        }
    }
    wanted.answer(&mut caller)
}

/// Without timers of tokio, the guest is not suspended.
#[cfg(not(feature = "tokio"))]
pub(super) async fn suspending_poll_oneoff(
    caller: Caller<'_, State>,
    at: usize,
    parameters: Parameters,
) -> Result<i32, Failure> {
    poll_oneoff(caller, at, parameters)
}

/// How long a call waits.
enum Wait {
    No,
    /// Until a moment; `None` is never.
    Until(Option<Instant>),
}

impl Wanted {
    /// The subscriptions of the module at `at`; `None` if there are none, or too many.
    fn read(
        caller: &mut Caller<'_, State>,
        at: usize,
        (wanted, events, count, found): Parameters,
    ) -> Result<Option<Self>, Failure> {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Ok(None);
        }
        let memory = memory_of(caller, at)?;
        let all = memory::read(memory, caller, wanted, count * SUBSCRIPTION, "its subscriptions")?;
        let (subscriptions, _) = all.as_chunks::<{ SUBSCRIPTION as usize }>();
        let now = Instant::now();
        let started = caller.data().environment.started;
        let subscriptions =
            subscriptions.iter().map(|subscription| awaited(subscription, started, now)).collect();
        Ok(Some(Self { memory, subscriptions, events, found }))
    }

    fn wait(&self) -> Wait {
        let mut until = None;
        for awaited in &self.subscriptions {
            match awaited.what {
                What::Ready | What::Unknown => return Wait::No,
                What::Until(Some(moment)) => {
                    until = Some(until.map_or(moment, |until: Instant| until.min(moment)));
                }
                What::Until(None) => {}
            }
        }
        match until {
            Some(until) if until <= Instant::now() => Wait::No,
            until => Wait::Until(until),
        }
    }

    /// Writes the events of the subscriptions that are ready, and their number.
    fn answer(self, caller: &mut Caller<'_, State>) -> Result<i32, Failure> {
        let now = Instant::now();
        let mut written: u32 = 0;
        for awaited in self.subscriptions {
            let errno = match awaited.what {
                What::Ready => SUCCESS,
                What::Until(Some(moment)) if moment <= now => SUCCESS,
                What::Until(_) => continue,
                What::Unknown => INVALID,
            };
            let mut event = [0; EVENT as usize];
            event[..8].copy_from_slice(&awaited.user_data);
            event[8] = u8::try_from(errno).unwrap_or_default();
            event[10] = awaited.kind;
            // At least one byte can be read or written.
            event[16] = u8::from(awaited.kind != CLOCK);
            let ptr = self.events.saturating_add(written * EVENT);
            memory::buffer(self.memory, caller, ptr, EVENT, "the buffer for events")?
                .copy_from_slice(&event);
            written += 1;
        }
        memory::buffer(self.memory, caller, self.found, 4, "the buffer for the number of events")?
            .copy_from_slice(&written.to_le_bytes());
        Ok(SUCCESS)
    }
}

fn awaited(subscription: &[u8; SUBSCRIPTION as usize], started: Instant, now: Instant) -> Awaited {
    let bytes = |at: usize| std::array::from_fn(|byte| subscription[at + byte]);
    let timeout = Duration::from_nanos(u64::from_le_bytes(bytes(24)));
    let is_absolute = subscription[40] & 1 == 1;
    let clock = u32::from_le_bytes(std::array::from_fn(|byte| subscription[16 + byte]));
    let kind = subscription[8];
    let what = match (kind, clock, is_absolute) {
        (CLOCK, 0 | 1, false) => What::Until(now.checked_add(timeout)),
        (CLOCK, 0, true) => {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            What::Until(now.checked_add(timeout.saturating_sub(wall)))
        }
        (CLOCK, 1, true) => What::Until(started.checked_add(timeout)),
        (1 | 2, ..) => What::Ready,
        _ => What::Unknown,
    };
    Awaited { user_data: bytes(0), kind, what }
}

/// Sleeps until the moment, but not beyond the end of the call.
fn sleep(state: &State, until: Option<Instant>) -> Result<(), Failure> {
    loop {
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return Ok(());
        }
        if let Some(interrupt) = state.interrupt(now) {
            return Err(Failure::Interrupted(interrupt));
        }
        let left = until.map_or(LOOK, |until| until - now);
        std::thread::park_timeout(left.min(LOOK));
    }
}
