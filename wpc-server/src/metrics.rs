//! `/metrics`: the metrics for Prometheus.

use crate::accept;
use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use crate::telemetry::MetricsFormat;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new().route("/metrics", get(metrics))
}

async fn metrics(
    State(application): State<Application>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    principal.require(Scope::Observe)?;
    let (format, kind) = format(&headers);
    // Reading takes time in proportion to the number of functions, and must not delay calls.
    let text = tokio::task::spawn_blocking(move || application.telemetry().text(format)).await;
    let text = text.map_err(|error| error.to_string());
    let text = text.and_then(|text| text.map_err(|error| error.to_string()));
    let failed = |reason: String| Problem::new(ServerCode::MetricsFailed, reason);
    Ok(([(header::CONTENT_TYPE, kind)], text.map_err(failed)?).into_response())
}

/// OpenMetrics if the client prefers it to plain text, as Prometheus does.
fn format(headers: &HeaderMap) -> (MetricsFormat, &'static str) {
    let is_preferred =
        accept::prefers(headers, ("application", "openmetrics-text"), ("text", "plain"));
    if is_preferred {
        (MetricsFormat::OpenMetrics, OPEN_METRICS)
    } else {
        (MetricsFormat::Prometheus, PROMETHEUS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn chosen(accept: &'static str) -> MetricsFormat {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        format(&headers).0
    }

    #[test]
    fn the_format_follows_accept() {
        assert_eq!(format(&HeaderMap::new()).0, MetricsFormat::Prometheus);
        assert_eq!(chosen("*/*"), MetricsFormat::Prometheus);
        assert_eq!(chosen("text/plain"), MetricsFormat::Prometheus);
        assert_eq!(
            chosen("application/openmetrics-text;q=0.1,text/plain"),
            MetricsFormat::Prometheus
        );
        assert_eq!(chosen("application/openmetrics-text;q=0"), MetricsFormat::Prometheus);
        // The headers that Prometheus 2 and 3 send.
        let found = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(chosen(found), MetricsFormat::OpenMetrics);
    }
}
