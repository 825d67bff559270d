//! OpenTelemetry: spans and metrics, exported by OTLP over HTTP.
//!
//! Calls are observed where they are submitted, so that all interfaces are covered. If it is not enabled, nothing is
//! measured.

mod client;
mod gauges;
mod traced;
mod trust;

use client::Client;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use traced::Traced;
use ureq::tls::TlsConfig;
use wpc_host::Backend;

/// The variables that enable it; `OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` may also have the value `otlp`.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];

/// The name of the instrumentation.
const SCOPE: &str = "wpc";

/// How long the last export may take.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Why traces and metrics cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenTelemetryError {
    /// A variable has a value that is not supported.
    #[error("the environment variable `{variable}` is \"{found}\"; expected {expected}")]
    #[non_exhaustive]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        expected: &'static str,
    },
    /// The certificates of a variable cannot be used.
    #[error("the environment variable `{variable}` names {}: {reason}", .path.display())]
    #[non_exhaustive]
    Certificate {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The exporter cannot be created.
    #[error("failed to create the OpenTelemetry exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Exports a server span for each call, and metrics of calls and of the pool.
#[derive(Debug)]
pub struct OpenTelemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl OpenTelemetry {
    /// The configuration by the standard `OTEL_*` environment variables; `None` if they configure nothing.
    ///
    /// # Errors
    ///
    /// [`OpenTelemetryError`] if a variable has a value that is not supported.
    pub fn from_environment() -> Result<Option<Self>, OpenTelemetryError> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value == "true");
        let exports = |name| set(name).is_some_and(|value| value == "otlp");
        let is_enabled = ENDPOINTS.iter().any(|name| set(name).is_some())
            || exports("OTEL_TRACES_EXPORTER")
            || exports("OTEL_METRICS_EXPORTER");
        if is_disabled || !is_enabled {
            return Ok(None);
        }
        let one_of = |variable, expected, values: &[&str]| match set(variable) {
            Some(found) if !values.contains(&&*found) => {
                Err(OpenTelemetryError::Variable { variable, found, expected })
            }
            found => Ok(found),
        };
        one_of("OTEL_EXPORTER_OTLP_PROTOCOL", "`http/protobuf`", &["http/protobuf"])?;
        for variable in ENDPOINTS {
            if let Some(found) = set(variable)
                && !found.starts_with("http://")
                && !found.starts_with("https://")
            {
                let expected = "a URL with `http://` or `https://`";
                return Err(OpenTelemetryError::Variable { variable, found, expected });
            }
        }
        let exporters = ["otlp", "none"];
        let traces = one_of("OTEL_TRACES_EXPORTER", "`otlp` or `none`", &exporters)?;
        let metrics = one_of("OTEL_METRICS_EXPORTER", "`otlp` or `none`", &exporters)?;
        let is_wanted = |exporter: Option<String>| exporter.is_none_or(|value| value == "otlp");
        Self::new(None, is_wanted(traces), is_wanted(metrics)).map(Some)
    }

    /// Exports to the collector at this URL, such as `http://127.0.0.1:4318`. With `https://`, its certificate must be issued by one in
    /// the file that the environment variable `OTEL_EXPORTER_OTLP_CERTIFICATE` names, or by one that the system trusts.
    ///
    /// # Errors
    ///
    /// [`OpenTelemetryError::Exporter`] if it is not a URL, [`OpenTelemetryError::Certificate`] if the file cannot be used.
    pub fn to(endpoint: &str) -> Result<Self, OpenTelemetryError> {
        Self::new(Some(endpoint.trim_end_matches('/')), true, true)
    }

    fn new(
        endpoint: Option<&str>,
        traces: bool,
        metrics: bool,
    ) -> Result<Self, OpenTelemetryError> {
        let resource = resource();
        let traces = traces.then(|| {
            let client = client(endpoint, "TRACES")?;
            let mut exporter = SpanExporter::builder().with_http().with_http_client(client);
            if let Some(endpoint) = endpoint {
                exporter = exporter.with_endpoint(format!("{endpoint}/v1/traces"));
            }
            let provider = SdkTracerProvider::builder().with_resource(resource.clone());
            Ok::<_, OpenTelemetryError>(provider.with_batch_exporter(exporter.build()?).build())
        });
        let metrics = metrics.then(|| {
            let client = client(endpoint, "METRICS")?;
            let mut exporter = MetricExporter::builder().with_http().with_http_client(client);
            if let Some(endpoint) = endpoint {
                exporter = exporter.with_endpoint(format!("{endpoint}/v1/metrics"));
            }
            let provider = SdkMeterProvider::builder().with_resource(resource.clone());
            Ok::<_, OpenTelemetryError>(provider.with_periodic_exporter(exporter.build()?).build())
        });
        Ok(Self { traces: traces.transpose()?, metrics: metrics.transpose()? })
    }

    /// The backend with each call observed.
    #[must_use]
    pub fn observe(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let tracer = self.traces.as_ref().map(|provider| provider.tracer(SCOPE));
        let meter = self.metrics.as_ref().map(|provider| provider.meter(SCOPE));
        if let Some(meter) = &meter {
            gauges::register(meter, &backend);
        }
        Arc::new(Traced::new(backend, tracer, meter.as_ref()))
    }

    /// Exports the remaining traces and metrics, for at most 2 seconds each, and ends.
    pub fn shutdown(self) {
        // The exporter has reported a collector that does not respond.
        if let Some(traces) = self.traces {
            let _ = traces.shutdown_with_timeout(SHUTDOWN);
        }
        if let Some(metrics) = self.metrics {
            let _ = metrics.shutdown_with_timeout(SHUTDOWN);
        }
    }
}

/// The client for a signal, whose endpoint is this one or that of the environment.
fn client(endpoint: Option<&str>, signal: &str) -> Result<Client, OpenTelemetryError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = endpoint.map(str::to_owned);
    let endpoint = endpoint
        .or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")))
        .or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let is_secure = endpoint.is_some_and(|endpoint| endpoint.starts_with("https://"));
    let tls = if is_secure { trust::tls(signal)? } else { TlsConfig::default() };
    Ok(Client::new(tls))
}

/// The description of this service by the environment. Its name is `wpc` by default.
fn resource() -> Resource {
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named =
        std::env::var_os("OTEL_SERVICE_NAME").is_some() || attributes.contains("service.name=");
    let resource = Resource::builder();
    if is_named { resource.build() } else { resource.with_service_name(SCOPE).build() }
}
