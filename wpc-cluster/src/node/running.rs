//! The calls from other processes on a node, until they have ended, and the answers of those that ended.
//!
//! | change | made by |
//! |---|---|
//! | a call is added, and its task is set | the task that reads messages |
//! | a call is removed and its answer kept | the task of the call, once; or the task that reads messages, if the call is refused |
//! | a call is cancelled: its task is aborted, and with it the guest | the task that reads messages |
//! | credit is added | the same |

use super::call_task::CallTask;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wpc_host::FuelMeter;

/// How long an answer is kept for a caller that may have missed it, and how many bytes all of them may have.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(10);
const MAX_KEPT_BYTES: usize = 32 << 20;
/// The memory that a kept answer needs in bytes, in addition to the answer and the name of its inbox.
const KEPT_OVERHEAD: usize = 256;

/// The calls from other processes, by the inbox of their answers.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    calls: HashMap<String, Call>,
    /// How many of them run.
    running: usize,
    /// The answers that were sent, in their order.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// The number of answers that were sent.
    answers: u64,
}

/// A call from another process.
#[derive(Debug)]
enum Call {
    Running(RunningCall),
    /// Its answer was sent, as the answer with this number.
    Answered(Bytes, u64),
}

/// A call that runs.
#[derive(Debug)]
struct RunningCall {
    /// Set before the next message is read, unless the call has ended already.
    task: Option<CallTask>,
    /// Set once a metered call was submitted.
    fuel: Option<FuelMeter>,
    credit: Option<Arc<Credit>>,
}

/// An answer that was sent.
#[derive(Debug)]
struct Kept {
    inbox: String,
    number: u64,
    bytes: usize,
    at: Instant,
}

/// What a stream may send.
#[derive(Debug)]
pub(crate) struct Credit {
    items: Semaphore,
    bytes: Semaphore,
    /// The bytes of the caller's window.
    window: usize,
}

/// The state of a call on a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Running,
    Answered(Bytes),
    Unknown,
}

impl Credit {
    pub(crate) fn new(items: u32, bytes: u32) -> Self {
        let (items, bytes) = (items.max(1) as usize, bytes.max(1) as usize);
        let [items, bytes] = [items, bytes].map(bounded);
        Self { items: Semaphore::new(items), bytes: Semaphore::new(bytes), window: bytes }
    }

    /// Waits until an item of this many bytes may be sent. A caller grants bytes only when it has read half of its window; until then
    /// the other half is available. An item therefore counts as half of the window at most, so it can always be sent.
    pub(crate) async fn take(&self, len: usize) {
        // The semaphores are never closed.
        if let Ok(permit) = self.items.acquire().await {
            permit.forget();
        }
        let len = u32::try_from(len.min(self.window / 2)).unwrap_or(u32::MAX);
        if let Ok(permit) = self.bytes.acquire_many(len).await {
            permit.forget();
        }
    }

    fn add(&self, items: u32, bytes: u32) {
        for (semaphore, more) in [(&self.items, items), (&self.bytes, bytes)] {
            // A caller that grants without end reaches the bound of the semaphore.
            let left = bounded(usize::MAX) - semaphore.available_permits();
            semaphore.add_permits((more as usize).min(left));
        }
    }
}

fn bounded(permits: usize) -> usize {
    permits.min(Semaphore::MAX_PERMITS / 2)
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call. Returns `false` if there is one with this inbox.
    pub(crate) fn add(&self, inbox: &str, credit: Option<Arc<Credit>>) -> bool {
        let mut state = self.state();
        if state.running(inbox).is_some() {
            return false;
        }
        let call = RunningCall { task: None, fuel: None, credit };
        state.calls.insert(inbox.to_owned(), Call::Running(call));
        state.running += 1;
        true
    }

    /// Sets the task of a call, unless the call has ended already: its task may still be sending the answer.
    pub(crate) fn set_task(&self, inbox: &str, task: CallTask) {
        match self.state().running(inbox) {
            Some(call) => call.task = Some(task),
            None => task.detach(),
        }
    }

    /// Sets what reads the fuel of a call.
    pub(crate) fn set_fuel(&self, inbox: &str, fuel: FuelMeter) {
        if let Some(call) = self.state().running(inbox) {
            call.fuel = Some(fuel);
        }
    }

    /// Ends a call, and keeps its answer.
    pub(crate) fn end(&self, inbox: &str, message: &Bytes, now: Instant) {
        let mut state = self.state();
        let ended = state.remove(inbox);
        state.keep(inbox, message, now);
        drop(state);
        // It may still be sending the answer.
        if let Some(task) = ended.and_then(|call| call.task) {
            task.detach();
        }
    }

    /// Keeps the answer to a call that was not added.
    pub(crate) fn keep(&self, inbox: &str, message: &Bytes, now: Instant) {
        let mut state = self.state();
        // Its inbox may be that of another call.
        if state.running(inbox).is_none() {
            state.keep(inbox, message, now);
        }
    }

    /// Cancels a call. Returns what reads its fuel, if it is metered.
    pub(crate) fn cancel(&self, inbox: &str) -> Option<FuelMeter> {
        let call = self.state().remove(inbox)?;
        // Outside of the lock: the task's values are dropped.
        if let Some(task) = call.task {
            task.cancel();
        }
        call.fuel
    }

    /// Cancels all calls.
    pub(crate) fn cancel_all(&self) {
        let calls = std::mem::take(&mut *self.state()).calls;
        for call in calls.into_values() {
            if let Call::Running(RunningCall { task: Some(task), .. }) = call {
                task.cancel();
            }
        }
    }

    pub(crate) fn add_credit(&self, inbox: &str, items: u32, bytes: u32) {
        if let Some(credit) = self.credit(inbox) {
            credit.add(items, bytes);
        }
    }

    /// What the stream of a call may send.
    pub(crate) fn credit(&self, inbox: &str) -> Option<Arc<Credit>> {
        self.state().running(inbox)?.credit.clone()
    }

    /// The state of a call.
    pub(crate) fn look_up(&self, inbox: &str) -> Known {
        match self.state().calls.get(inbox) {
            Some(Call::Running(_)) => Known::Running,
            Some(Call::Answered(message, _)) => Known::Answered(message.clone()),
            None => Known::Unknown,
        }
    }

    /// The number of calls that run.
    pub(crate) fn len(&self) -> usize {
        self.state().running
    }
}

impl State {
    fn running(&mut self, inbox: &str) -> Option<&mut RunningCall> {
        match self.calls.get_mut(inbox)? {
            Call::Running(call) => Some(call),
            Call::Answered(..) => None,
        }
    }

    /// Removes a call that runs.
    fn remove(&mut self, inbox: &str) -> Option<RunningCall> {
        self.running(inbox)?;
        let Some(Call::Running(call)) = self.calls.remove(inbox) else { return None };
        self.running -= 1;
        Some(call)
    }

    fn keep(&mut self, inbox: &str, message: &Bytes, now: Instant) {
        self.forget(now);
        let bytes = message.len() + inbox.len() * 2 + KEPT_OVERHEAD;
        if bytes <= MAX_KEPT_BYTES {
            self.answers += 1;
            let number = self.answers;
            self.calls.insert(inbox.to_owned(), Call::Answered(message.clone(), number));
            self.kept.push_back(Kept { inbox: inbox.to_owned(), number, bytes, at: now });
            self.kept_bytes += bytes;
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.kept.front() {
            let is_old = now.saturating_duration_since(oldest.at) > KEPT_FOR;
            if !is_old && self.kept_bytes <= MAX_KEPT_BYTES {
                return;
            }
            self.kept_bytes -= oldest.bytes;
            // A later call may have the same inbox.
            if let Some(Call::Answered(_, number)) = self.calls.get(&oldest.inbox)
                && *number == oldest.number
            {
                self.calls.remove(&oldest.inbox);
            }
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_a_caller_that_missed_it() {
        let (running, now) = (Running::default(), Instant::now());
        assert!(running.add("a", None));
        assert!(!running.add("a", None), "an inbox has one call");
        assert_eq!(running.look_up("a"), Known::Running);
        running.end("a", &Bytes::from_static(b"x"), now);
        assert_eq!(running.look_up("a"), Known::Answered(Bytes::from_static(b"x")));
        running.add("b", None);
        running.end("b", &Bytes::from_static(b"y"), now + KEPT_FOR * 2);
        assert_eq!(running.look_up("a"), Known::Unknown);
        assert_eq!(running.len(), 0);
    }

    #[tokio::test]
    async fn a_task_is_aborted_if_its_call_is_cancelled_but_not_if_it_has_ended() {
        let (running, now) = (Running::default(), Instant::now());
        let start = || tokio::spawn(std::future::pending::<()>());
        running.add("cancelled", None);
        let task = start();
        running.set_task("cancelled", CallTask::Runtime(task.abort_handle()));
        running.cancel("cancelled");
        assert!(task.await.unwrap_err().is_cancelled());
        running.add("ended", None);
        let task = start();
        running.end("ended", &Bytes::from_static(b"x"), now);
        running.set_task("ended", CallTask::Runtime(task.abort_handle()));
        tokio::task::yield_now().await;
        assert!(!task.is_finished(), "it may still be sending the answer");
        assert_eq!(running.look_up("ended"), Known::Answered(Bytes::from_static(b"x")));
        assert_eq!(running.len(), 0);
        task.abort();
    }

    #[test]
    fn a_refusal_is_kept_like_an_answer() {
        let (running, now) = (Running::default(), Instant::now());
        running.keep("a", &Bytes::from_static(b"no"), now);
        assert_eq!(running.look_up("a"), Known::Answered(Bytes::from_static(b"no")));
        running.add("a", None);
        assert_eq!(running.look_up("a"), Known::Running);
    }

    #[test]
    fn kept_answers_are_bounded_by_their_bytes() {
        let (running, now) = (Running::default(), Instant::now());
        for call in 0..100 {
            let inbox = call.to_string();
            running.add(&inbox, None);
            running.end(&inbox, &Bytes::from(vec![0; 1 << 20]), now);
        }
        assert!(running.state().kept_bytes <= MAX_KEPT_BYTES + (1 << 20));
        assert_eq!(running.look_up("0"), Known::Unknown);
    }

    #[test]
    fn credit_is_bounded() {
        let credit = Credit::new(u32::MAX, u32::MAX);
        for _ in 0..10 {
            credit.add(u32::MAX, u32::MAX);
        }
        assert!(credit.bytes.available_permits() <= Semaphore::MAX_PERMITS / 2);
    }
}
