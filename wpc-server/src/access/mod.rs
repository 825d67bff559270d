//! Who may do what: the principal of a request, and its scopes.

mod principal;
mod scope;

pub use principal::Principal;
pub use scope::Scope;
