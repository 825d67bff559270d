//! The measurements, one for each row of the table. A goal is a ratio to the row's baseline, or an absolute figure if
//! no baseline is comparable.

mod cluster;
mod http;
mod local;
mod overload;
mod pool;
mod recovery;
mod registry;
mod resident;
mod streams;
mod suspension;

use crate::guests::Guests;
use crate::row::{PAIRS, Row};
use crate::sampling::WARM_UP;
use anyhow::Result;
use cluster::{own_call, round_trip as cluster_round_trip, throughput as cluster_throughput};
use http::{defining, idle, idle_connections, json_1m, json_call, json_call_p99, rollback};
use local::{
    local_add, local_echo_1k, local_echo_1m, local_echo_copied, local_isolated, new_sandbox,
};
use overload::{overload, uneven};
use pool::{
    burst_1m, burst_1m_into, echo_1k, echo_1m, isolated, many_at_once, many_functions, round_trip,
    start, throughput,
};
use recovery::{after_a_limit, after_a_trap, time_limit};
use registry::{call_of_many, catching_up, deploying, start_of_many};
use resident::{
    resident, resident_by_function, resident_by_sandbox, resident_by_suspended_call,
    suspended_calls,
};
use streams::item;
use suspension::{behind_a_computation, beside_suspended, many_waiting, nested, ready, wakes};

/// Measures a row. The function argument is called after each step.
pub(crate) type Measure = fn(&Guests, &mut dyn FnMut()) -> Result<Row>;

/// The rows about the library, each with its number of steps.
pub(crate) const HOST_ROWS: [(Measure, u64); 31] = [
    (local_add, PAIRS + WARM_UP),
    (local_echo_1k, PAIRS + WARM_UP),
    (local_echo_1m, PAIRS + WARM_UP),
    (local_echo_copied, PAIRS + WARM_UP),
    (new_sandbox, PAIRS + WARM_UP),
    (local_isolated, PAIRS + WARM_UP),
    (round_trip, PAIRS + WARM_UP),
    (echo_1k, PAIRS + WARM_UP),
    (echo_1m, PAIRS + WARM_UP),
    (burst_1m, PAIRS + WARM_UP),
    (burst_1m_into, PAIRS + WARM_UP),
    (throughput, THROUGHPUTS),
    (many_at_once, PAIRS + WARM_UP),
    (isolated, PAIRS + WARM_UP),
    (after_a_trap, TRAPS),
    (time_limit, LIMITS),
    (after_a_limit, LIMITS),
    (ready, PAIRS + WARM_UP),
    (wakes, PAIRS + WARM_UP),
    (nested, PAIRS + WARM_UP),
    (many_waiting, LIMITS),
    (beside_suspended, PAIRS + WARM_UP),
    (behind_a_computation, SLICES),
    (item, LIMITS),
    (start, STARTS),
    (many_functions, PAIRS + WARM_UP),
    (resident, CHILDREN),
    (resident_by_sandbox, CHILDREN),
    (resident_by_function, CHILDREN),
    (resident_by_suspended_call, CHILDREN),
    (suspended_calls, CHILDREN),
];

/// The rows about the server.
pub(crate) const HTTP_ROWS: [(Measure, u64); 7] = [
    (json_call, PAIRS + WARM_UP),
    (json_call_p99, 20 + WARM_UP),
    (json_1m, PAIRS + WARM_UP),
    (defining, 10 + WARM_UP),
    (rollback, ROLLBACKS),
    (idle, LIMITS),
    (idle_connections, IDLE_SERVERS),
];

/// The rows about a cluster, which need a NATS server.
pub(crate) const CLUSTER_ROWS: [(Measure, u64); 9] = [
    (cluster_round_trip, PAIRS + WARM_UP),
    (cluster_throughput, PAIRS + WARM_UP),
    (own_call, PAIRS + WARM_UP),
    (overload, OVERLOADS + WARM_UP),
    (uneven, OVERLOADS + WARM_UP),
    (deploying, DEPLOYMENTS + WARM_UP),
    (catching_up, LIMITS),
    (start_of_many, STARTS_OF_NODES),
    (call_of_many, PAIRS + WARM_UP),
];

const THROUGHPUTS: u64 = 11;

const TRAPS: u64 = 40;

const LIMITS: u64 = 5;

const STARTS: u64 = 40;

const SLICES: u64 = 11;

const ROLLBACKS: u64 = 40;

/// Each takes a second.
const OVERLOADS: u64 = 10;

/// Each compiles 2 MiB four times.
const DEPLOYMENTS: u64 = 3;

/// Each defines 10,000 functions.
const STARTS_OF_NODES: u64 = 4;

/// Each has 10,000 connections.
const IDLE_SERVERS: u64 = 3;

/// Each is a process that lives for at least 100 ms.
const CHILDREN: u64 = 9;

/// Converts Wasmtime's error type.
fn bare<T>(result: wasmtime::Result<T>) -> Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error:?}"))
}
