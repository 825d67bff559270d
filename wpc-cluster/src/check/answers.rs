//! The answers of a NATS server about users and streams.

use serde::Deserialize;

/// The answer of a server about the user of the connection.
#[derive(Debug, Deserialize)]
pub(super) struct UserInfo {
    pub(super) data: User,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct User {
    /// `None` if everything is permitted.
    pub(super) permissions: Option<Permissions>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Permissions {
    pub(super) publish: Option<Permission>,
    pub(super) subscribe: Option<Permission>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Permission {
    pub(super) allow: Option<Vec<String>>,
    pub(super) deny: Option<Vec<String>>,
}

/// The answer of a server about a stream.
#[derive(Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) error: Option<ApiError>,
    pub(super) config: Option<StreamConfig>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamConfig {
    pub(super) num_replicas: usize,
    pub(super) storage: String,
    #[serde(default)]
    pub(super) allow_direct: bool,
}
