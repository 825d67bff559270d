//! Who may do what: the principal of a request, and its scopes.

mod gate;
mod hosts;
mod principal;
mod refusal;
mod scope;

pub use gate::AccessSettings;
pub(crate) use gate::Gate;
pub use principal::Principal;
pub use scope::Scope;
