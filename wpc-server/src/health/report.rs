//! The report of a probe, as JSON and as text.

use crate::application::Application;
use crate::lifecycle::Stage;
use crate::suspended::SuspendedEntry;
use crate::telemetry::{HIGH, LOW};
use axum::http::StatusCode;
use serde::Serialize;
use std::fmt::Write as _;
use wpc_host::{FunctionHealth, FunctionState, PoolHealth};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    NotReady,
}

/// One of the conditions of a probe.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    status: Status,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolHealth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<Vec<FunctionHealth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<Vec<SuspendedEntry>>,
}

impl Report {
    fn of(checks: Vec<Check>) -> Self {
        let is_ok = checks.iter().all(|check| check.ok);
        let status = if is_ok { Status::Ok } else { Status::NotReady };
        Self { status, checks, pool: None, functions: None, suspended: None }
    }

    pub(super) fn live() -> Self {
        Self::of(Vec::new())
    }

    pub(super) fn started(is_started: bool) -> Self {
        let detail = if is_started { "started" } else { "starting" };
        Self::of(vec![Check { name: "stage", ok: is_started, detail: detail.to_owned() }])
    }

    /// Ready if the server serves and is not drained, at least one worker accepts calls, and the pool has not been saturated for
    /// too long.
    pub(super) fn ready(application: &Application) -> Self {
        let stage = application.lifecycle().stage();
        let health = application.backend().health();
        let (up, all) = (health.workers_up(), health.workers.len());
        let share = health.saturation();
        // A pool without workers has no slots, which the check of the workers reports.
        let saturated = if up == 0 { 0.0 } else { share };
        let saturated = application.telemetry().saturated_for(saturated);
        let limit = application.settings().saturated_after;
        let saturation = match saturated.as_secs() {
            _ if saturated < limit => format!("{:.0} % of the slots are taken", share * 100.0),
            seconds => format!(
                "saturated for {seconds} s: at least {:.0} % of the slots were taken, and not fewer than {:.0} % since then",
                HIGH * 100.0,
                LOW * 100.0
            ),
        };
        let is_drained = stage == Stage::Serving && application.intake().is_draining();
        let detail = if is_drained { "drained by an operator" } else { stage.as_str() };
        let is_serving = stage == Stage::Serving && !is_drained;
        let stage_check = Check { name: "stage", ok: is_serving, detail: detail.to_owned() };
        let mut report = Self::of(vec![
            stage_check,
            Check { name: "workers", ok: up > 0, detail: format!("{up} of {all} accept calls") },
            Check { name: "saturation", ok: saturated < limit, detail: saturation },
        ]);
        report.pool = Some(health);
        report
    }

    /// Adds every function, and the entries that were not accepted. They do not affect whether the server is ready, because
    /// other functions are served.
    pub(super) fn add_functions(&mut self, application: &Application) {
        self.functions = Some(application.backend().function_health());
        self.suspended = Some(application.suspended_entries());
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.status {
            Status::Ok => StatusCode::OK,
            Status::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A line for each check and function, with `[+]` or `[-]`, and the status as the last one.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mark = |ok| if ok { "[+]" } else { "[-]" };
        for Check { name, ok, detail } in &self.checks {
            let _ = writeln!(text, "{} {name}: {detail}", mark(*ok));
        }
        for function in self.functions.iter().flatten() {
            let is_ready = function.state == FunctionState::Ready;
            let _ = write!(text, "{} function {:?}: ", mark(is_ready), function.name);
            let _ = write!(text, "{}", function.state.as_str());
            if let Some(reason) = &function.reason {
                // A reason may contain text of a guest.
                let _ = write!(text, ": {}", reason.escape_debug());
            }
            text.push('\n');
        }
        for SuspendedEntry { entry, reason } in self.suspended.iter().flatten() {
            let _ = writeln!(text, "[-] {entry}: suspended: {}", reason.escape_debug());
        }
        text += match self.status {
            Status::Ok => "ok\n",
            Status::NotReady => "not ready\n",
        };
        text
    }
}
