//! Which worker takes a call: pure, over what is known of each worker at that moment.
//!
//! It knows no thread and no queue; the caller reserves the place and asks again when it is gone.

/// A worker as a call sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// It can take the call and has this many unanswered calls.
    Ready {
        /// Accepted and not yet answered.
        in_flight: usize,
    },
    /// It cannot take this function now.
    Unfit,
}

/// The least loaded candidate. Among equals it is the first one after `last`, so that calls go
/// round; the same candidates and the same `last` always give the same answer.
pub(crate) fn least_loaded(
    count: usize,
    last: usize,
    candidate: impl Fn(usize) -> Candidate,
) -> Option<usize> {
    let mut best = None;
    for step in 1..=count {
        let at = (last + step) % count;
        if let Candidate::Ready { in_flight } = candidate(at) {
            if in_flight == 0 {
                // Nobody has less.
                return Some(at);
            }
            if best.is_none_or(|(least, _)| in_flight < least) {
                best = Some((in_flight, at));
            }
        }
    }
    best.map(|(_, at)| at)
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
        least_loaded(loads.len(), last, |at| candidate(loads[at]))
    }

    fn candidate(load: Option<usize>) -> Candidate {
        load.map_or(Candidate::Unfit, |in_flight| Candidate::Ready { in_flight })
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
