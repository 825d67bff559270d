use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use wpc_abi::Schema;

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct CommentId(pub [u8; 16]);

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Comment {
    pub id: CommentId,
    pub text: String,
    pub written: SystemTime,
    #[serde(default)]
    pub tags: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
pub enum Verdict {
    Accepted,
    Rejected { reason: String },
}
