//! Requests to prepare a revision, and the answers of nodes. They are kept in memory for some minutes.

use super::buckets::{Bucket, full};
use super::revision::Revision;
use super::{Registry, unreadable};
use crate::error::Error;
use crate::names::NodeName;
use crate::protocol::staging::{RequestId, RevisionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wpc_host::Sha256Hash;

/// The keys of requests.
pub(crate) const WANTED: &str = "wanted.*.*";

/// The most problems that a node reports, and the length of each in bytes.
const MAX_PROBLEMS: usize = 20;
const MAX_PROBLEM: usize = 1024;

/// A request to all nodes to prepare a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) request: RequestId,
    pub(crate) revision: RevisionId,
}

/// The answer of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    /// The manifest that the node was asked for.
    pub(crate) document: Sha256Hash,
    /// The start of the node.
    pub(crate) epoch: u64,
    pub(crate) outcome: Outcome,
}

/// The state of a revision on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The node has seen the request.
    Preparing,
    /// It can run the revision, whose functions have this list.
    Ready { index: Sha256Hash },
    /// It cannot, for these reasons.
    Refused { problems: Vec<String> },
}

impl Outcome {
    /// A refusal that fits into a record.
    pub(crate) fn refused(problems: impl IntoIterator<Item = String>) -> Self {
        let bounded = |mut problem: String| {
            let end = problem.floor_char_boundary(MAX_PROBLEM);
            problem.truncate(end);
            problem
        };
        let problems = problems.into_iter().take(MAX_PROBLEMS).map(bounded).collect();
        Self::Refused { problems }
    }
}

impl Wanted {
    fn key(self) -> String {
        format!("wanted.{}.{}", self.revision.number, self.request)
    }

    /// The keys of the answers.
    pub(crate) fn reports(self) -> String {
        format!("report.{}.{}.*", self.revision.number, self.request)
    }

    /// What a value of a request states.
    pub(crate) fn parse(value: &Bytes) -> Result<Self, Error> {
        serde_json::from_slice(value).map_err(|error| unreadable("a request", error))
    }
}

impl Registry {
    /// Asks all nodes to prepare a revision.
    pub(super) async fn want(&self, revision: &Revision) -> Result<Wanted, Error> {
        let id = RevisionId { number: revision.number, document: revision.document };
        let wanted = Wanted { request: RequestId(rand::random()), revision: id };
        let value = serde_json::to_vec(&wanted).map_err(|error| unreadable("JSON", error))?;
        let store = self.bucket(Bucket::Staging).await?;
        let written = store.put(wanted.key(), value.into()).await;
        written.map_err(|error| self.failed("asking the nodes", full(&error)))?;
        Ok(wanted)
    }

    /// Answers a request.
    pub(crate) async fn report(
        &self,
        node: &NodeName,
        wanted: Wanted,
        report: &NodeReport,
    ) -> Result<(), Error> {
        let value = serde_json::to_vec(report).map_err(|error| unreadable("JSON", error))?;
        let store = self.bucket(Bucket::Staging).await?;
        let key = format!("report.{}.{}.{node}", wanted.revision.number, wanted.request);
        let written = store.put(key, value.into()).await;
        written.map_err(|error| self.failed("reporting a revision", full(&error)))?;
        Ok(())
    }
}
