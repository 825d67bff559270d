//! The stages of revisions, with inputs in chosen and in random orders.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeSet, HashMap};

fn revision(number: u64) -> RevisionId {
    RevisionId { number, document: Sha256Hash::of(&number.to_le_bytes()) }
}

fn index(number: u64) -> Sha256Hash {
    Sha256Hash::of(format!("index {number}").as_bytes())
}

/// Prepares and activates a revision, in which nothing fails.
fn activate(node: &mut Revisions, number: u64) {
    let id = revision(number);
    assert_eq!(node.on(Input::Target(id)), [Effect::Fetch(id)]);
    assert_eq!(node.on(Input::Fetched(id)), [Effect::Prepare(id)]);
    let expected = [Effect::Publish(id), Effect::Activate(id)];
    assert_eq!(node.on(Input::Prepared(id, index(number))), expected);
    node.on(Input::Activated(id));
    assert_eq!(node.active(), Some(id));
}

#[test]
fn a_wanted_revision_is_prepared_and_reported_and_not_activated() {
    let (mut node, id, request) = (Revisions::default(), revision(1), RequestId(7));
    let report = |reported| Effect::Report(id, request, reported);
    let expected = [report(Reported::Preparing), Effect::Fetch(id)];
    assert_eq!(node.on(Input::PrepareRequested(id, request)), expected);
    assert_eq!(node.on(Input::Fetched(id)), [Effect::Prepare(id)]);
    assert_eq!(node.on(Input::Prepared(id, index(1))), [Effect::Publish(id)]);
    assert_eq!(node.on(Input::Published(id)), [report(Reported::Ready(index(1)))]);
    assert_eq!(node.active(), None);
    assert_eq!(node.on(Input::Target(id)), [Effect::Activate(id)]);
}

#[test]
fn a_revision_that_fails_is_reported_and_the_active_one_stays() {
    let mut node = Revisions::default();
    activate(&mut node, 1);
    let (id, request) = (revision(2), RequestId(7));
    node.on(Input::PrepareRequested(id, request));
    let problems = vec!["damaged".to_owned()];
    let effects = node.on(Input::Failed(id, problems.clone()));
    let report = Effect::Report(id, request, Reported::Failed(problems.clone()));
    assert_eq!(effects, [report, Effect::Forget(id)]);
    assert_eq!((node.active(), node.problems()), (Some(revision(1)), [].as_slice()));
    // It is activated although this node refused it: the node tries again, and keeps what it has.
    assert_eq!(node.on(Input::Target(id)), [Effect::Fetch(id)]);
    assert!(!node.is_settled());
    node.on(Input::Failed(id, problems.clone()));
    assert_eq!((node.active(), node.problems()), (Some(revision(1)), problems.as_slice()));
    assert!(node.is_settled());
    assert_eq!(node.on(Input::Retry), [Effect::Fetch(id)]);
}

#[test]
fn a_change_of_the_target_during_an_activation_waits_for_its_end() {
    let mut node = Revisions::default();
    for number in [1, 2] {
        node.on(Input::PrepareRequested(revision(number), RequestId(number)));
        node.on(Input::Fetched(revision(number)));
        node.on(Input::Prepared(revision(number), index(number)));
        node.on(Input::Published(revision(number)));
    }
    assert_eq!(node.on(Input::Target(revision(1))), [Effect::Activate(revision(1))]);
    assert_eq!(node.on(Input::Target(revision(2))), []);
    assert_eq!(node.on(Input::Activated(revision(1))), [Effect::Activate(revision(2))]);
    assert_eq!(node.on(Input::Activated(revision(2))), [Effect::Forget(revision(1))]);
    assert_eq!(node.stage(revision(1)), Some(&Stage::Retired));
}

#[test]
fn the_same_number_in_a_registry_that_was_created_again_is_another_revision() {
    let mut node = Revisions::default();
    activate(&mut node, 1);
    let other = RevisionId { number: 1, document: Sha256Hash::of(b"other") };
    assert_eq!(node.on(Input::Target(revision(1))), []);
    assert_eq!(node.on(Input::Target(other)), [Effect::Fetch(other)]);
}

#[test]
fn the_revisions_that_are_kept_are_bounded() {
    let mut node = Revisions::default();
    activate(&mut node, 1);
    let mut forgotten = 0;
    for number in 2..100 {
        let mut effects = node.on(Input::PrepareRequested(revision(number), RequestId(number)));
        effects.extend(node.on(Input::Failed(revision(number), Vec::new())));
        let is_other =
            |effect: &&Effect| matches!(effect, Effect::Forget(id) if *id != revision(number));
        forgotten += effects.iter().filter(is_other).count();
    }
    assert_eq!(node.entries.len(), MAX_ENTRIES + 2);
    assert_eq!(forgotten, 99 - (MAX_ENTRIES + 2));
    assert_eq!(node.active(), Some(revision(1)));
}

/// A registry and a node whose work ends in any order, and sometimes fails.
struct Simulation {
    random: StdRng,
    node: Revisions,
    running: Vec<Effect>,
    pool: Option<RevisionId>,
    is_activating: bool,
    /// The last answer to each request.
    answers: HashMap<u64, Reported>,
    /// Revisions that no node can prepare.
    broken: BTreeSet<u64>,
    fails: bool,
}

impl Simulation {
    fn input(&mut self, input: Input) {
        for effect in self.node.on(input) {
            match effect {
                Effect::Report(_, request, reported) => {
                    let last = self.answers.insert(request.0, reported);
                    assert!(
                        matches!(last, None | Some(Reported::Preparing)),
                        "{request} was answered after {last:?}"
                    );
                }
                Effect::Forget(id) => assert_ne!(Some(id), self.pool, "what runs is kept"),
                effect => {
                    if let Effect::Activate(_) = effect {
                        assert!(!self.is_activating, "two changes at once");
                        self.is_activating = true;
                    }
                    let is_new = !self.running.contains(&effect);
                    assert!(is_new || matches!(effect, Effect::Publish(_)), "{effect:?} twice");
                    self.running.push(effect);
                }
            }
        }
        assert_eq!(self.node.active(), self.pool);
    }

    fn finish_one(&mut self) {
        let at = self.random.random_range(0..self.running.len());
        let effect = self.running.swap_remove(at);
        let fails = self.fails && self.random.random_ratio(1, 5);
        let (Effect::Fetch(id)
        | Effect::Prepare(id)
        | Effect::Publish(id)
        | Effect::Activate(id)
        | Effect::Report(id, ..)
        | Effect::Forget(id)) = effect;
        let is_broken = self.broken.contains(&id.number);
        self.is_activating &= !matches!(effect, Effect::Activate(_));
        let input = match effect {
            Effect::Prepare(id) if is_broken => Input::Failed(id, vec!["broken".to_owned()]),
            Effect::Publish(id) if fails => Input::NotPublished(id, vec!["failed".to_owned()]),
            _ if fails => Input::Failed(id, vec!["failed".to_owned()]),
            Effect::Fetch(id) => Input::Fetched(id),
            Effect::Prepare(id) => Input::Prepared(id, index(id.number)),
            Effect::Publish(id) => Input::Published(id),
            Effect::Activate(id) => {
                self.pool = Some(id);
                Input::Activated(id)
            }
            other => panic!("{other:?} does not run"),
        };
        self.input(input);
    }
}

#[test]
fn a_node_converges_to_the_registry_despite_failures() {
    for seed in 0..2000 {
        let mut random = StdRng::seed_from_u64(seed);
        let broken = (1..=12).filter(|_| random.random_ratio(1, 4)).collect();
        let mut simulation = Simulation {
            random,
            node: Revisions::default(),
            running: Vec::new(),
            pool: None,
            is_activating: false,
            answers: HashMap::new(),
            broken,
            fails: true,
        };
        let mut requests = 0;
        let mut last = None;
        for _ in 0..simulation.random.random_range(1..60) {
            match simulation.random.random_range(0..4) {
                0 => {
                    requests += 1;
                    let id = revision(simulation.random.random_range(1..=12));
                    simulation.input(Input::PrepareRequested(id, RequestId(requests)));
                }
                1 => {
                    let id = revision(simulation.random.random_range(1..=12));
                    last = Some(id);
                    simulation.input(Input::Target(id));
                }
                2 => simulation.input(Input::Retry),
                _ if simulation.running.is_empty() => {}
                _ => simulation.finish_one(),
            }
        }
        simulation.fails = false;
        simulation.input(Input::Retry);
        while !simulation.running.is_empty() {
            simulation.finish_one();
        }
        // The last failure is tried once more, now that nothing fails.
        simulation.input(Input::Retry);
        while !simulation.running.is_empty() {
            simulation.finish_one();
        }
        let node = &simulation.node;
        assert!(node.is_settled(), "seed {seed}");
        match last {
            Some(last) if !simulation.broken.contains(&last.number) => {
                assert_eq!(node.active(), Some(last), "seed {seed}");
            }
            Some(_) => {
                assert!(node.active() == last || !node.problems().is_empty(), "seed {seed}")
            }
            None => assert_eq!(node.active(), None, "seed {seed}"),
        }
        for request in 1..=requests {
            let answer = simulation.answers.get(&request);
            assert!(
                matches!(answer, Some(Reported::Ready(_) | Reported::Failed(_))),
                "seed {seed}: request {request} was answered {answer:?}"
            );
        }
    }
}
