//! The application: the backend of a server, and its settings.

use crate::access::{AccessSettings, Audit, AuditRecord, Gate, Tokens};
use crate::deployments::Deployments;
use crate::idempotency::{IdempotencyBounds, Store};
use crate::intake::Intake;
use crate::lifecycle::Lifecycle;
use crate::live::Live;
use crate::refusals::Refused;
use crate::telemetry::{DEFAULT_MAX, FinishedRequest, MetricsFormat, ReportedRequests, Telemetry};
use crate::traffic::Traffic;
use crate::unserved::UnservedEntry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use wpc_host::Backend;

/// What a server serves: a backend that runs calls, and settings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Application(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    backend: Arc<dyn Backend>,
    settings: Settings,
    idempotency: Option<Store>,
    lifecycle: Lifecycle,
    intake: Intake,
    gate: Arc<Gate>,
    traffic: Traffic,
    telemetry: Telemetry,
    unserved_entries: Option<UnservedEntries>,
    live: Arc<Live>,
    deployments: Option<Deployments>,
}

struct UnservedEntries(Arc<dyn Fn() -> Vec<UnservedEntry> + Send + Sync>);

impl fmt::Debug for UnservedEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnservedEntries")
    }
}

/// The bounds on requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum size of a call's body in bytes. Default: 16 MiB.
    pub max_body: usize,
    /// The maximum number of requests in a JSON-RPC batch. Default: 1,000.
    pub max_batch: usize,
    /// The maximum size of the responses of a JSON-RPC batch in bytes. A result beyond it is replaced with an error.
    /// Default: 64 MiB.
    pub max_batch_result: usize,
    /// How many calls of a WebSocket connection may be outstanding before the server stops reading from it; the last batch
    /// that it reads may exceed the number. Default: 256.
    pub max_outstanding: usize,
    /// Accepts the header `Idempotency-Key` within these bounds. Default: `None`, which refuses it.
    pub idempotency: Option<IdempotencyBounds>,
    /// The maximum number of functions with metrics of their own. The others are counted together, as `_other`. Default: 100,
    /// with which a scrape has up to 7,000 lines.
    pub max_functions_in_metrics: usize,
    /// How long the pool may be saturated before the server reports that it is not ready. Default: 10 s.
    pub saturated_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 16 << 20,
            max_batch: 1000,
            max_batch_result: 64 << 20,
            max_outstanding: 256,
            idempotency: None,
            max_functions_in_metrics: DEFAULT_MAX,
            saturated_after: Duration::from_secs(10),
        }
    }
}

impl Application {
    /// Serves a backend with the defaults.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self::builder(backend).build()
    }

    /// A builder of an application with this backend.
    pub fn builder(backend: Arc<dyn Backend>) -> Builder {
        let traffic = Traffic::default();
        Builder(Parts {
            telemetry: Telemetry::new(Arc::clone(&backend), traffic.clone()),
            backend,
            settings: Settings::default(),
            idempotency: None,
            lifecycle: Lifecycle::default(),
            intake: Intake::default(),
            unserved_entries: None,
            deployments: None,
            traffic,
            gate: Arc::new(Gate::new(&AccessSettings::default())),
            live: Arc::new(Live::new()),
        })
    }

    /// The lifecycle of the server. [`Server::serve`](crate::Server::serve) enters the stages from
    /// [`Serving`](crate::Stage::Serving) on. An application that serves the router by itself has to enter them.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// The numbers of the server's connections and requests.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.0.intake
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.0.gate
    }

    pub(crate) fn idempotency(&self) -> Option<&Store> {
        self.0.idempotency.as_ref()
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// Every metric in the text format 0.0.4 of Prometheus, as returned by `/metrics`. It takes time in proportion to the
    /// number of functions.
    #[must_use]
    pub fn metrics(&self) -> String {
        // Writing to a string does not fail.
        self.0.telemetry.text(MetricsFormat::Prometheus).unwrap_or_default()
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    pub(crate) fn unserved_entries(&self) -> Vec<UnservedEntry> {
        self.0.unserved_entries.as_ref().map(|entries| entries.0()).unwrap_or_default()
    }

    pub(crate) fn shared_backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0.live
    }

    pub(crate) fn deployments(&self) -> Option<&Deployments> {
        self.0.deployments.as_ref()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }
}

/// Builds an [`Application`].
#[derive(Debug)]
#[must_use]
pub struct Builder(Parts);

impl Builder {
    /// Sets the bounds on requests.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.0.telemetry.set_max_functions(settings.max_functions_in_metrics);
        self.0.idempotency = settings.idempotency.clone().map(Store::new);
        self.0.settings = settings;
        self
    }

    /// Serves the administration of these deployments, whose pool should be the backend. Their items that are not served are reported as
    /// [`unserved_entries`](Self::unserved_entries).
    pub fn deployments(mut self, deployments: Deployments) -> Self {
        self.0.deployments = Some(deployments.clone());
        self.unserved_entries(move || deployments.state().not_served)
    }

    /// Uses this lifecycle, for a caller that observes it.
    pub fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.0.lifecycle = lifecycle;
        self
    }

    /// Calls `report` for each of these requests, when it was answered or its client disconnected. `report` runs on the
    /// threads of the server, so it must return quickly.
    pub fn on_request(
        mut self,
        which: ReportedRequests,
        report: impl Fn(&FinishedRequest) + Send + Sync + 'static,
    ) -> Self {
        self.0.telemetry.set_on_request(which, Box::new(report));
        self.gate().set_reports_successes(which == ReportedRequests::All);
        self
    }

    /// Calls `report` for connections and requests that are refused before they reach a handler: because of their host,
    /// origin or token, or because too many are open. At most 10 are reported in a second; the next report has the number of
    /// others. It runs on the threads of the server, so it must return quickly.
    pub fn on_refusal(self, report: impl Fn(&Refused) + Send + Sync + 'static) -> Self {
        self.0.traffic.refusals().set_on_refusal(Box::new(report));
        self
    }

    /// Calls `report` for each administrative action, before it is recorded in the audit log. It runs on the threads of the server, so
    /// it must return quickly.
    pub fn on_action(mut self, report: impl Fn(&AuditRecord) + Send + Sync + 'static) -> Self {
        self.gate().set_on_action(Box::new(report));
        self
    }

    /// Reports this number as `wpc_log_lines_dropped_total` in the metrics.
    pub fn dropped_log_lines(self, lines: Arc<AtomicU64>) -> Self {
        self.0.telemetry.set_dropped_lines(lines);
        self
    }

    /// Lists the entries that `/readyz?verbose` reports as not served. `/metrics` has their number.
    pub fn unserved_entries(
        mut self,
        list: impl Fn() -> Vec<UnservedEntry> + Send + Sync + 'static,
    ) -> Self {
        let list = Arc::new(list);
        let counted = Arc::clone(&list);
        self.0.telemetry.count_unserved(Box::new(move || counted().len()));
        self.0.unserved_entries = Some(UnservedEntries(list));
        self
    }

    /// Sets which requests are accepted.
    pub fn access(mut self, settings: &AccessSettings) -> Self {
        self.gate().configure(settings);
        self
    }

    /// Requires these tokens, as [`Tokens::are_required`] states. Without it, every client may do everything.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.gate().set_tokens(tokens);
        self
    }

    /// Records administrative actions and refused tokens.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.gate().set_audit(audit);
        self
    }

    /// The gate, which is not shared before the application is built.
    fn gate(&mut self) -> &mut Gate {
        Arc::get_mut(&mut self.0.gate).expect("it is shared only by a built application")
    }

    /// The application.
    #[must_use]
    pub fn build(self) -> Application {
        Application(Arc::new(self.0))
    }
}
