//! Calls WebAssembly functions on many machines over [NATS](https://nats.io).
//!
//! A **node** is a process with a pool of [`wpc_host`] that runs the functions of its cluster, and answers calls from other processes. A
//! **client** only calls functions. The **registry** is in JetStream: the modules by their content, the revisions of the cluster's manifest, and
//! which of them is active. `docs/cluster.md` describes how to operate a cluster and what it promises.
//!
//! # The path of a call
//!
//! 1. The caller looks the function up in the active revision, which it follows. A node that runs the function itself and has
//!    a free slot runs it immediately, without NATS.
//! 2. Otherwise it chooses a node by the nodes' heartbeats, and publishes one message to
//!    `PREFIX.call.NODE.DEFINITION`.
//! 3. The node compares the definition with its own, refuses a call that is late or exceeds its capacity, and submits the
//!    others to its pool.
//! 4. It publishes the answer to the caller's inbox, with the definition's hash, which the caller compares.
//!
//! # Promises
//!
//! An attempt runs at most once. A refusal means that the call did not start. If a node is lost, or does not answer in time,
//! the error states that the outcome is unknown. Functions that the manifest declares as `pure` are attempted again within the
//! time limit.
//!
//! # Errors
//!
//! Operations of the connection and of the registry return [`Error`]. Calls return [`wpc_host::Error`], as calls to a pool do.
#![forbid(unsafe_code)]

mod check;
mod client;
mod connection;
mod development;
mod error;
mod lag;
mod names;
mod node;
mod options;
mod payloads;
mod permissions;
mod protocol;
mod registry;
#[cfg(test)]
mod simulation;
mod snapshot;
mod user_key;
pub mod wire;

pub use check::{Check, CheckedRole, Finding, Level, check};
pub use client::Client;
pub use connection::Connection;
pub use development::DevelopmentServer;
pub use error::{Error, Refusal};
pub use names::{InvalidNodeName, NodeName};
pub use node::{Node, NodeOptions};
pub use options::{ClusterOptions, Credentials};
pub use registry::{
    Activation, Following, Index, Quorum, Readiness, Registry, Revision, Rollback, Waiting,
};
pub use snapshot::Snapshot;
pub use user_key::UserKey;
