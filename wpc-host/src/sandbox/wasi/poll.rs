//! `poll_oneoff` of WASI preview 1. Guests wait for clocks and for stream input, at most until their call ends; guests on
//! fibers are suspended while they wait. Other input, files and output are always ready.

use super::{INVALID, SUCCESS};
use crate::host_function::CHECK_INTERVAL;
use crate::sandbox::failure::Failure;
use crate::sandbox::imports::memory_of;
use crate::sandbox::memory;
use crate::sandbox::state::State;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::{Caller, Memory};

#[cfg(feature = "tokio")]
use {
    super::context::{Awaited, Context},
    super::input::filled,
    crate::definition::wasi::grant::Input,
    std::{
        future::{Future as _, pending, poll_fn},
        pin::pin,
        sync::Arc,
        task::Poll,
    },
};

/// The maximum number of subscriptions in one call; the host keeps a copy of them while it waits.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// The sizes of a subscription and of an event in the memory layout of preview 1.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// Kinds of subscriptions.
const CLOCK: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

/// A decoded subscription.
struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    /// Of a subscription to reading or writing.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "all descriptors are ready"))]
    descriptor: u32,
    what: What,
    /// How many bytes can be read or written, as far as that is known.
    bytes: u64,
}

#[derive(Clone, Copy)]
enum What {
    /// Input or output, which are ready.
    Ready,
    /// Input that is a stream.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "input is always ready"))]
    Input,
    /// A moment; `None` stands for never.
    Until(Option<Instant>),
    /// An unknown clock or kind.
    Unknown,
}

/// The parameters of `poll_oneoff`: where the subscriptions are and where to write the events, how many subscriptions there
/// are, and where to write the number of events.
pub(super) type Parameters = (u32, u32, u32, u32);

/// A call to `poll_oneoff`.
struct Wanted {
    memory: Memory,
    subscriptions: Vec<Subscription>,
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

/// Like [`poll_oneoff`], for guests on fibers, which are suspended meanwhile. They also wait for input that is a stream.
#[cfg(feature = "tokio")]
pub(super) async fn suspending_poll_oneoff(
    mut caller: Caller<'_, State>,
    at: usize,
    nth: usize,
    parameters: Parameters,
) -> Result<i32, Failure> {
    let Some(mut wanted) = Wanted::read(&mut caller, at, parameters)? else { return Ok(INVALID) };
    let input = wanted.find_input(&caller.data().wasi[nth]);
    let host = Arc::clone(&caller.data().environment.host_runtime);
    let until = match wanted.wait() {
        Wait::Until(until) => until,
        Wait::No if input.is_none() => return wanted.answer(&mut caller),
        // Input may be ready too.
        Wait::No => Some(Instant::now()),
    };
    let mut filled = pin!(async {
        match &input {
            Some(input) => filled(input, &host).await.map(|source| source.ahead()),
            None => pending().await,
        }
    });
    let mut timer = pin!(async {
        match until {
            Some(until) if until <= Instant::now() => Ok(true),
            Some(until) => host.sleep_until(until).await.map_err(Failure::Host),
            None => pending().await,
        }
    });
    let awaited = poll_fn(|task| {
        if let Poll::Ready(ahead) = filled.as_mut().poll(task) {
            return Poll::Ready(ahead.map(Woken::Input));
        }
        timer.as_mut().poll(task).map(|slept| slept.map(Woken::Timer))
    });
    match awaited.await? {
        Woken::Input(ahead) => wanted.input_is_ready(ahead),
        Woken::Timer(true) => {}
        // The embedder's runtime has no timers.
        Woken::Timer(false) => sleep(caller.data(), until)?,
    }
    wanted.answer(&mut caller)
}

/// Without timers of tokio, the guest is not suspended, and input is always ready.
#[cfg(not(feature = "tokio"))]
pub(super) async fn suspending_poll_oneoff(
    caller: Caller<'_, State>,
    at: usize,
    _: usize,
    parameters: Parameters,
) -> Result<i32, Failure> {
    poll_oneoff(caller, at, parameters)
}

/// What ended the wait of a guest.
#[cfg(feature = "tokio")]
enum Woken {
    /// This many bytes of the input can be read.
    Input(usize),
    /// Whether the timer has run.
    Timer(bool),
}

/// How long a call waits.
enum Wait {
    No,
    /// Until a moment, or for input; `None` stands for never.
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
            subscriptions.iter().map(|subscription| decode(subscription, started, now)).collect();
        Ok(Some(Self { memory, subscriptions, events, found }))
    }

    /// The input as a stream that is subscribed to, if there is one. Other input is always ready.
    #[cfg(feature = "tokio")]
    fn find_input(&mut self, context: &Context) -> Option<Input> {
        let mut found = None;
        for awaited in &mut self.subscriptions {
            if let (READ, Some(Awaited::Input(input))) =
                (awaited.kind, context.awaited.get(&awaited.descriptor))
            {
                awaited.what = What::Input;
                found = Some(input.clone());
            }
        }
        found
    }

    #[cfg(feature = "tokio")]
    fn input_is_ready(&mut self, ahead: usize) {
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        for awaited in &mut self.subscriptions {
            if matches!(awaited.what, What::Input) {
                // At its end, a read returns at once too.
                (awaited.what, awaited.bytes) = (What::Ready, ahead);
            }
        }
    }

    fn wait(&self) -> Wait {
        let mut until = None;
        for awaited in &self.subscriptions {
            match awaited.what {
                What::Ready | What::Unknown => return Wait::No,
                What::Until(Some(moment)) => {
                    until = Some(until.map_or(moment, |until: Instant| until.min(moment)));
                }
                What::Until(None) | What::Input => {}
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
                What::Until(_) | What::Input => continue,
                What::Unknown => INVALID,
            };
            let mut event = [0; EVENT as usize];
            event[..8].copy_from_slice(&awaited.user_data);
            event[8] = u8::try_from(errno).unwrap_or_default();
            event[10] = awaited.kind;
            event[16..24].copy_from_slice(&awaited.bytes.to_le_bytes());
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

fn decode(
    subscription: &[u8; SUBSCRIPTION as usize],
    started: Instant,
    now: Instant,
) -> Subscription {
    let bytes = |at: usize| std::array::from_fn(|byte| subscription[at + byte]);
    let timeout = Duration::from_nanos(u64::from_le_bytes(bytes(24)));
    let is_absolute = subscription[40] & 1 == 1;
    // At this position is the clock, or the descriptor.
    let clock = u32::from_le_bytes(std::array::from_fn(|byte| subscription[16 + byte]));
    let kind = subscription[8];
    let what = match (kind, clock, is_absolute) {
        (CLOCK, 0 | 1, false) => What::Until(now.checked_add(timeout)),
        (CLOCK, 0, true) => {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            What::Until(now.checked_add(timeout.saturating_sub(wall)))
        }
        (CLOCK, 1, true) => What::Until(started.checked_add(timeout)),
        (READ | WRITE, ..) => What::Ready,
        _ => What::Unknown,
    };
    // At least one byte can be read or written.
    let at_least = u64::from(kind != CLOCK);
    Subscription { user_data: bytes(0), kind, descriptor: clock, what, bytes: at_least }
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
        let left = until.map_or(CHECK_INTERVAL, |until| until - now);
        std::thread::park_timeout(left.min(CHECK_INTERVAL));
    }
}
