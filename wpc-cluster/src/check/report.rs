//! The findings of a check.

use serde::Serialize;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// As it should be.
    Good,
    /// Something to know.
    Note,
    /// It works now, and may fail later.
    Warning,
    /// It does not work.
    Error,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The subject of the check: `connection`, `version`, `jetstream`, `max_payload`, `buckets`, `permissions`, `clock`,
    /// `round_trip`, `encryption`, `authentication`, `nodes`, `deployers` or `durability`.
    pub subject: &'static str,
    /// How serious it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// Why it matters; empty if all is well.
    pub reason: &'static str,
    /// What to do; empty if there is nothing to do.
    pub remedy: String,
}

/// The results of all checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Check {
    /// Whether no finding is an error.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Error)
    }

    pub(super) fn add(
        &mut self,
        subject: &'static str,
        level: Level,
        text: impl Into<String>,
        reason: &'static str,
        remedy: impl Into<String>,
    ) {
        let (text, remedy) = (text.into(), remedy.into());
        self.findings.push(Finding { subject, level, text, reason, remedy });
    }

    pub(super) fn good(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(subject, Level::Good, text, "", "");
    }
}
