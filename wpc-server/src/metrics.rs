//! `/metrics`: the metrics for Prometheus.

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
    let quality = |wanted: &str| {
        let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = accept.flat_map(|value| value.split(','));
        ranges
            .filter_map(|range| quality_of(range, wanted))
            .fold(None, |best, found| Some(best.map_or(found, |best: f32| best.max(found))))
    };
    let open_metrics = quality("application/openmetrics-text");
    let is_preferred = open_metrics.is_some_and(|open_metrics| {
        open_metrics > 0.0 && open_metrics >= quality("text/plain").unwrap_or(0.0)
    });
    if is_preferred {
        (MetricsFormat::OpenMetrics, OPEN_METRICS)
    } else {
        (MetricsFormat::Prometheus, PROMETHEUS)
    }
}

/// The quality of a range of `Accept`, if it is for the media type.
fn quality_of(range: &str, wanted: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
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
