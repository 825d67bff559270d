//! The next step of a call after an attempt.

use crate::names::NodeName;
use crate::protocol::members::Discovery;
use crate::wire::Refusal;
use std::time::Duration;
use wpc_host::{CallOutcome, Error, ErrorCode, ErrorReport};

/// The attempts of a call until now.
#[derive(Debug)]
pub(crate) struct Attempts {
    function: String,
    /// Whether it may run again if it is not known whether it ran.
    is_pure: bool,
    /// Whether it waits for capacity until its deadline.
    waits: bool,
    /// The nodes that are not tried again in this round.
    tried: Vec<NodeName>,
    /// The rounds in which every node that was tried was busy.
    busy_rounds: u32,
    /// The rounds in which no node had the definition.
    absent_rounds: u32,
    /// The number of nodes of this round that were busy.
    busy: usize,
    /// The number of nodes of this round that do not have the definition: they, or this process, do not know the last activation yet.
    behind: usize,
    /// Whether any round had such nodes.
    was_behind: bool,
    /// The error of the last attempt whose outcome is not known.
    unknown: Option<String>,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Choose a node that was not tried.
    Choose,
    /// Look the function up again, wait, and choose any node.
    Wait(Duration),
    /// The call has failed.
    Fail(Box<Error>),
}

/// How often a caller looks again for a node if no node answers.
const ABSENT_ROUNDS: u32 = 8;
/// The same if a node answers that it does not have the definition, for about 2 s: nodes and callers learn of an activation at different
/// times, and a node may have to prepare it again.
const BEHIND_ROUNDS: u32 = 20;
/// The same for pure functions: for about 2 s, in which nodes that were connected to a failed server connect to another one.
const PURE_ABSENT_ROUNDS: u32 = 120;
/// How long a call of a pure function waits until its own process is connected again, and how often it checks that.
const RECONNECT: Duration = Duration::from_secs(2);
const RECONNECT_CHECK: Duration = Duration::from_millis(20);

/// How many nodes that refuse a call are tried in a round.
const MAX_REFUSALS: usize = 4;

/// The pause after the first round, which doubles with each round, and its maximum without and with nodes that are behind.
const PAUSE: Duration = Duration::from_micros(1200);
const MAX_PAUSE: Duration = Duration::from_millis(20);
const MAX_BEHIND_PAUSE: Duration = Duration::from_millis(200);

impl Attempts {
    pub(crate) fn new(function: &str, is_pure: bool, waits: bool) -> Self {
        Self {
            function: function.to_owned(),
            is_pure,
            waits,
            tried: Vec::new(),
            busy_rounds: 0,
            absent_rounds: 0,
            busy: 0,
            behind: 0,
            was_behind: false,
            unknown: None,
        }
    }

    /// The nodes that are not tried again in this round.
    pub(crate) fn tried(&self) -> &[NodeName] {
        &self.tried
    }

    /// Whether enough nodes were tried in this round. Under overload and during an activation, asking every node would multiply the
    /// messages.
    pub(crate) fn is_round_over(&self) -> bool {
        self.busy + self.behind >= MAX_REFUSALS
    }

    /// A node refused the call, which has not started there.
    pub(crate) fn refused(&mut self, node: NodeName, refusal: Refusal) -> Next {
        match refusal {
            Refusal::Busy => {
                self.busy += 1;
                self.tried.push(node);
                Next::Choose
            }
            Refusal::NotHere => {
                self.behind += 1;
                self.tried.push(node);
                Next::Choose
            }
            Refusal::Draining => {
                self.tried.push(node);
                Next::Choose
            }
            Refusal::Expired => self.fail(ErrorReport::new(
                ErrorCode::Timeout,
                CallOutcome::NotStarted,
                format!(
                    "function \"{}\" did not start before its time limit, because its node received it late",
                    self.function
                ),
            )),
            Refusal::Malformed(reason) => self.fail(ErrorReport::new(
                ErrorCode::InvalidCallOptions,
                CallOutcome::NotStarted,
                format!("node \"{node}\" cannot read the call to function \"{}\": {reason}", self.function),
            )),
            Refusal::Payload(reason) => Next::Fail(self.too_large(&reason)),
            Refusal::Pool(report) if report.code == ErrorCode::Saturated => {
                self.busy += 1;
                self.tried.push(node);
                Next::Choose
            }
            Refusal::Pool(report) => self.fail(*report),
        }
    }

    /// The arguments cannot be sent, or the node refuses them.
    pub(crate) fn too_large(&self, reason: &str) -> Box<Error> {
        let text =
            format!("the arguments of function \"{}\" cannot be sent: {reason}", self.function);
        let code = ErrorCode::ArgumentsTooLarge;
        self.error(ErrorReport::new(code, CallOutcome::NotStarted, text).into())
    }

    /// The server does not permit this process to send the call.
    pub(crate) fn denied(&self, reason: &str) -> Box<Error> {
        self.error(Error::denied(&self.function, reason))
    }

    /// This process cannot send the call.
    pub(crate) fn unavailable(&self, reason: &str) -> Box<Error> {
        self.error(Error::unreachable(&self.function, reason))
    }

    /// The node no longer subscribes to its subject.
    pub(crate) fn absent(&mut self, node: NodeName) -> Next {
        self.tried.push(node);
        Next::Choose
    }

    /// The node, or its answer, is lost: the call may have run there.
    pub(crate) fn lost(&mut self, node: NodeName, reason: &str) -> Next {
        if !self.is_pure {
            return Next::Fail(Box::new(Error::connection_lost(&self.function, reason)));
        }
        self.unknown = Some(reason.to_owned());
        self.tried.push(node);
        Next::Choose
    }

    /// No node is left to try. `jitter` is between 0 and 1.
    pub(crate) fn none_left(&mut self, discovery: Discovery, jitter: f64) -> Next {
        let was_busy = std::mem::take(&mut self.busy) > 0;
        let is_behind = std::mem::take(&mut self.behind) > 0;
        self.was_behind |= is_behind;
        // Nodes that are behind may have capacity soon.
        let is_retried = if was_busy && !is_behind {
            self.busy_rounds += 1;
            self.waits
        } else {
            self.absent_rounds += 1;
            // A pure function whose node was lost waits for another one until its deadline.
            let rounds = match (self.is_pure, self.was_behind) {
                (true, _) => PURE_ABSENT_ROUNDS,
                (false, true) => BEHIND_ROUNDS,
                (false, false) => ABSENT_ROUNDS,
            };
            self.absent_rounds < rounds
                || discovery == Discovery::Incomplete
                || self.unknown.is_some()
                || self.waits
        };
        if is_retried {
            self.tried.clear();
            let rounds = self.busy_rounds.max(self.absent_rounds).clamp(1, 10);
            let most = if is_behind && !self.is_pure { MAX_BEHIND_PAUSE } else { MAX_PAUSE };
            let pause = (PAUSE * 2_u32.pow(rounds - 1)).min(most);
            return Next::Wait(pause.mul_f64(0.5 + jitter / 2.0));
        }
        if was_busy {
            let text = format!(
                "function \"{}\" did not start, because the nodes have as many calls as they accept",
                self.function
            );
            return self.fail(ErrorReport::new(
                ErrorCode::Saturated,
                CallOutcome::NotStarted,
                text,
            ));
        }
        Next::Fail(Box::new(Error::unreachable(&self.function, "no node that has it is ready")))
    }

    /// The deadline has passed. `is_sent` is whether the last attempt may still run.
    pub(crate) fn expired(&self, limit: Duration, is_sent: bool) -> Box<Error> {
        let may_run = is_sent || self.unknown.is_some();
        let function = &self.function;
        let (outcome, text) = match &self.unknown {
            _ if !may_run => {
                let text = format!(
                    "function \"{function}\" did not start within its time limit of {} ms",
                    limit.as_millis()
                );
                (CallOutcome::NotStarted, text)
            }
            Some(reason) => (
                CallOutcome::Unknown,
                format!(
                    "function \"{function}\" was not answered within its time limit of {} ms, and may have run: {reason}",
                    limit.as_millis()
                ),
            ),
            None => (
                CallOutcome::Unknown,
                format!(
                    "function \"{function}\" was not answered within its time limit of {} ms, and may have run",
                    limit.as_millis()
                ),
            ),
        };
        Box::new(ErrorReport::new(ErrorCode::Timeout, outcome, text).into())
    }

    /// This process's connection has been lost for this long. A call of a pure function waits until another server is found.
    pub(crate) fn disconnected(&self, since: Duration) -> Next {
        if self.is_pure && since < RECONNECT {
            return Next::Wait(RECONNECT_CHECK);
        }
        Next::Fail(self.unavailable("the connection to NATS is lost"))
    }

    /// The call failed with this error, on a node or before it reached one.
    pub(crate) fn fail(&self, report: ErrorReport) -> Next {
        Next::Fail(self.error(report.into()))
    }

    /// The error of the last attempt, unless it states that the call did not start although an earlier attempt may have run.
    fn error(&self, error: Error) -> Box<Error> {
        Box::new(match &self.unknown {
            Some(reason) if error.outcome() == CallOutcome::NotStarted => {
                Error::connection_lost(&self.function, reason)
            }
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn error(next: Next) -> Error {
        match next {
            Next::Fail(error) => *error,
            other => panic!("not failed: {other:?}"),
        }
    }

    #[test]
    fn a_refused_call_is_tried_elsewhere_and_then_fails_as_not_started() {
        for (refusal, code) in [
            (Refusal::Busy, ErrorCode::Saturated),
            (Refusal::Draining, ErrorCode::Unreachable),
            (Refusal::NotHere, ErrorCode::Unreachable),
        ] {
            let mut attempts = Attempts::new("f", false, false);
            let (mut rounds, mut waited) = (0, Duration::ZERO);
            let error = loop {
                assert!(matches!(attempts.refused(node("a"), refusal.clone()), Next::Choose));
                assert_eq!(attempts.tried(), [node("a")]);
                match attempts.none_left(Discovery::Complete, 0.5) {
                    Next::Wait(pause) => waited += pause,
                    other => break error(other),
                }
                rounds += 1;
            };
            let expected = match refusal {
                Refusal::Busy => 0,
                Refusal::NotHere => BEHIND_ROUNDS - 1,
                _ => ABSENT_ROUNDS - 1,
            };
            assert_eq!(rounds, expected);
            assert!(waited < Duration::from_secs(3), "{waited:?}");
            assert_eq!((error.code(), error.outcome()), (code, CallOutcome::NotStarted));
        }
    }

    #[test]
    fn a_call_waits_for_nodes_that_are_behind_although_another_one_is_busy() {
        let mut attempts = Attempts::new("f", false, false);
        attempts.refused(node("a"), Refusal::NotHere);
        attempts.refused(node("b"), Refusal::Busy);
        assert!(matches!(attempts.none_left(Discovery::Complete, 0.5), Next::Wait(_)));
        attempts.refused(node("a"), Refusal::Busy);
        assert_eq!(
            error(attempts.none_left(Discovery::Complete, 0.5)).code(),
            ErrorCode::Saturated
        );
    }

    #[test]
    fn a_call_is_not_refused_before_every_node_could_report_itself() {
        let mut attempts = Attempts::new("f", false, false);
        for _ in 0..100 {
            assert!(matches!(attempts.none_left(Discovery::Incomplete, 0.5), Next::Wait(_)));
        }
        let error = error(attempts.none_left(Discovery::Complete, 0.5));
        assert_eq!(error.code(), ErrorCode::Unreachable);
    }

    #[test]
    fn a_call_that_waits_for_capacity_is_tried_until_its_deadline() {
        let mut attempts = Attempts::new("f", false, true);
        for _ in 0..1000 {
            attempts.refused(node("a"), Refusal::Busy);
            assert!(matches!(attempts.none_left(Discovery::Complete, 1.0), Next::Wait(_)));
        }
        let error = attempts.expired(Duration::from_secs(1), false);
        assert_eq!((error.code(), error.outcome()), (ErrorCode::Timeout, CallOutcome::NotStarted));
    }

    #[test]
    fn only_a_pure_function_is_attempted_again_after_its_node_was_lost() {
        let mut attempts = Attempts::new("f", false, false);
        let error = error(attempts.lost(node("a"), "node \"a\" is lost"));
        assert_eq!(
            (error.code(), error.outcome()),
            (ErrorCode::ConnectionLost, CallOutcome::Unknown)
        );

        let mut attempts = Attempts::new("f", true, false);
        assert!(matches!(attempts.lost(node("a"), "node \"a\" is lost"), Next::Choose));
        assert_eq!(attempts.tried(), [node("a")]);
    }

    #[test]
    fn only_a_pure_function_waits_for_another_server() {
        let soon = Duration::from_millis(500);
        let mut attempts = Attempts::new("f", true, false);
        assert!(matches!(attempts.disconnected(soon), Next::Wait(_)));
        assert_eq!(error(attempts.disconnected(RECONNECT)).code(), ErrorCode::Unreachable);
        for _ in 0..ABSENT_ROUNDS * 2 {
            assert!(
                matches!(attempts.none_left(Discovery::Complete, 0.5), Next::Wait(_)),
                "nodes may connect again"
            );
        }
        let attempts = Attempts::new("f", false, true);
        let error = error(attempts.disconnected(soon));
        assert_eq!(
            (error.code(), error.outcome()),
            (ErrorCode::Unreachable, CallOutcome::NotStarted)
        );
    }

    #[test]
    fn a_failure_after_a_lost_attempt_states_that_the_outcome_is_unknown() {
        let lost = || {
            let mut attempts = Attempts::new("f", true, false);
            attempts.lost(node("a"), "node \"a\" is lost");
            attempts
        };
        let error = lost().expired(Duration::from_secs(1), false);
        assert_eq!(error.outcome(), CallOutcome::Unknown);
        let report = ErrorReport::new(ErrorCode::PinMismatch, CallOutcome::NotStarted, "another");
        let Next::Fail(error) = lost().refused(node("b"), Refusal::Pool(Box::new(report))) else {
            panic!("not failed")
        };
        assert_eq!(error.outcome(), CallOutcome::Unknown);
        let report = ErrorReport::new(ErrorCode::Timeout, CallOutcome::NotStarted, "late");
        let Next::Fail(error) = lost().fail(report) else { panic!("not failed") };
        assert_eq!(error.outcome(), CallOutcome::Unknown);
    }

    #[test]
    fn a_caller_does_not_ask_every_node_whether_it_is_busy() {
        let mut attempts = Attempts::new("f", false, false);
        for number in 0..MAX_REFUSALS {
            assert!(!attempts.is_round_over());
            attempts.refused(node(&format!("n{number}")), Refusal::Busy);
        }
        assert!(attempts.is_round_over());
        assert_eq!(
            error(attempts.none_left(Discovery::Complete, 0.5)).code(),
            ErrorCode::Saturated
        );
    }

    #[test]
    fn an_attempt_without_an_answer_may_have_run() {
        let attempts = Attempts::new("f", false, false);
        let error = attempts.expired(Duration::from_secs(1), true);
        assert_eq!((error.code(), error.outcome()), (ErrorCode::Timeout, CallOutcome::Unknown));
    }
}
