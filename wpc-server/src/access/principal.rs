//! The client of a request, after authentication.

use super::usage::{CallPermit, Usage};
use super::validity::Validity;
use super::{Scope, refusal};
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, LazyLock};

/// The client of a request: its name in logs and in the history, and what it may do.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Rights>);

#[derive(Debug)]
struct Rights {
    name: String,
    scopes: BTreeSet<Scope>,
    /// The functions that it may call: names, or prefixes followed by `*`.
    functions: Vec<String>,
    /// `None` if it has no quota.
    usage: Option<Arc<Usage>>,
    /// `None` if it may do so for ever.
    validity: Option<Arc<Validity>>,
    is_authenticated: bool,
}

static ANONYMOUS: LazyLock<Principal> =
    LazyLock::new(|| Principal::new("anonymous", [Scope::Admin], []));

static UNAUTHENTICATED: LazyLock<Principal> = LazyLock::new(|| {
    let (scopes, functions) = (BTreeSet::new(), Vec::new());
    let name = "unauthenticated".to_owned();
    let (usage, validity) = (None, None);
    let rights = Rights { name, scopes, functions, usage, validity, is_authenticated: false };
    Principal(Arc::new(rights))
});

impl Principal {
    /// A client that may do everything: one without a token, where none is required.
    #[must_use]
    pub fn anonymous() -> Self {
        ANONYMOUS.clone()
    }

    /// A client without a token, while none is required.
    pub(super) fn anonymous_until(validity: Arc<Validity>) -> Self {
        let scopes = BTreeSet::from([Scope::Admin]);
        Self::with_token("anonymous", scopes, Vec::new(), None, validity)
    }

    /// A client that may do nothing: one without a token, where one is required.
    pub(super) fn unauthenticated() -> Self {
        UNAUTHENTICATED.clone()
    }

    /// A client with these scopes, which may call the functions that match a pattern: a name, or a prefix followed by `*`.
    pub fn new(
        name: impl Into<String>,
        scopes: impl IntoIterator<Item = Scope>,
        functions: impl IntoIterator<Item = String>,
    ) -> Self {
        let (scopes, functions) = (scopes.into_iter().collect(), functions.into_iter().collect());
        let (name, usage, validity) = (name.into(), None, None);
        let rights = Rights { name, scopes, functions, usage, validity, is_authenticated: true };
        Self(Arc::new(rights))
    }

    /// The client with a token.
    pub(super) fn with_token(
        name: &str,
        scopes: BTreeSet<Scope>,
        functions: Vec<String>,
        usage: Option<Arc<Usage>>,
        validity: Arc<Validity>,
    ) -> Self {
        let (name, validity) = (name.to_owned(), Some(validity));
        let rights = Rights { name, scopes, functions, usage, validity, is_authenticated: true };
        Self(Arc::new(rights))
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
        if self.has(scope) { Ok(()) } else { Err(self.refused(scope.as_str())) }
    }

    /// Refuses a call to a function that it may not call.
    pub(crate) fn require_call(&self, function: &str) -> Result<(), Problem> {
        if self.may_call(function) {
            Ok(())
        } else {
            Err(self.refused(&format!("call:{function}")))
        }
    }

    /// Refuses a call if its quota is used up. Otherwise the call counts until the permit is dropped.
    pub(crate) fn begin_call(&self) -> Result<CallPermit, Problem> {
        CallPermit::begin(self.0.usage.as_ref(), &self.0.name)
    }

    /// Completes when its token was revoked or has expired, or when a client without a token needs one, with the problem that states
    /// so; `None` if that cannot happen. Streams and WebSockets of the client must end at that point.
    pub(crate) fn ended(&self) -> Option<impl Future<Output = Problem> + Send + use<>> {
        let validity = Arc::clone(self.0.validity.as_ref()?);
        Some(async move { refusal::token(validity.ended().await) })
    }

    /// Its usage, if it has a quota.
    pub(super) fn usage(&self) -> Option<&Arc<Usage>> {
        self.0.usage.as_ref()
    }

    fn refused(&self, scope: &str) -> Problem {
        if self.0.is_authenticated {
            Problem::forbidden(self.name(), scope)
        } else {
            refusal::unauthenticated()
        }
    }
}

/// Inserted by authentication; without it, every client is anonymous.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::anonymous))
    }
}
