//! The functions of a revision.

use super::objects::{MAX_INDEX, ObjectError};
use super::{Registry, unreadable};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use wpc_deploy::DeployedFunction;
use wpc_host::Sha256Hash;

/// The functions of a revision, as a node finds them when it prepares the revision. Nodes of the same version find the same. Its
/// SHA-256 identifies everything that the revision runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Index {
    /// The functions, sorted by name.
    pub functions: Vec<DeployedFunction>,
}

impl Index {
    /// The list of these functions, which must be sorted by name.
    pub(crate) fn new(functions: Vec<DeployedFunction>) -> Self {
        Self { functions }
    }

    /// As it is stored, with the SHA-256.
    pub(crate) fn encode(&self) -> Result<(Vec<u8>, Sha256Hash), String> {
        let bytes = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        if bytes.len() > MAX_INDEX {
            return Err(format!(
                "the list of the functions has {} bytes; the maximum is {MAX_INDEX}",
                bytes.len()
            ));
        }
        let hash = Sha256Hash::of(&bytes);
        Ok((bytes, hash))
    }
}

impl Registry {
    /// The functions of a revision, by the SHA-256 of their list.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] if it cannot be read, is not stored, or is damaged.
    pub async fn index(&self, hash: Sha256Hash) -> Result<Index, Error> {
        let what = "the list of functions";
        let bytes = self.object(hash, MAX_INDEX).await;
        let bytes = bytes.map_err(|error: ObjectError| error.of(&format!("reading {what}")))?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(what, error))
    }
}
