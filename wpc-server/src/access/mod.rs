//! Which requests are accepted, and what each client may do.
//!
//! `gate` checks every request: `hosts` its host and origin, and `tokens` its token. The handler of an accepted request
//! checks by its `principal` whether the client may do what it requests. `usage` counts the calls of principals with a
//! `quota`, and `validity` ends the streams of those whose token ends. `audit` records administrative actions.

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
mod validity;

pub use audit::{Audit, AuditRecord, AuditSubject};
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
pub(crate) use usage::CallPermit;
