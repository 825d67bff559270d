//! Requests to prepare a revision, and the answers of nodes. They are kept in memory for 10 minutes.

use super::buckets::{Bucket, STAGING_AGE, full};
use super::revision::Revision;
use super::signature::Record;
use super::{Registry, unreadable};
use crate::error::Error;
use crate::names::NodeName;
use crate::protocol::staging::{RequestId, RevisionId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wpc_host::Sha256Hash;

/// The keys of requests.
pub(crate) const PREPARE_REQUESTS: &str = "prepare.*.*";

/// The most problems that a node reports, and the length of each in bytes.
const MAX_PROBLEMS: usize = 20;
const MAX_PROBLEM: usize = 1024;

/// A request to all nodes to prepare a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrepareRequest {
    pub(crate) request: RequestId,
    pub(crate) revision: RevisionId,
    /// When it was made, by the server's clock, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}

impl Record for PrepareRequest {
    const KIND: &'static str = "request";

    fn title(&self) -> String {
        format!("the request to prepare revision {}", self.revision.number)
    }
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

impl PrepareRequest {
    fn key(self) -> String {
        format!("prepare.{}.{}", self.revision.number, self.request)
    }

    /// The keys of the answers.
    pub(crate) fn reports(self) -> String {
        format!("report.{}.{}.*", self.revision.number, self.request)
    }
}

impl Registry {
    /// Asks all nodes to prepare a revision.
    pub(super) async fn request_preparation(
        &self,
        revision: &Revision,
    ) -> Result<PrepareRequest, Error> {
        let id = RevisionId { number: revision.number, document: revision.document };
        let (request, at_ms) = (RequestId(rand::random()), self.0.connection.now_ms());
        let asked = PrepareRequest { request, revision: id, at_ms };
        let value = self.trust().seal(&asked)?;
        let store = self.bucket(Bucket::Staging).await?;
        let written = store.put(asked.key(), value).await;
        written.map_err(|error| self.failed("asking the nodes", full(&error)))?;
        Ok(asked)
    }

    /// What a value of a request states, and why it is ignored.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] if it cannot be read.
    pub(super) fn requested(
        &self,
        value: &Bytes,
    ) -> Result<(PrepareRequest, Option<Error>), Error> {
        let opened = self.open::<PrepareRequest>("a request", value)?;
        let asked = *opened.record();
        let age = self.0.connection.now_ms().abs_diff(asked.at_ms);
        let is_old = u128::from(age) > STAGING_AGE.as_millis();
        Ok((
            asked,
            match opened.trusted() {
                Ok(_) if self.trust().requires_signatures() && is_old => {
                    let reason =
                        format!("it was made {age} ms ago; something has written it again");
                    Some(Error::Untrusted { record: asked.title(), reason })
                }
                Ok(_) => None,
                Err(error) => Some(error),
            },
        ))
    }

    /// Answers a request.
    pub(crate) async fn report(
        &self,
        node: &NodeName,
        asked: PrepareRequest,
        report: &NodeReport,
    ) -> Result<(), Error> {
        let value = serde_json::to_vec(report).map_err(|error| unreadable("JSON", error))?;
        let store = self.bucket(Bucket::Staging).await?;
        let key = format!("report.{}.{}.{node}", asked.revision.number, asked.request);
        let written = store.put(key, value.into()).await;
        written.map_err(|error| self.failed("reporting a revision", full(&error)))?;
        Ok(())
    }
}
