//! Frames: the data that a client receives each second, as JSON of bounded size.

use super::nodes::nodes;
use super::query::{Parameters, Selection, Sort};
use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::cluster::ClusterHead;
use crate::live::{Activity, Failure, FunctionSample, Recent, Sample, Totals, millis};
use crate::unserved::UnservedEntry;
use serde::Serialize;
use std::collections::{HashMap, hash_map::DefaultHasher};
use std::hash::{Hash as _, Hasher as _};
use wpc_host::{BreakerCounts, FunctionHash, WorkerHealth};

/// The parts of a frame, in bytes of JSON; together with the rest, a frame stays below 60 KiB, and thus a watcher's stream below
/// 64 KiB a second. Entries that do not fit into a part follow in the next frame, or are reported as omitted.
const MAX_ROWS: usize = 28 << 10;
const MAX_EVENTS: usize = 12 << 10;
const MAX_CALLS: usize = 8 << 10;

/// How many workers are listed.
const MAX_WORKERS: usize = 64;

/// The longest name of the function that a worker runs, in bytes.
const MAX_RUNNING: usize = 48;

/// How many entries that are not served are listed.
const MAX_NOT_SERVED: usize = 8;

/// The longest text of a failure in a row, and in the details of a function, in bytes.
pub(super) const SHORT_TEXT: usize = 160;
const LONG_TEXT: usize = 1_024;

/// How many error codes a row has; the details of a function have all.
const MAX_CODES: usize = 3;

/// The data that a client has already received.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The number of the last event or call that it has.
    after: u64,
    /// A digest of each row that it has.
    rows: HashMap<String, u64>,
}

impl Cursor {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self { after: parameters.after, rows: HashMap::new() }
    }
}

#[derive(Serialize)]
struct Frame<'a> {
    sequence: u64,
    /// In milliseconds since 1970.
    time: u64,
    server: About,
    principal: Client<'a>,
    totals: &'a Totals,
    functions: Functions,
    /// The function that the client selected; absent if it is not defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    selected: Option<Row<'a>>,
    workers: Vec<WorkerHealth>,
    /// How many workers there are.
    worker_count: usize,
    /// The cluster, whose nodes follow; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterHead<'a>>,
    /// The deployment; absent without a data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<Deployment>,
    /// Entries of the deployment that are not served, each as name and reason.
    not_served: Vec<(String, String)>,
    /// The number of such entries.
    not_served_count: usize,
}

#[derive(Serialize)]
struct Deployment {
    /// The number of the active revision; `null` if nothing has been activated yet.
    active: Option<u64>,
}

#[derive(Serialize)]
struct About {
    version: &'static str,
    /// When it started, in milliseconds since 1970, by which clients notice a restart.
    started: u64,
    uptime_seconds: u64,
    stage: Stage,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// No worker runs.
    Stopped,
    /// Not every worker is ready.
    Degraded,
    Running,
}

#[derive(Serialize)]
struct Client<'a> {
    name: &'a str,
    scopes: Vec<&'static str>,
}

#[derive(Serialize)]
struct Functions {
    /// All defined functions.
    total: usize,
    /// Those that match the search.
    matching: usize,
    offset: usize,
    sort: Sort,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    hash: FunctionHash,
    #[serde(flatten)]
    activity: Activity,
    /// Failed calls by code, the most frequent first.
    codes: Vec<(&'static str, u64)>,
    breakers: BreakerCounts,
    /// The last failure; only if a circuit breaker is not closed, or if the function is selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    sandboxes: u64,
    memory: u64,
    fuel: u64,
    may_call: bool,
}

/// The JSON of a frame. A row that the client already has consists only of its name.
pub(super) fn frame(
    application: &Application,
    principal: &Principal,
    parameters: &Parameters,
    sample: &Sample,
    cursor: &mut Cursor,
) -> String {
    let Selection { sort, matching, offset, rows } = parameters.select(sample);
    let live = application.live();
    let recent = live.recent();
    let mut sent = HashMap::new();
    let nodes = sample.cluster.as_ref().map(nodes).unwrap_or_default();
    let mut row_list = List::new(MAX_ROWS - nodes.len());
    for function in rows {
        let row = Row::new(function, &recent, principal, SHORT_TEXT, MAX_CODES);
        let json = to_json(&row);
        let digest = digest(&json);
        let is_known = cursor.rows.get(&function.name) == Some(&digest);
        if !row_list.push(if is_known { to_json(&function.name) } else { json }) {
            break;
        }
        sent.insert(function.name.clone(), digest);
    }
    cursor.rows = sent;
    let (mut events, mut calls) = (List::new(MAX_EVENTS), List::new(MAX_CALLS));
    cursor.after = push_new(&recent, cursor.after, &mut events, &mut calls);
    let selected = parameters.function.as_ref().and_then(|name| {
        let at = sample.functions.binary_search_by(|function| function.name.cmp(name)).ok()?;
        Some(Row::new(&sample.functions[at], &recent, principal, LONG_TEXT, usize::MAX))
    });
    drop(recent);
    let not_served = application.unserved_entries();
    let head = to_json(&Frame {
        sequence: sample.number,
        time: millis(sample.time),
        server: About {
            version: env!("CARGO_PKG_VERSION"),
            started: millis(live.started_at),
            uptime_seconds: live.started.elapsed().as_secs(),
            stage: stage(&sample.workers),
        },
        principal: client(principal),
        totals: &sample.totals,
        functions: Functions { total: sample.functions.len(), matching, offset, sort },
        selected,
        workers: sample.workers.iter().take(MAX_WORKERS).map(worker).collect(),
        worker_count: sample.workers.len(),
        cluster: sample.cluster.as_ref().map(|sample| ClusterHead::from(&sample.cluster)),
        deployment: application
            .deployments()
            .map(|deployments| Deployment { active: deployments.state().active }),
        not_served_count: not_served.len(),
        not_served: not_served.into_iter().take(MAX_NOT_SERVED).map(shown).collect(),
    });
    let head = head.strip_suffix('}').unwrap_or_default();
    let (rows, events, calls) = (row_list.json, events.json, calls.json);
    format!(
        "{head},\"nodes\":[{nodes}],\"rows\":[{rows}],\"events\":[{events}],\"calls\":[{calls}]}}"
    )
}

/// Adds the events and calls after `after`, the oldest first, until one does not fit. Returns the number of the last one.
fn push_new(recent: &Recent, after: u64, events: &mut List, calls: &mut List) -> u64 {
    let new_events = recent.events.iter().filter(|event| event.number > after);
    let new_calls = recent.calls.iter().chain(&recent.samples).filter(|call| call.number > after);
    let mut new: Vec<(u64, bool, String)> = new_events
        .map(|event| (event.number, true, to_json(event)))
        .chain(new_calls.map(|call| (call.number, false, to_json(call))))
        .collect();
    new.sort_unstable_by_key(|(number, ..)| *number);
    let mut last = after;
    for (number, is_event, json) in new {
        let list = if is_event { &mut *events } else { &mut *calls };
        if !list.push(json) {
            break;
        }
        last = number;
    }
    last
}

impl<'a> Row<'a> {
    fn new(
        function: &'a FunctionSample,
        recent: &Recent,
        principal: &Principal,
        text: usize,
        max_codes: usize,
    ) -> Self {
        let mut codes: Vec<(&'static str, u64)> =
            function.failed.iter().map(|(code, count)| (code.as_str(), *count)).collect();
        codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        codes.truncate(max_codes);
        let BreakerCounts { open, half_open, backing_off, .. } = function.breakers;
        let shows_failure = max_codes == usize::MAX || open + half_open + backing_off > 0;
        let failure = recent.failure(&function.name).filter(|_| shows_failure);
        let failure = failure.map(|failure| {
            let mut failure = failure.clone();
            failure.message.truncate(failure.message.floor_char_boundary(text));
            failure
        });
        Self {
            name: &function.name,
            hash: function.hash,
            activity: function.activity,
            codes,
            breakers: function.breakers,
            failure,
            sandboxes: function.sandboxes,
            memory: function.memory,
            fuel: function.fuel,
            may_call: principal.may_call(&function.name),
        }
    }
}

/// Elements of a JSON array, up to a number of bytes.
pub(super) struct List {
    pub(super) json: String,
    max: usize,
}

impl List {
    pub(super) fn new(max: usize) -> Self {
        Self { json: String::new(), max }
    }

    /// Adds an element; returns false if it does not fit.
    pub(super) fn push(&mut self, element: String) -> bool {
        if self.json.len() + element.len() + 1 > self.max {
            return false;
        }
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(&element);
        true
    }
}

/// A worker, with the beginning of its function's name.
fn worker(worker: &WorkerHealth) -> WorkerHealth {
    let mut worker = worker.clone();
    if let Some(function) = &mut worker.running_function {
        function.truncate(function.floor_char_boundary(MAX_RUNNING));
    }
    worker
}

fn shown(entry: UnservedEntry) -> (String, String) {
    let [name, mut reason] = [entry.entry, entry.reason];
    reason.truncate(reason.floor_char_boundary(SHORT_TEXT * 2));
    (name, reason)
}

fn stage(workers: &[WorkerHealth]) -> Stage {
    if workers.is_empty() {
        Stage::Stopped
    } else if workers.iter().all(|worker| worker.health_state == wpc_host::HealthState::Ready) {
        Stage::Running
    } else {
        Stage::Degraded
    }
}

fn client(principal: &Principal) -> Client<'_> {
    let scopes = [Scope::Call, Scope::Observe, Scope::Deploy, Scope::Admin];
    let scopes = scopes.into_iter().filter(|scope| principal.has(*scope));
    Client { name: principal.name(), scopes: scopes.map(Scope::as_str).collect() }
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    // All keys of the values are strings.
    serde_json::to_string(value).unwrap_or_default()
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
