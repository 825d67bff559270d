//! What a service logs, as options.

use crate::access_log::{self, AccessLog};
use crate::action_log;
use crate::event_log::Level;
use crate::log_writer::LogWriter;
use crate::refusal_log;
use std::time::SystemTime;
use wpc_server::{AuditRecord, Builder, FinishedRequest, Refused, ReportedRequests};

#[derive(clap::Args)]
pub(crate) struct LogOptions {
    /// Minimum severity of the log lines and events that are written to standard error.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    log_level: Level,
    /// Format of the log on standard error. Default: `json` with `--json`, otherwise `text`.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Requests that are logged, each with its route, status, duration, function, call, trace and client.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = AccessLog::Failed)]
    access_log: AccessLog,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogOptions {
    pub(crate) fn level(&self) -> Level {
        self.log_level
    }

    /// Whether lines are JSON.
    pub(crate) fn is_json(&self, as_json: bool) -> bool {
        self.log_format.map_or(as_json, |format| format == LogFormat::Json)
    }

    /// Logs the requests of an application.
    pub(crate) fn report(&self, application: Builder, as_json: bool, log: LogWriter) -> Builder {
        let least = self.log_level;
        let mut application = application.dropped_log_lines(log.dropped());
        if refusal_log::LEVEL <= least {
            let log = log.clone();
            application = application.on_refusal(move |refused: &Refused| {
                let line = if as_json { refusal_log::json_line } else { refusal_log::text_line };
                log.line(line(refused, SystemTime::now()));
            });
        }
        if action_log::LEVEL <= least {
            let log = log.clone();
            application = application.on_action(move |action: &AuditRecord| {
                if action_log::is_logged(action) {
                    let line = if as_json { action_log::json_line } else { action_log::text_line };
                    log.line(line(action, SystemTime::now()));
                }
            });
        }
        let which = match self.access_log {
            AccessLog::Off => return application,
            AccessLog::Failed => ReportedRequests::Failed,
            AccessLog::All => ReportedRequests::All,
        };
        // Refused clients have lines of their own, whose rate is bounded.
        let is_wanted = move |request: &FinishedRequest| {
            let is_usual = request.refusal.is_some() || access_log::is_question(request);
            which == ReportedRequests::All || !is_usual
        };
        application.on_request(which, move |request: &FinishedRequest| {
            if access_log::level(request) <= least && is_wanted(request) {
                let line = if as_json { access_log::json_line } else { access_log::text_line };
                log.line(line(request, SystemTime::now()));
            }
        })
    }
}
