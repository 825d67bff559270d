//! The report of a probe, as JSON and as text.

use super::cluster;
use crate::application::Application;
use crate::cluster::ReportedCluster;
use crate::lifecycle::Stage;
use crate::telemetry::{HIGH, LOW};
use crate::unserved::UnservedEntry;
use axum::http::StatusCode;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use std::fmt::Write as _;
use wpc_host::{FunctionHealth, FunctionState, PoolHealth};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    NotReady,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// Something is wrong, and calls are served nevertheless.
    Degraded,
    Failed,
}

impl Verdict {
    fn of(is_ok: bool) -> Self {
        if is_ok { Self::Passed } else { Self::Failed }
    }

    /// How it begins a line of text.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Passed => "[+]",
            Self::Degraded => "[!]",
            Self::Failed => "[-]",
        }
    }
}

/// One of the conditions of a probe.
#[derive(Debug)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut check = serializer.serialize_struct("Check", 4)?;
        check.serialize_field("name", self.name)?;
        check.serialize_field("ok", &(self.verdict != Verdict::Failed))?;
        check.serialize_field("degraded", &(self.verdict == Verdict::Degraded))?;
        check.serialize_field("detail", &self.detail)?;
        check.end()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    status: Status,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolHealth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ReportedCluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<Vec<FunctionHealth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_served: Option<Vec<UnservedEntry>>,
}

impl Report {
    fn of(checks: Vec<Check>) -> Self {
        let is_ok = checks.iter().all(|check| check.verdict != Verdict::Failed);
        let status = if is_ok { Status::Ok } else { Status::NotReady };
        Self { status, checks, pool: None, cluster: None, functions: None, not_served: None }
    }

    pub(super) fn live() -> Self {
        Self::of(Vec::new())
    }

    pub(super) fn started(is_started: bool) -> Self {
        let detail = if is_started { "started" } else { "starting" };
        let verdict = Verdict::of(is_started);
        Self::of(vec![Check { name: "stage", verdict, detail: detail.to_owned() }])
    }

    /// Ready if the server serves and is not draining, at least one worker accepts calls, the pool has not been saturated for too
    /// long, and, in a cluster, the node is not draining.
    pub(super) fn ready(application: &Application) -> Self {
        let stage = application.lifecycle().stage();
        let health = application.backend().health();
        let (up, all) = (health.workers_up(), health.workers.len());
        let share = health.saturation();
        // A pool without workers accepts no calls, which the check of the workers reports.
        let saturated = if up == 0 { 0.0 } else { share };
        let saturated = application.telemetry().saturated_for(saturated);
        let limit = application.settings().saturated_after;
        let saturation = match saturated.as_secs() {
            _ if saturated < limit => {
                format!("{:.0} % of the maximum of pending calls", share * 100.0)
            }
            seconds => format!(
                "saturated for {seconds} s: the pending calls reached {:.0} % of their maximum, and have not fallen below {:.0} % since",
                HIGH * 100.0,
                LOW * 100.0
            ),
        };
        let is_draining = stage == Stage::Serving && application.intake().is_draining();
        let detail = if is_draining { "draining, by an operator" } else { stage.as_str() };
        let is_serving = stage == Stage::Serving && !is_draining;
        let check = |name, is_ok, detail| Check { name, verdict: Verdict::of(is_ok), detail };
        let mut checks = vec![
            check("stage", is_serving, detail.to_owned()),
            check("workers", up > 0, format!("{up} of {all} accept calls")),
            check("saturation", saturated < limit, saturation),
        ];
        checks.extend(application.backend().cluster().map(|cluster| {
            let (verdict, detail) = cluster::check(&cluster);
            Check { name: "cluster", verdict, detail }
        }));
        let mut report = Self::of(checks);
        report.pool = Some(health);
        report
    }

    /// Adds every node and function, and the entries that were not accepted. They do not affect whether the server is ready, because
    /// other functions are served.
    pub(super) fn add_details(&mut self, application: &Application) {
        self.cluster = application.backend().cluster().map(ReportedCluster);
        self.functions = Some(application.backend().function_health());
        self.not_served = Some(application.unserved_entries());
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.status {
            Status::Ok => StatusCode::OK,
            Status::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A line for each check, node and function, with `[+]`, `[!]` or `[-]`, and the status as the last one.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Check { name, verdict, detail } in &self.checks {
            let _ = writeln!(text, "{} {name}: {detail}", verdict.mark());
        }
        if let Some(ReportedCluster(cluster)) = &self.cluster {
            text += &cluster::lines(cluster);
        }
        for function in self.functions.iter().flatten() {
            let verdict = Verdict::of(function.state == FunctionState::Ready);
            let _ = write!(text, "{} function {:?}: ", verdict.mark(), function.name);
            let _ = write!(text, "{}", function.state.as_str());
            if let Some(reason) = &function.reason {
                let _ = write!(text, ": {}", on_one_line(reason));
            }
            text.push('\n');
        }
        for UnservedEntry { entry, reason } in self.not_served.iter().flatten() {
            let _ = writeln!(text, "[-] {entry}: not served: {}", on_one_line(reason));
        }
        text += match self.status {
            Status::Ok => "ok\n",
            Status::NotReady => "not ready\n",
        };
        text
    }
}

/// The text with its control characters escaped, because it may be that of a guest.
pub(super) fn on_one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_guest_stays_on_one_line_and_is_readable() {
        assert_eq!(on_one_line("\"a\" isn't\n[+] b\u{1b}"), "\"a\" isn't\\n[+] b\\u{1b}");
    }
}
