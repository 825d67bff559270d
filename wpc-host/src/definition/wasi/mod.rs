//! WASI: what its imports require, and the grant of a definition.

#[cfg_attr(not(feature = "wasi"), path = "without_wasi.rs")]
pub(crate) mod grant;
mod import;

pub(crate) use import::{Need, Piece, WASI_MODULE, may_wait, need};
