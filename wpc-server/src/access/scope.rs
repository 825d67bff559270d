//! What a principal may do.

use serde::{Deserialize, Serialize};

/// A group of operations that a principal is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// Calls functions whose names match one of the principal's patterns.
    Call,
    /// Reads the list of functions, metrics, events and deployments.
    Observe,
    /// Changes what is deployed.
    Deploy,
    /// Everything, including tokens and secrets.
    Admin,
}

impl Scope {
    /// Its name in tokens and problem documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Observe => "observe",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}
