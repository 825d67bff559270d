//! Which requests are accepted, and who may do what.
//!
//! `gate` checks every request: `hosts` its host and origin, and `tokens` its token. The handler of an accepted request asks its
//! `principal` whether it may do what is requested; `usage` counts the calls of those with a `quota`. `audit` records who changed what.

mod audit;
mod gate;
mod hosts;
mod layer;
mod principal;
mod quota;
mod refusal;
mod scope;
mod timestamp;
mod token;
mod token_file;
mod tokens;
mod usage;

pub use audit::{Audit, AuditRecord};
pub use gate::AccessSettings;
pub(crate) use gate::Gate;
pub(crate) use layer::Guard;
pub use principal::Principal;
pub use quota::{InvalidQuota, Quota, Rate};
pub use scope::{InvalidScope, Scope};
pub use timestamp::Timestamp;
pub use token::{InvalidId, TokenId, TokenText};
pub use token_file::add_token_to_file;
pub use tokens::{NewToken, TokenError, TokenInformation, Tokens};
