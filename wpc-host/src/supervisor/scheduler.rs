//! Which worker takes a call: pure, over what is known of each worker at that moment.
//!
//! It knows no thread and no queue; the caller reserves the place and asks again when it is gone.

use std::time::Duration;

/// A worker as a call sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// It can take the call.
    Ready {
        /// Accepted and not yet answered.
        in_flight: usize,
        /// How long a call is likely to wait there; `None` where the worker has to be woken first, or nobody knows.
        wait: Option<Duration>,
    },
    /// It cannot take this function now.
    Unfit,
}

/// How long a wake-up takes where a core is free: 7 to 8 microseconds of the caller's time alone were seen.
const WAKE_UP: Duration = Duration::from_micros(8);

/// The same where the cores are busy: the woken one waits for its turn, or takes one from those who work.
const BUSY_WAKE_UP: Duration = Duration::from_micros(50);

/// Who comes to a call soonest.
///
/// Of the first `cores` that are awake, which are as many as can run at once, the first that is idle, or else the one
/// with the shortest wait if that is no longer than a wake-up. Else the least loaded of all; among equals the first
/// one after `last`, so that they take turns. The same candidates and the same `last` always give the same answer.
pub(crate) fn soonest(
    count: usize,
    last: usize,
    cores: usize,
    candidate: impl Fn(usize) -> Candidate,
) -> Option<usize> {
    let (mut awake, mut quickest, mut idlest) = (0, None, None);
    for at in 0..count {
        let Candidate::Ready { in_flight, wait } = candidate(at) else { continue };
        if let Some(wait) = wait
            && awake < cores
        {
            if in_flight == 0 {
                return Some(at);
            }
            awake += 1;
            if quickest.is_none_or(|(shortest, _)| wait < shortest) {
                quickest = Some((wait, at));
            }
        }
        // `last` is of a set that may have been larger.
        let rank = (in_flight, (at + count - last % count - 1) % count);
        if idlest.is_none_or(|(lowest, _)| rank < lowest) {
            idlest = Some((rank, at));
        }
    }
    let wake_up = if awake < cores { WAKE_UP } else { BUSY_WAKE_UP };
    match quickest {
        Some((wait, at)) if wait <= wake_up => Some(at),
        _ => idlest.map(|(_, at)| at),
    }
}

/// The worker that `key` belongs to among the candidates.
///
/// Each worker draws a number for the key and the highest wins (rendezvous hashing), so that keys
/// of a worker that is gone spread over the others and no other key moves.
pub(crate) fn by_affinity(
    key: u64,
    ids: impl Iterator<Item = u64>,
    candidate: impl Fn(usize) -> Candidate,
) -> Option<usize> {
    ids.enumerate()
        .filter(|(at, _)| candidate(*at) != Candidate::Unfit)
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
        load.map_or(Candidate::Unfit, |in_flight| Candidate::Ready { in_flight, wait: None })
    }

    #[test]
    fn the_least_loaded_wins_wherever_it_stands() {
        for last in 0..3 {
            assert_eq!(pick(last, &[Some(3), Some(1), Some(2)]), Some(1));
        }
    }

    #[test]
    fn equals_take_turns() {
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

    /// With two cores; of each worker its load, and after how many microseconds it would come to a call.
    fn pick_awake(last: usize, workers: &[(usize, Option<u64>)]) -> Option<usize> {
        soonest(workers.len(), last, 2, |at| {
            let (in_flight, wait) = workers[at];
            Candidate::Ready { in_flight, wait: wait.map(Duration::from_micros) }
        })
    }

    #[test]
    fn nobody_is_woken_while_somebody_is_awake_and_idle() {
        for last in 0..4 {
            let workers = [(0, None), (1, Some(1)), (0, Some(0)), (0, Some(0))];
            assert_eq!(pick_awake(last, &workers), Some(2));
        }
    }

    #[test]
    fn a_sleeper_is_woken_where_the_wait_would_be_longer() {
        assert_eq!(pick_awake(0, &[(0, None), (9, Some(7))]), Some(1));
        assert_eq!(pick_awake(0, &[(0, None), (9, Some(9))]), Some(0));
        // It would take a core from those who have them.
        assert_eq!(pick_awake(0, &[(0, None), (9, Some(40)), (8, Some(30))]), Some(2));
        assert_eq!(pick_awake(0, &[(0, None), (9, Some(60)), (8, Some(60))]), Some(0));
    }

    #[test]
    fn who_is_awake_beyond_the_cores_gets_nothing_and_may_sleep() {
        for last in 0..4 {
            let workers = [(2, Some(1)), (1, Some(200)), (0, Some(0)), (0, None)];
            assert_eq!(pick_awake(last, &workers), Some(0));
        }
    }

    #[test]
    fn the_unfit_are_passed_over_and_nobody_is_an_answer() {
        assert_eq!(pick(0, &[None, None, Some(9)]), Some(2));
        assert_eq!(pick(0, &[None, None]), None);
        assert_eq!(pick(0, &[]), None);
    }

    #[test]
    fn a_key_stays_and_only_the_keys_of_a_lost_worker_move() {
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
            assert!(before == 2 || after == before, "key {key} moved without need");
        }
        assert!(used.iter().all(|count| (150..350).contains(count)), "{used:?}");
    }
}
