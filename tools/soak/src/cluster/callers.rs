//! Callers: random calls, and what each may end with.

use super::faults::Fault;
use super::{Scene, Tally};
use anyhow::{Result, bail, ensure};
use futures::StreamExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wpc_cluster::Client;
use wpc_host::{
    CallArguments, CallOptions, CallOutcome, Error, ErrorCode, ReplyFormat, ReplyValue,
    StreamOptions, StreamPart,
};

/// How much later than its time limit a call may end: the grace of a client, and what a busy machine adds.
const GRACE: Duration = Duration::from_millis(1250);

/// For how long after it was superseded a revision may answer new calls, because the caller and the node have not received the
/// change yet. Long, because machines are busy.
const STALE: Duration = Duration::from_secs(5);
/// The same after a NATS server has failed: a change that was lost then is found when the registry is read again.
const STALE_AFTER_SERVER: Duration = Duration::from_secs(40);

/// The time limit of calls that must succeed: two nodes may be lost one after another.
const PURE_LIMIT: Duration = Duration::from_secs(6);

/// The length of arguments that do not fit a message, in bytes.
const LARGE: std::ops::Range<usize> = (1 << 20)..(2 << 20);

/// The callers of an overload.
const CROWD: usize = 120;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Plain,
    Pure,
    Stream,
    Spin,
    Trap,
    Large,
    /// A call to `plain` during an overload.
    Crowd,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pure => "pure",
            Self::Stream => "stream",
            Self::Spin => "spin",
            Self::Trap => "trap",
            Self::Large => "large",
            Self::Crowd => "crowd",
        }
    }

    const fn function(self) -> &'static str {
        match self {
            Self::Plain | Self::Crowd => "plain",
            Self::Pure => "pure",
            Self::Stream => "numbers",
            Self::Spin => "spin",
            Self::Trap => "trap",
            Self::Large => "echo",
        }
    }

    /// Whether the guest logs that it starts, and may start once.
    const fn starts_once(self) -> bool {
        matches!(self, Self::Plain | Self::Spin | Self::Crowd)
    }
}

/// A call that was submitted.
#[derive(Debug)]
struct Call {
    kind: Kind,
    number: u64,
    sent: Instant,
    limit: Duration,
}

impl Call {
    fn new(scene: &Scene, kind: Kind, limit: Duration) -> Self {
        let number = scene.next_number();
        if kind.starts_once() {
            scene.started_once(number);
        }
        Self { kind, number, sent: Instant::now(), limit }
    }

    /// The arguments of a function that takes this many turns.
    fn arguments(&self, turns: u32) -> CallArguments {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let deadline = u64::try_from((now + self.limit).as_millis()).unwrap_or(u64::MAX);
        let mut values = vec![self.number.into(), deadline.into()];
        if self.kind != Kind::Spin {
            values.push(turns.into());
        }
        CallArguments::Positional(values)
    }
}

/// Calls one after another until the run ends.
pub(crate) async fn call_often(
    scene: Arc<Scene>,
    client: Client,
    mut random: SmallRng,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while !scene.has_ended() {
        let kind = match random.random_range(0..100) {
            0..40 => Kind::Plain,
            40..80 => Kind::Pure,
            80..90 => Kind::Stream,
            90..94 => Kind::Spin,
            94..96 => Kind::Trap,
            _ => Kind::Large,
        };
        run(&scene, &client, kind, &mut random, &mut tally).await?;
        scene.pause(random.random_range(0..10)).await;
    }
    Ok(tally)
}

async fn run(
    scene: &Scene,
    client: &Client,
    kind: Kind,
    random: &mut SmallRng,
    tally: &mut Tally,
) -> Result<()> {
    let limit = match kind {
        Kind::Pure => PURE_LIMIT,
        Kind::Spin => Duration::from_millis(random.random_range(20..300)),
        Kind::Crowd => Duration::from_millis(400),
        _ => Duration::from_millis(random.random_range(200..3000)),
    };
    let call = Call::new(scene, kind, limit);
    let mut options = CallOptions::new().timeout(limit);
    if kind == Kind::Pure {
        options = options.wait_for_capacity();
    }
    // A caller that does not wait for the answer.
    let waits = match random.random_range(0..10) {
        0 if kind != Kind::Crowd => Duration::from_millis(random.random_range(0..30)),
        _ => Duration::MAX,
    };
    let turns = random.random_range(0..1_000_000);
    let ending = async {
        match kind {
            Kind::Stream => read(client, options, random).await,
            Kind::Large => echo(client, &options, random).await,
            _ => answer(client, kind.function(), call.arguments(turns), &options).await,
        }
    };
    match tokio::time::timeout(waits, ending).await {
        Ok(result) => check(scene, &call, result, tally),
        Err(_) => {
            tally.count(kind, "dropped");
            Ok(())
        }
    }
}

/// What a call returned: the value of a function that returns the number of its revision.
type Answer = std::result::Result<Option<i32>, Error>;

async fn answer(
    client: &Client,
    function: &str,
    arguments: CallArguments,
    options: &CallOptions,
) -> Answer {
    let reply = client.submit(function, arguments, ReplyFormat::Json, options)?.await?;
    Ok(match reply.value {
        ReplyValue::Json(Value::Number(number)) => {
            number.as_i64().and_then(|number| number.try_into().ok())
        }
        _ => None,
    })
}

/// Reads some or all items of a stream.
async fn read(client: &Client, options: CallOptions, random: &mut SmallRng) -> Answer {
    let (items, read) = (random.random_range(0..200_u64), random.random_range(0..300_u64));
    let arguments = CallArguments::Positional(vec![items.into()]);
    let waiting = random.random_range(1..16);
    let options = StreamOptions::new().call(options).max_waiting_items(waiting);
    let mut parts = client.stream(Kind::Stream.function(), arguments, &options)?;
    let mut expected = 0;
    while expected < read
        && let Some(part) = parts.next().await
    {
        match part.map_err(Error::from)? {
            StreamPart::Item(item) if item == expected => expected += 1,
            StreamPart::Reply(_) if expected == items => return Ok(None),
            other => {
                let reason = format!("{other:?} arrived after {expected} of {items} items");
                return Err(Error::result_not_sent("numbers", reason));
            }
        }
    }
    Ok(None)
}

/// A call whose arguments and result do not fit a message.
async fn echo(client: &Client, options: &CallOptions, random: &mut SmallRng) -> Answer {
    let sent = vec![random.random_range(b'a'..=b'z'); random.random_range(LARGE)];
    let arguments = CallArguments::Bytes(sent.clone());
    let function = Kind::Large.function();
    let reply = client.submit(function, arguments, ReplyFormat::Bytes, options)?.await?;
    match reply.value {
        ReplyValue::Bytes(bytes) if bytes == sent => Ok(None),
        _ => Err(Error::result_not_sent(function, "it is not what was sent")),
    }
}

/// Checks how a call ended.
fn check(scene: &Scene, call: &Call, result: Answer, tally: &mut Tally) -> Result<()> {
    let ended = Instant::now();
    let Call { kind, number, sent, limit } = *call;
    let name = kind.as_str();
    let took = ended - sent;
    let outcome = result.as_ref().map_or_else(|error| error.code().as_str(), |_| "value");
    tally.count(kind, outcome);
    ensure!(
        took <= limit + GRACE,
        "call {number} of {name} ended after {took:?} of {limit:?}: {result:?}"
    );
    let has_server_failed = scene.faults.overlap(&[Fault::Server], sent, ended);
    match result {
        Ok(None) => Ok(()),
        Ok(Some(value)) => {
            let Some(staleness) = scene.revisions.staleness(value, sent, ended) else {
                bail!("call {number} of {name} returned {value}, which was never active");
            };
            tally.staleness(staleness, has_server_failed);
            let most = if has_server_failed { STALE_AFTER_SERVER } else { STALE };
            ensure!(
                staleness <= most,
                "call {number} of {name} returned {value}, which was superseded {staleness:?} before the call"
            );
            Ok(())
        }
        Err(error) => {
            if error.outcome() == CallOutcome::NotStarted && kind.starts_once() {
                scene.not_started(number);
            }
            ensure!(
                is_allowed(scene, kind, &error, (sent, ended)),
                "call {number} of {name} ended after {took:?} of {limit:?} with an error that is not allowed: {error}"
            );
            Ok(())
        }
    }
}

/// Whether a call of this kind may end with the error between two moments.
fn is_allowed(scene: &Scene, kind: Kind, error: &Error, (from, to): (Instant, Instant)) -> bool {
    let during = |faults: &[Fault]| scene.faults.overlap(faults, from, to);
    let has_one_server = scene.servers().count() == 1;
    if kind == Kind::Pure {
        let is_without_server = has_one_server && during(&[Fault::Server]);
        return match error.code() {
            ErrorCode::Timeout => is_without_server || during(&[Fault::Overload]),
            ErrorCode::Unreachable | ErrorCode::ConnectionLost => is_without_server,
            _ => false,
        };
    }
    match error.code() {
        ErrorCode::Saturated | ErrorCode::Timeout => true,
        ErrorCode::ConnectionLost => during(&[Fault::Killed, Fault::Stopped, Fault::Server]),
        ErrorCode::Unreachable => during(&[Fault::Server]),
        ErrorCode::Trap => kind == Kind::Trap,
        ErrorCode::CircuitOpen => matches!(kind, Kind::Trap | Kind::Spin),
        ErrorCode::ArgumentsTooLarge | ErrorCode::ResultTooLarge => {
            kind == Kind::Large && during(&[Fault::Server])
        }
        _ => false,
    }
}

/// Overloads the nodes from time to time.
pub(crate) async fn overload(scene: Arc<Scene>, mut random: SmallRng) -> Result<Tally> {
    let mut tally = Tally::default();
    while !scene.has_ended() {
        scene.pause(random.random_range(3000..8000)).await;
        let until = Instant::now() + Duration::from_millis(random.random_range(500..2000));
        let at = scene.faults.begin(Fault::Overload);
        let mut crowd = tokio::task::JoinSet::new();
        for number in 0..CROWD {
            let client = scene.clients[number % scene.clients.len()].clone();
            let (scene, seed) = (Arc::clone(&scene), random.random());
            crowd.spawn(async move {
                let (mut random, mut tally) = (SmallRng::seed_from_u64(seed), Tally::default());
                while Instant::now() < until {
                    run(&scene, &client, Kind::Crowd, &mut random, &mut tally).await?;
                    // Refusals are immediate. A caller that retried at once would only measure how fast refusals are.
                    scene.pause(random.random_range(0..20)).await;
                }
                anyhow::Ok(tally)
            });
        }
        while let Some(counted) = crowd.join_next().await {
            tally.add(&counted??);
        }
        scene.faults.end(at);
    }
    Ok(tally)
}

/// Proves that late starts are noticed: a call whose deadline in its arguments has passed.
pub(crate) async fn prove_late_starts(scene: &Scene) -> Result<()> {
    let call = Call::new(scene, Kind::Plain, Duration::ZERO);
    let arguments = CallArguments::Positional(vec![call.number.into(), 1.into(), 0.into()]);
    let options = CallOptions::new().timeout(PURE_LIMIT);
    answer(&scene.clients[0], Kind::Plain.function(), arguments, &options).await?;
    let deadline = Instant::now() + PURE_LIMIT;
    while !scene.log.is_late(call.number) {
        ensure!(Instant::now() < deadline, "a late start was not noticed");
        scene.pause(10).await;
    }
    Ok(())
}

/// A call to `pure` by this client, which must return the number of the last revision.
pub(crate) async fn last(scene: &Scene, client: &Client) -> Result<Option<i32>> {
    let call = Call::new(scene, Kind::Pure, PURE_LIMIT);
    let options = CallOptions::new().timeout(call.limit).wait_for_capacity();
    Ok(answer(client, Kind::Pure.function(), call.arguments(0), &options).await?)
}
