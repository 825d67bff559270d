//! The nodes that a process knows by their heartbeats, and which of them gets a call.

use crate::names::NodeName;
use crate::wire::{Heartbeat, Stage};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The nodes that a process knows by their heartbeats.
#[derive(Debug)]
pub(crate) struct Members {
    nodes: BTreeMap<NodeName, Member>,
    /// The time between two heartbeats of a node.
    interval: Duration,
    random: StdRng,
}

/// What is known about a node.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) heartbeat: Heartbeat,
    /// The number of the start before, if the node has started again.
    earlier: Option<u64>,
    /// When the heartbeat arrived.
    pub(crate) last_heartbeat: Instant,
    pub(crate) presence: Presence,
    /// The calls that this process sent since the heartbeat, without those that ended.
    sent: i64,
}

/// Whether a node sends heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Alive,
    /// Its heartbeats are missing.
    Lost,
}

/// The number of intervals without a heartbeat after which a node is lost.
pub(crate) const MISSED: u32 = 3;
/// The number of intervals in which every node that is alive sends a heartbeat, with time for a late one.
pub(crate) const DISCOVERY_INTERVALS: u32 = 2;
/// The number of intervals without a heartbeat after which a lost node is forgotten.
const FORGOTTEN: u32 = 1000;
/// The maximum number of nodes. Reports of others are ignored.
const MAX_NODES: usize = 4096;

/// What a recorded heartbeat changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// Nothing about the calls there.
    Known,
    /// The node is new, or its heartbeats arrive again.
    Joined,
    /// The node has started again, so the calls there are lost.
    Restarted,
    /// Two processes have the name. Each may still have its calls.
    Shared,
    /// The node has left.
    Left,
    /// There are too many nodes, or one has left that was not known.
    Ignored,
}

/// Whether every node that is alive has had time to send a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovery {
    Complete,
    /// Heartbeats have arrived for too short a time.
    Incomplete,
}

/// How the node of a call is chosen.
#[derive(Debug)]
pub(crate) struct Criteria<'a> {
    /// Nodes that run this list of functions are preferred.
    pub(crate) index: [u8; 32],
    /// Calls with the same key go to the same node.
    pub(crate) affinity: Option<u64>,
    /// Nodes that were tried; they are not chosen.
    pub(crate) tried: &'a [NodeName],
}

impl Member {
    fn new(heartbeat: Heartbeat, earlier: Option<u64>, now: Instant) -> Self {
        Self { heartbeat, earlier, last_heartbeat: now, presence: Presence::Alive, sent: 0 }
    }

    /// The share of its capacity that is used, as far as this process knows.
    fn load(&self) -> f64 {
        let calls = (i64::from(self.heartbeat.in_flight) + self.sent).max(0);
        let limit = self.heartbeat.call_limit.max(1);
        // Counts of calls are far below 2^52.
        #[expect(clippy::cast_precision_loss, reason = "counts of calls are small")]
        let calls = calls as f64;
        calls / f64::from(limit)
    }
}

impl Members {
    /// A list without nodes. The same seed makes the same choices.
    pub(crate) fn new(interval: Duration, seed: u64) -> Self {
        Self { nodes: BTreeMap::new(), interval, random: StdRng::seed_from_u64(seed) }
    }

    /// A random number from 0 to 1.
    pub(crate) fn random(&mut self) -> f64 {
        self.random.random()
    }

    /// Records a heartbeat of a node.
    pub(crate) fn record(
        &mut self,
        name: NodeName,
        heartbeat: Heartbeat,
        now: Instant,
    ) -> Recorded {
        if heartbeat.stage == Stage::Left {
            let is_known =
                self.nodes.get(&name).is_some_and(|known| known.heartbeat.epoch == heartbeat.epoch);
            if !is_known {
                return Recorded::Ignored;
            }
            self.nodes.remove(&name);
            return Recorded::Left;
        }
        let is_full = self.nodes.len() >= MAX_NODES;
        match self.nodes.entry(name) {
            std::collections::btree_map::Entry::Vacant(_) if is_full => Recorded::Ignored,
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Member::new(heartbeat, None, now));
                Recorded::Joined
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let member = entry.get_mut();
                let last = member.heartbeat.epoch;
                let (recorded, earlier) = if member.earlier == Some(heartbeat.epoch) {
                    (Recorded::Shared, Some(last))
                } else if last != heartbeat.epoch {
                    (Recorded::Restarted, Some(last))
                } else if member.presence == Presence::Lost {
                    (Recorded::Joined, member.earlier)
                } else {
                    (Recorded::Known, member.earlier)
                };
                *member = Member::new(heartbeat, earlier, now);
                recorded
            }
        }
    }

    /// Whether every node is known, if heartbeats arrive since `up_since`.
    pub(crate) fn discovery(&self, up_since: Option<Instant>, now: Instant) -> Discovery {
        match up_since {
            Some(since)
                if now.saturating_duration_since(since) < self.interval * DISCOVERY_INTERVALS =>
            {
                Discovery::Incomplete
            }
            _ => Discovery::Complete,
        }
    }

    /// The nodes that have been lost since the last call to this method. `up_since` is since when this process can receive heartbeats: a
    /// node is not lost because its heartbeats cannot arrive.
    pub(crate) fn find_lost(&mut self, up_since: Option<Instant>, now: Instant) -> Vec<NodeName> {
        let Some(up_since) = up_since else { return Vec::new() };
        let (interval, mut lost) = (self.interval, Vec::new());
        self.nodes.retain(|name, member| {
            let silence = now.saturating_duration_since(member.last_heartbeat.max(up_since));
            if member.presence == Presence::Alive && silence >= interval * MISSED {
                member.presence = Presence::Lost;
                lost.push(name.clone());
            }
            silence < interval * FORGOTTEN
        });
        lost
    }

    /// Chooses a node. With a key, always the same node for that key; otherwise by the power of two choices: the less loaded of two nodes
    /// drawn in proportion to their capacity. `None` if no node is left.
    pub(crate) fn choose(&mut self, criteria: &Criteria<'_>) -> Option<NodeName> {
        let is_candidate = |(name, member): &(&NodeName, &Member)| {
            member.presence == Presence::Alive
                && member.heartbeat.stage == Stage::Serving
                && member.heartbeat.call_limit > 0
                && !criteria.tried.contains(name)
        };
        let candidates: Vec<_> = self.nodes.iter().filter(is_candidate).collect();
        let current =
            candidates.iter().filter(|(_, member)| member.heartbeat.index == criteria.index);
        let current: Vec<_> = current.copied().collect();
        // A node that runs another revision may have the definition all the same.
        let candidates = if current.is_empty() { candidates } else { current };
        let chosen = match criteria.affinity {
            Some(key) => by_key(&candidates, key),
            None => {
                let random = &mut self.random;
                let (one, other) = (drawn(&candidates, random)?, drawn(&candidates, random)?);
                Some(if other.1.load() < one.1.load() { other } else { one })
            }
        };
        chosen.map(|(name, _)| name.clone())
    }

    /// Counts a call that is sent to a node.
    pub(crate) fn sent(&mut self, name: &NodeName) {
        if let Some(member) = self.nodes.get_mut(name) {
            member.sent += 1;
        }
    }

    /// Counts a call that ended on a node.
    pub(crate) fn ended(&mut self, name: &NodeName) {
        if let Some(member) = self.nodes.get_mut(name) {
            member.sent -= 1;
        }
    }

    /// Every node that is not forgotten.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, &Member)> {
        self.nodes.iter()
    }
}

type Candidate<'a> = (&'a NodeName, &'a Member);

/// A random node, in proportion to its capacity.
fn drawn<'a>(candidates: &[Candidate<'a>], random: &mut StdRng) -> Option<Candidate<'a>> {
    let weight = |(_, member): &Candidate<'_>| u64::from(member.heartbeat.call_limit);
    let total: u64 = candidates.iter().map(weight).sum();
    if total == 0 {
        return None;
    }
    let mut at = random.random_range(0..total);
    candidates.iter().copied().find(|candidate| {
        let weight = weight(candidate);
        let is_here = at < weight;
        at = at.wrapping_sub(weight);
        is_here
    })
}

/// The node with the highest score for the key (weighted rendezvous hashing), so a node that joins or leaves moves only its own
/// keys.
fn by_key<'a>(candidates: &[Candidate<'a>], key: u64) -> Option<Candidate<'a>> {
    candidates.iter().copied().max_by(|one, other| {
        let score = |(name, member): &Candidate<'_>| {
            let mut hash = mixed(key ^ 0x9e37_79b9_7f4a_7c15);
            for byte in name.as_str().bytes() {
                hash = mixed(hash ^ u64::from(byte));
            }
            // A number between 0 and 1, both exclusive. A weight divided by its negative logarithm makes a node's share of the
            // keys proportional to the weight.
            #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
            let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -f64::from(member.heartbeat.call_limit) / uniform.ln()
        };
        score(one).total_cmp(&score(other))
    })
}

/// A bijection of 64 bits in which every bit depends on every other.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_with_one_name_are_not_a_node_that_starts_again_and_again() {
        let (name, now) = ("a".parse::<NodeName>().unwrap(), Instant::now());
        let mut members = Members::new(Duration::from_millis(100), 1);
        let recorded = [1, 1, 2, 1, 2, 3, 3]
            .map(|epoch| members.record(name.clone(), Heartbeat::new(epoch), now));
        use Recorded::{Joined, Known, Restarted, Shared};
        assert_eq!(recorded, [Joined, Known, Restarted, Shared, Shared, Restarted, Known]);
    }

    #[test]
    fn nodes_may_be_unknown_until_heartbeats_have_arrived_for_two_intervals() {
        let (interval, now) = (Duration::from_millis(100), Instant::now());
        let members = Members::new(interval, 1);
        let discovery = |since: Option<Instant>, at| members.discovery(since, at);
        assert_eq!(discovery(Some(now), now + interval), Discovery::Incomplete);
        assert_eq!(discovery(Some(now), now + interval * 2), Discovery::Complete);
        assert_eq!(discovery(None, now), Discovery::Complete, "no heartbeat can arrive");
    }

    const INTERVAL: Duration = Duration::from_millis(300);

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn heartbeat(epoch: u64, call_limit: u32) -> Heartbeat {
        let mut heartbeat = Heartbeat::new(epoch);
        heartbeat.call_limit = call_limit;
        heartbeat
    }

    fn criteria(tried: &[NodeName]) -> Criteria<'_> {
        Criteria { index: [0; 32], affinity: None, tried }
    }

    #[test]
    fn a_node_is_lost_after_three_missed_heartbeats_while_heartbeats_can_arrive() {
        let start = Instant::now();
        let mut members = Members::new(INTERVAL, 7);
        assert_eq!(members.record(name("a"), heartbeat(1, 1), start), Recorded::Joined);
        assert_eq!(members.record(name("a"), heartbeat(1, 1), start + INTERVAL), Recorded::Known);
        let later = start + INTERVAL * 4;
        assert!(members.find_lost(Some(start), later - Duration::from_millis(1)).is_empty());
        assert!(members.find_lost(None, later).is_empty(), "no heartbeats can arrive");
        assert!(members.find_lost(Some(start + INTERVAL * 2), later).is_empty(), "it could not");
        assert_eq!(members.find_lost(Some(start), later), [name("a")]);
        assert!(members.find_lost(Some(start), later).is_empty(), "once");
        assert_eq!(members.choose(&criteria(&[])), None);
        assert_eq!(members.record(name("a"), heartbeat(1, 1), later), Recorded::Joined);
        assert_eq!(members.record(name("a"), heartbeat(2, 1), later), Recorded::Restarted);
        members.find_lost(Some(start), later + INTERVAL * FORGOTTEN);
        assert_eq!(members.iter().count(), 0);
    }

    #[test]
    fn nodes_get_calls_in_proportion_to_their_capacity() {
        let now = Instant::now();
        let mut members = Members::new(INTERVAL, 7);
        members.record(name("large"), heartbeat(1, 12), now);
        members.record(name("small"), heartbeat(1, 3), now);
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            let node = members.choose(&criteria(&[])).unwrap();
            members.sent(&node);
            *counts.entry(node).or_insert(0) += 1;
        }
        let share = counts[&name("large")];
        assert!((7900..=8100).contains(&share), "{share} of 10,000 to the node with 4/5");
    }

    #[test]
    fn a_node_that_has_left_is_forgotten_and_not_lost() {
        let now = Instant::now();
        let mut members = Members::new(INTERVAL, 7);
        let left = |epoch| {
            let mut heartbeat = heartbeat(epoch, 1);
            heartbeat.stage = Stage::Left;
            heartbeat
        };
        members.record(name("a"), heartbeat(1, 1), now);
        assert_eq!(members.record(name("a"), left(2), now), Recorded::Ignored, "another process");
        assert_eq!(members.record(name("a"), left(1), now), Recorded::Left);
        assert_eq!(members.record(name("a"), left(1), now), Recorded::Ignored);
        assert!(members.find_lost(Some(now), now + INTERVAL * 10).is_empty());
        assert_eq!(members.iter().count(), 0);
        assert_eq!(members.record(name("a"), heartbeat(2, 1), now), Recorded::Joined);
    }

    #[test]
    fn draining_tried_and_outdated_nodes_are_avoided() {
        let now = Instant::now();
        let mut members = Members::new(INTERVAL, 7);
        let mut draining = heartbeat(1, 9);
        draining.stage = Stage::Draining;
        members.record(name("draining"), draining, now);
        let mut outdated = heartbeat(1, 9);
        outdated.index = [1; 32];
        members.record(name("outdated"), outdated, now);
        members.record(name("current"), heartbeat(1, 1), now);
        for _ in 0..50 {
            assert_eq!(members.choose(&criteria(&[])), Some(name("current")));
            let tried = [name("current")];
            assert_eq!(members.choose(&criteria(&tried)), Some(name("outdated")));
        }
        let tried = [name("current"), name("outdated")];
        assert_eq!(members.choose(&criteria(&tried)), None);
    }

    #[test]
    fn a_key_keeps_its_node_when_another_one_leaves() {
        let now = Instant::now();
        let mut members = Members::new(INTERVAL, 7);
        for node in ["a", "b", "c"] {
            members.record(name(node), heartbeat(1, 4), now);
        }
        let of = |members: &mut Members, key, tried: &[NodeName]| {
            let criteria = Criteria { index: [0; 32], affinity: Some(key), tried };
            members.choose(&criteria).unwrap()
        };
        let mut moved = 0;
        for key in 0..300 {
            let before = of(&mut members, key, &[]);
            assert_eq!(before, of(&mut members, key, &[]));
            let after = of(&mut members, key, &[name("a")]);
            assert!(before == after || before == name("a"));
            moved += u32::from(before != after);
        }
        assert!((60..140).contains(&moved), "{moved} of 300 keys were on the node that left");
        assert!(members.choose(&criteria(&[])).is_some());
    }
}
