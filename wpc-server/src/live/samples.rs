//! Samples of finished calls while clients watch: a few that succeeded, and the durations of failed ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wpc_host::{CallId, FinishedCall};

/// How many succeeded calls are sampled in each period.
const PER_PERIOD: u32 = 2;

/// How many durations of failed calls wait for the events of these calls.
const MAX_FAILED: usize = 256;

/// Samples that have not been collected yet. Workers add samples, and never wait for the lock: if it is held, the call
/// is not sampled.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// How many more succeeded calls are sampled in this period.
    wanted: AtomicU32,
    buffers: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    succeeded: Vec<FinishedCall>,
    failed: VecDeque<(CallId, Duration)>,
}

impl Samples {
    /// Samples the call, if it is one of the first in this period or has failed.
    pub(super) fn offer(&self, call: &FinishedCall) {
        let is_wanted = call.error.is_some()
            || (self.wanted.load(Ordering::Relaxed) > 0
                && self
                    .wanted
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok());
        if !is_wanted {
            return;
        }
        let Ok(mut buffers) = self.buffers.try_lock() else { return };
        if call.error.is_none() {
            buffers.succeeded.push(call.clone());
        } else {
            if buffers.failed.len() == MAX_FAILED {
                buffers.failed.pop_front();
            }
            buffers.failed.push_back((call.call_id, call.ran));
        }
    }

    /// Takes the succeeded calls of this period, and begins the next one.
    pub(super) fn take_succeeded(&self) -> Vec<FinishedCall> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let succeeded = std::mem::take(&mut buffers.succeeded);
        self.wanted.store(PER_PERIOD, Ordering::Relaxed);
        succeeded
    }

    /// How long a failed call ran, if it was sampled.
    pub(super) fn ran(&self, call: CallId) -> Option<Duration> {
        let buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.failed.iter().rev().find(|(id, _)| *id == call).map(|(_, ran)| *ran)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wpc_host::{ErrorCode, FunctionHash, WorkerId};

    fn call(id: u64) -> FinishedCall {
        FinishedCall::new(id.into(), "add", FunctionHash::of(b"a module"), WorkerId::from(1))
    }

    #[test]
    fn a_few_succeeded_calls_of_each_period_are_sampled() {
        let samples = Samples::default();
        samples.offer(&call(1));
        assert_eq!(samples.take_succeeded(), [], "no period has begun");
        (2..10).for_each(|id| samples.offer(&call(id)));
        assert_eq!(samples.take_succeeded(), [call(2), call(3)]);
        assert_eq!(samples.take_succeeded(), []);
    }

    #[test]
    fn how_long_failed_calls_ran_is_known_for_the_last_ones() {
        let samples = Samples::default();
        for id in 0..1_000 {
            let mut failed = call(id);
            failed.error = Some(ErrorCode::Trap);
            failed.ran = Duration::from_millis(id);
            samples.offer(&failed);
        }
        assert_eq!(samples.ran(999.into()), Some(Duration::from_millis(999)));
        assert_eq!(samples.ran(0.into()), None);
    }
}
