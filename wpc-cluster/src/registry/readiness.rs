//! Whether nodes are ready to run a revision.

use super::buckets::{Bucket, full};
use super::revision::Revision;
use super::staging::{NodeReport, Outcome};
use super::{Registry, unreadable};
use crate::error::{Error, Refusal};
use crate::wire::{Heartbeat, Stage};
use bytes::Bytes;
use futures::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use wpc_host::Sha256Hash;

/// How many nodes must be ready to run a revision before it is activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quorum {
    /// All nodes that report themselves at the time, and at least one.
    All,
    /// This many.
    Nodes(usize),
}

/// A revision that nodes are ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// The revision.
    pub revision: Revision,
    /// The SHA-256 of the list of its functions, see [`Registry::index`].
    pub index: Sha256Hash,
    /// The nodes that are ready, sorted.
    pub ready: Vec<String>,
    /// The nodes that refuse it, with the reasons.
    pub refused: Vec<(String, Vec<String>)>,
    /// The nodes that are not ready yet, sorted.
    pub pending: Vec<String>,
}

/// What a deployment waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// How many nodes must be ready: the number that is required, or all that are known.
    pub required: usize,
    /// The nodes that are ready, sorted.
    pub ready: Vec<String>,
    /// The nodes that are not ready yet, sorted.
    pub pending: Vec<String>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required, ready, pending } = self;
        let noun = if *required == 1 { "node is" } else { "nodes are" };
        write!(f, "{} of {required} {noun} ready; ", ready.len())?;
        match pending.as_slice() {
            [] => f.write_str("no other node reports itself"),
            pending => write!(f, "not ready yet: {}", pending.join(", ")),
        }
    }
}

/// The reports and the answers of the nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Those that report themselves.
    alive: BTreeSet<String>,
    answers: BTreeMap<String, Outcome>,
}

/// What follows from the reports and the answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ready(Sha256Hash),
    Refused,
    Failed(String),
    Waiting,
}

impl Nodes {
    fn ready(&self) -> impl Iterator<Item = (&String, Sha256Hash)> {
        self.answers.iter().filter_map(|(node, outcome)| match outcome {
            Outcome::Ready { index } => Some((node, *index)),
            _ => None,
        })
    }

    fn refused(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.answers.iter().filter_map(|(node, outcome)| match outcome {
            Outcome::Refused { problems } => Some((node, problems)),
            _ => None,
        })
    }

    fn pending(&self) -> Vec<String> {
        let has_ended = |node: &String| {
            self.answers.get(node).is_some_and(|outcome| *outcome != Outcome::Preparing)
        };
        let known = self.alive.iter().chain(self.answers.keys()).collect::<BTreeSet<_>>();
        known.into_iter().filter(|node| !has_ended(node)).cloned().collect()
    }

    fn waiting(&self, quorum: Quorum) -> Waiting {
        let ready: Vec<_> = self.ready().map(|(node, _)| node.clone()).collect();
        let pending = self.pending();
        let required = match quorum {
            Quorum::All => ready.len() + pending.len(),
            Quorum::Nodes(count) => count,
        };
        Waiting { required, ready, pending }
    }

    fn refusals(&self) -> Vec<Refusal> {
        let mut nodes = BTreeMap::<_, Vec<String>>::new();
        for (node, problems) in self.refused() {
            nodes.entry(problems).or_default().push(node.clone());
        }
        let refusal =
            |(problems, nodes): (&Vec<String>, _)| Refusal { nodes, problems: problems.clone() };
        nodes.into_iter().map(refusal).collect()
    }

    /// `is_known` states that all nodes that are alive had time to report themselves.
    pub(super) fn verdict(&self, quorum: Quorum, is_known: bool) -> Verdict {
        let mut indexes = self.ready();
        let Some((first, index)) = indexes.next() else {
            let all_refuse =
                is_known && self.refused().next().is_some() && self.pending().is_empty();
            return if all_refuse || (quorum == Quorum::All && self.refused().next().is_some()) {
                Verdict::Refused
            } else {
                Verdict::Waiting
            };
        };
        if let Some((other, _)) = indexes.find(|(_, found)| *found != index) {
            return Verdict::Failed(format!(
                "nodes {first} and {other} derive different lists of functions from it; they may run different versions of wpc"
            ));
        }
        let (ready, pending) = (self.ready().count(), self.pending().len());
        match quorum {
            Quorum::All if self.refused().next().is_some() => Verdict::Refused,
            Quorum::All if is_known && pending == 0 => Verdict::Ready(index),
            Quorum::Nodes(wanted) if ready >= wanted => Verdict::Ready(index),
            Quorum::Nodes(wanted)
                if is_known && ready + pending < wanted && self.refused().next().is_some() =>
            {
                Verdict::Refused
            }
            _ => Verdict::Waiting,
        }
    }

    /// Why too few nodes were ready in time.
    fn missing(&self, timeout: Duration) -> String {
        let (ready, pending) = (self.ready().count(), self.pending());
        if ready == 0 && pending.is_empty() && self.answers.is_empty() {
            return "no node has answered; is one running? `wpc serve --cluster` starts one"
                .to_owned();
        }
        let refusals =
            self.refusals().iter().map(|refusal| format!("; {refusal}")).collect::<String>();
        let pending = if pending.is_empty() { "none".to_owned() } else { pending.join(", ") };
        let nodes = if ready == 1 { "node is" } else { "nodes are" };
        format!("after {timeout:?}, {ready} {nodes} ready; not ready yet: {pending}{refusals}")
    }
}

impl Registry {
    /// Asks the nodes to prepare a revision, and waits until enough are ready.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if nodes refuse the revision and too few others remain; [`Error::NotReady`] if too few nodes are ready within
    /// the time limit, or if nodes derive different lists of functions from it; [`Error::UnknownRevision`]; otherwise [`Error::Registry`] or
    /// [`Error::Denied`].
    pub async fn wait_ready(
        &self,
        number: u64,
        quorum: Quorum,
        timeout: Duration,
    ) -> Result<Readiness, Error> {
        self.wait_ready_with(number, quorum, timeout, |_| {}).await
    }

    /// The same, and reports what it waits for: when all nodes that are alive had time to report themselves, and when it changes.
    ///
    /// # Errors
    ///
    /// As for [`wait_ready`](Self::wait_ready).
    pub async fn wait_ready_with(
        &self,
        number: u64,
        quorum: Quorum,
        timeout: Duration,
        mut report: impl FnMut(&Waiting),
    ) -> Result<Readiness, Error> {
        let revision = self.revision(number).await?;
        let interval = self.0.connection.options().heartbeat_interval;
        let failed = |error: String| self.failed("asking the nodes", error);
        let client = self.0.connection.client();
        let names = self.0.connection.names();
        let heartbeats = client.subscribe(names.heartbeats()).await;
        let mut heartbeats = heartbeats.map_err(|error| failed(full(&error)))?;
        let hello = client.publish(names.hello(), Bytes::new()).await;
        hello.map_err(|error| failed(full(&error)))?;
        // It is in memory, and gone after a restart of the server.
        let store = match self.find(Bucket::Staging).await? {
            Some(store) => store,
            None => {
                self.create().await?;
                self.bucket(Bucket::Staging).await?
            }
        };
        let asked = self.request_preparation(&revision).await?;
        let watch = store.watch_with_history(asked.reports()).await;
        let mut watch = watch.map_err(|error| failed(full(&error)))?;

        let start = Instant::now();
        let known_at = start + interval.mul_f64(1.5);
        // Without any node there is nothing to wait for.
        let alone_at = (start + interval * 10).min(start + timeout);
        let end = start + timeout;
        let mut nodes = Nodes::default();
        let mut reported = None;
        loop {
            let now = Instant::now();
            let reason = match nodes.verdict(quorum, now >= known_at) {
                Verdict::Ready(index) => {
                    let refused = nodes.refused();
                    return Ok(Readiness {
                        index,
                        ready: nodes.ready().map(|(node, _)| node.clone()).collect(),
                        refused: refused.map(|(node, why)| (node.clone(), why.clone())).collect(),
                        pending: nodes.pending(),
                        revision,
                    });
                }
                Verdict::Refused => {
                    return Err(Error::Refused { revision: number, refusals: nodes.refusals() });
                }
                Verdict::Failed(reason) => Some(reason),
                Verdict::Waiting => {
                    let is_alone = nodes.alive.is_empty() && nodes.answers.is_empty();
                    let is_over = now >= end || (is_alone && now >= alone_at);
                    is_over.then(|| nodes.missing(timeout))
                }
            };
            if let Some(reason) = reason {
                return Err(Error::NotReady { revision: number, reason });
            }
            if now >= known_at {
                let waiting = nodes.waiting(quorum);
                if reported.as_ref() != Some(&waiting) {
                    report(&waiting);
                    reported = Some(waiting);
                }
            }
            let next = [known_at, alone_at, end].into_iter().filter(|at| *at > now).min();
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or(end)) => {}
                Some(message) = heartbeats.next() => {
                    let node = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                    match Heartbeat::decode(&message.payload) {
                        Ok(heartbeat) if heartbeat.stage == Stage::Serving => drop(nodes.alive.insert(node)),
                        Ok(_) => drop(nodes.alive.remove(&node)),
                        Err(_) => {}
                    }
                }
                entry = watch.next() => {
                    let ended = || failed("the watch has ended".to_owned());
                    let entry = entry.ok_or_else(ended)?.map_err(|error| failed(full(&error)))?;
                    let report: Result<NodeReport, _> = serde_json::from_slice(&entry.value);
                    let report = report.map_err(|error| unreadable("a node's report", error))?;
                    let node = entry.key.rsplit('.').next().unwrap_or_default().to_owned();
                    if report.document == revision.document {
                        nodes.answers.insert(node, report.outcome);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(alive: &[&str], answers: &[(&str, Outcome)]) -> Nodes {
        Nodes {
            alive: alive.iter().map(|&node| node.to_owned()).collect(),
            answers: answers
                .iter()
                .map(|(node, found)| ((*node).to_owned(), found.clone()))
                .collect(),
        }
    }

    fn ready(content: &[u8]) -> Outcome {
        Outcome::Ready { index: Sha256Hash::of(content) }
    }

    #[test]
    fn all_nodes_that_are_alive_must_be_ready() {
        let found = nodes(&["a", "b"], &[("a", ready(b"1"))]);
        assert_eq!(found.verdict(Quorum::All, true), Verdict::Waiting, "b has not answered");
        let found = nodes(&["a", "b"], &[("a", ready(b"1")), ("b", Outcome::Preparing)]);
        assert_eq!(found.verdict(Quorum::All, true), Verdict::Waiting, "b is not ready");
        let found = nodes(&["a"], &[("a", ready(b"1")), ("b", ready(b"1"))]);
        assert_eq!(found.verdict(Quorum::All, false), Verdict::Waiting, "others may be alive");
        let expected = Verdict::Ready(Sha256Hash::of(b"1"));
        assert_eq!(found.verdict(Quorum::All, true), expected);
    }

    #[test]
    fn a_refusal_fails_if_all_are_required_and_otherwise_if_too_few_remain() {
        let refused = Outcome::refused(["no".to_owned()]);
        let found = nodes(&["a", "b"], &[("a", ready(b"1")), ("b", refused)]);
        assert_eq!(found.verdict(Quorum::All, false), Verdict::Refused);
        let refusals: Vec<_> = found.refusals().iter().map(ToString::to_string).collect();
        assert_eq!(refusals, ["node b refuses it: no"]);
        let enough = Verdict::Ready(Sha256Hash::of(b"1"));
        assert_eq!(found.verdict(Quorum::Nodes(1), false), enough);
        assert_eq!(found.verdict(Quorum::Nodes(2), false), Verdict::Waiting);
        assert_eq!(found.verdict(Quorum::Nodes(2), true), Verdict::Refused);
    }

    #[test]
    fn nodes_that_find_different_functions_fail_the_revision() {
        let found = nodes(&[], &[("a", ready(b"1")), ("b", ready(b"2"))]);
        let Verdict::Failed(reason) = found.verdict(Quorum::Nodes(1), false) else {
            panic!("expected a failure")
        };
        assert!(reason.contains("a and b derive different lists of functions"), "{reason}");
    }

    #[test]
    fn nodes_with_the_same_reasons_are_named_together() {
        let refused = |problem: &str| Outcome::refused([problem.to_owned(), "again".to_owned()]);
        let found =
            nodes(&[], &[("a", refused("no")), ("b", refused("not so")), ("c", refused("no"))]);
        let refusals: Vec<_> = found.refusals().iter().map(ToString::to_string).collect();
        assert_eq!(
            refusals,
            ["nodes a, c refuse it: no; again", "node b refuses it: not so; again"]
        );
    }

    #[test]
    fn a_deployment_states_what_it_waits_for() {
        let found = nodes(&["a", "b"], &[("a", ready(b"1"))]);
        let text = |quorum| found.waiting(quorum).to_string();
        assert_eq!(text(Quorum::All), "1 of 2 nodes are ready; not ready yet: b");
        assert_eq!(text(Quorum::Nodes(5)), "1 of 5 nodes are ready; not ready yet: b");
        let found = nodes(&["a"], &[("a", ready(b"1"))]);
        let text = found.waiting(Quorum::Nodes(2)).to_string();
        assert_eq!(text, "1 of 2 nodes are ready; no other node reports itself");
    }

    #[test]
    fn a_refusal_is_bounded() {
        let problems = (0..100).map(|_| "ä".repeat(5000));
        let Outcome::Refused { problems } = Outcome::refused(problems) else { unreachable!() };
        assert_eq!(problems.len(), 20);
        assert!(problems.iter().all(|problem| problem.len() <= 1024));
    }
}
