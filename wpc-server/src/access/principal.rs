//! The client of a request, after authentication.

use super::Scope;
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The client of a request: its name in logs and in the history, and what it may do.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Rights>);

#[derive(Debug)]
struct Rights {
    name: String,
    scopes: BTreeSet<Scope>,
    /// The functions that it may call: names, or prefixes followed by `*`.
    functions: Vec<String>,
}

impl Principal {
    /// A client that may do everything: one without a token, where none is required.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new("anonymous", [Scope::Admin], [])
    }

    /// A client with these scopes, which may call the functions that match a pattern: a name, or a prefix followed by `*`.
    pub fn new(
        name: impl Into<String>,
        scopes: impl IntoIterator<Item = Scope>,
        functions: impl IntoIterator<Item = String>,
    ) -> Self {
        let (scopes, functions) = (scopes.into_iter().collect(), functions.into_iter().collect());
        Self(Arc::new(Rights { name: name.into(), scopes, functions }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it has the scope.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.0.scopes.contains(&scope) || self.0.scopes.contains(&Scope::Admin)
    }

    /// Whether it may call the function.
    #[must_use]
    pub fn may_call(&self, function: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => function.starts_with(prefix),
            None => pattern == function,
        };
        self.0.scopes.contains(&Scope::Admin)
            || (self.has(Scope::Call) && self.0.functions.iter().any(matches))
    }

    /// Refuses a request that needs the scope.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) { Ok(()) } else { Err(Problem::forbidden(self.name(), scope.as_str())) }
    }

    /// Refuses a call of a function that it may not call.
    pub(crate) fn require_call(&self, function: &str) -> Result<(), Problem> {
        if self.may_call(function) {
            return Ok(());
        }
        Err(Problem::forbidden(self.name(), &format!("call:{function}")))
    }
}

/// Inserted by authentication; without it, every client is anonymous.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::anonymous))
    }
}
