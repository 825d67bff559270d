//! Scopes: what a principal may do.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

/// The text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a scope; expected call:NAME (`*` at the end of NAME matches any suffix), call, observe, deploy or admin"
)]
#[non_exhaustive]
pub struct InvalidScope(String);

/// The scopes of a token, and the patterns of functions that it may call, from their texts.
pub(super) fn parse(texts: &[String]) -> Result<(BTreeSet<Scope>, Vec<String>), InvalidScope> {
    let (mut scopes, mut functions) = (BTreeSet::new(), Vec::new());
    for text in texts {
        let invalid = || InvalidScope(text.clone());
        let (name, pattern) = match text.split_once(':') {
            Some((name, pattern)) => (name, Some(pattern)),
            None => (text.as_str(), None),
        };
        let scope = match (name, pattern) {
            ("call", pattern) => {
                let pattern = pattern.unwrap_or("*");
                let literal = pattern.strip_suffix('*').unwrap_or(pattern);
                if pattern.is_empty() || literal.contains('*') {
                    return Err(invalid());
                }
                functions.push(pattern.to_owned());
                Scope::Call
            }
            ("observe", None) => Scope::Observe,
            ("deploy", None) => Scope::Deploy,
            ("admin", None) => Scope::Admin,
            _ => return Err(invalid()),
        };
        scopes.insert(scope);
    }
    Ok((scopes, functions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<(Vec<Scope>, Vec<String>), InvalidScope> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        parse(&texts).map(|(scopes, functions)| (scopes.into_iter().collect(), functions))
    }

    #[test]
    fn scopes_are_read_from_their_texts() {
        let (scopes, functions) = parsed(&["call:image_*", "call:add", "observe"]).unwrap();
        assert_eq!(scopes, [Scope::Call, Scope::Observe]);
        assert_eq!(functions, ["image_*", "add"]);
        assert_eq!(parsed(&["call"]).unwrap().1, ["*"]);
    }

    #[test]
    fn a_text_that_is_not_a_scope_is_refused() {
        for text in
            ["", "call:", "call:*.resize", "call:a*b*", "observe:x", "Admin", "root", "admin "]
        {
            assert!(parsed(&[text]).is_err(), "{text}");
        }
    }
}
