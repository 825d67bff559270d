//! Chooses the worker for a call: a pure function of each worker's load and predicted wait.
//!
//! It does not depend on threads or queues. The caller reserves the slot, and asks again if the slot is taken.

/// A worker as dispatch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// It can take the call.
    Ready {
        /// The number of calls that the worker has accepted and not yet answered, without suspended ones.
        in_flight: usize,
        /// How long a call is likely to wait there, in nanoseconds; `None` if the worker is parked or the wait is unknown.
        wait: Option<u64>,
    },
    /// It cannot take this call now.
    Ineligible,
}

/// How long a wake-up takes while a core is free, in nanoseconds. The caller's part alone was measured as 7 to 8 microseconds.
const WAKE_UP: u64 = 8_000;

/// How long a wake-up takes while all cores are busy, in nanoseconds: the woken thread waits for a core, or preempts a running
/// one.
const BUSY_WAKE_UP: u64 = 50_000;

/// The worker that is predicted to start a call soonest.
///
/// Of the running workers only the first `cores` count, because no more can run at once. The choice is:
///
/// 1. the first of them that is idle;
/// 2. the one with the shortest wait, if that does not exceed a wake-up;
/// 3. the least loaded of all workers; among equals the first after `last`, so that they take turns.
///
/// The result depends only on the arguments.
pub(crate) fn soonest(
    count: usize,
    last: usize,
    cores: usize,
    candidate: impl Fn(usize) -> Candidate,
) -> Option<usize> {
    if count == 1 {
        // Only one candidate exists.
        return (candidate(0) != Candidate::Ineligible).then_some(0);
    }
    let (mut running, mut quickest, mut idlest) = (0, None, None);
    // `last` may come from a larger set.
    let last = if last < count { last } else { last % count.max(1) };
    for at in 0..count {
        let Candidate::Ready { in_flight, wait } = candidate(at) else { continue };
        if let Some(wait) = wait
            && running < cores
        {
            if in_flight == 0 {
                return Some(at);
            }
            running += 1;
            if quickest.is_none_or(|(shortest, _)| wait < shortest) {
                quickest = Some((wait, at));
            }
        }
        let turn = if at > last { at - last } else { at + count - last };
        let rank = (in_flight, turn);
        if idlest.is_none_or(|(lowest, _)| rank < lowest) {
            idlest = Some((rank, at));
        }
    }
    let wake_up = if running < cores { WAKE_UP } else { BUSY_WAKE_UP };
    match quickest {
        Some((wait, at)) if wait <= wake_up => Some(at),
        _ => idlest.map(|(_, at)| at),
    }
}

/// The worker that `key` belongs to among the candidates, by rendezvous hashing.
///
/// Each worker has a hash for the key, and the highest wins. When a worker is gone, its keys spread over the others and no
/// other key moves.
pub(crate) fn by_affinity(
    key: u64,
    ids: impl Iterator<Item = u64>,
    candidate: impl Fn(usize) -> Candidate,
) -> Option<usize> {
    ids.enumerate()
        .filter(|(at, _)| candidate(*at) != Candidate::Ineligible)
        .max_by_key(|(_, id)| mix(key ^ mix(*id)))
        .map(|(at, _)| at)
}

/// Spreads a number's bits over all of them (the finisher of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(last: usize, loads: &[Option<usize>]) -> Option<usize> {
        soonest(loads.len(), last, 2, |at| candidate(loads[at]))
    }

    fn candidate(load: Option<usize>) -> Candidate {
        load.map_or(Candidate::Ineligible, |in_flight| Candidate::Ready { in_flight, wait: None })
    }

    #[test]
    fn the_least_loaded_worker_is_chosen_at_any_position() {
        for last in 0..3 {
            assert_eq!(pick(last, &[Some(3), Some(1), Some(2)]), Some(1));
        }
    }

    #[test]
    fn equally_loaded_workers_take_turns() {
        let idle = [Some(0), Some(0), Some(0)];
        let mut last = 0;
        let turns: Vec<_> = (0..6)
            .map(|_| {
                last = pick(last, &idle).unwrap();
                last
            })
            .collect();
        assert_eq!(turns, [1, 2, 0, 1, 2, 0]);
        assert_eq!(pick(1, &[Some(5), Some(5), Some(7)]), Some(0));
        assert_eq!(pick(7, &[Some(5), Some(5), Some(7)]), Some(0));
    }

    /// Picks with two cores. Each worker has a load, and if it runs, a wait in microseconds.
    fn pick_running(last: usize, workers: &[(usize, Option<u64>)]) -> Option<usize> {
        soonest(workers.len(), last, 2, |at| {
            let (in_flight, wait) = workers[at];
            Candidate::Ready { in_flight, wait: wait.map(|micros| micros * 1_000) }
        })
    }

    #[test]
    fn a_running_idle_worker_is_preferred_to_a_parked_one() {
        for last in 0..4 {
            let workers = [(0, None), (1, Some(1)), (0, Some(0)), (0, Some(0))];
            assert_eq!(pick_running(last, &workers), Some(2));
        }
    }

    #[test]
    fn a_parked_worker_is_woken_if_the_wait_would_be_longer() {
        assert_eq!(pick_running(0, &[(0, None), (9, Some(7))]), Some(1));
        assert_eq!(pick_running(0, &[(0, None), (9, Some(9))]), Some(0));
        // All cores are busy, so a wake-up takes longer.
        assert_eq!(pick_running(0, &[(0, None), (9, Some(40)), (8, Some(30))]), Some(2));
        assert_eq!(pick_running(0, &[(0, None), (9, Some(60)), (8, Some(60))]), Some(0));
    }

    #[test]
    fn running_workers_beyond_the_cores_get_no_calls_and_may_park() {
        for last in 0..4 {
            let workers = [(2, Some(1)), (1, Some(200)), (0, Some(0)), (0, None)];
            assert_eq!(pick_running(last, &workers), Some(0));
        }
    }

    #[test]
    fn ineligible_workers_are_skipped_and_there_may_be_no_choice() {
        assert_eq!(pick(0, &[None, None, Some(9)]), Some(2));
        assert_eq!(pick(0, &[None, None]), None);
        assert_eq!((pick(0, &[Some(9)]), pick(0, &[None])), (Some(0), None));
        assert_eq!(pick(0, &[]), None);
    }

    #[test]
    fn only_the_keys_of_a_missing_worker_move() {
        let ids = [11, 12, 13, 14];
        let home = |key, fit: [bool; 4]| {
            by_affinity(key, ids.into_iter(), |at| candidate(fit[at].then_some(0))).unwrap()
        };
        let mut used = [0; 4];
        for key in 0..1000 {
            let before = home(key, [true; 4]);
            used[before] += 1;
            assert_eq!(home(key, [true; 4]), before);
            let after = home(key, [true, true, false, true]);
            assert!(before == 2 || after == before, "key {key} moved although its worker stayed");
        }
        assert!(used.iter().all(|count| (150..350).contains(count)), "{used:?}");
    }
}
