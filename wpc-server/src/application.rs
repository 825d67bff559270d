//! What a server serves, and its settings.

use crate::lifecycle::Lifecycle;
use std::sync::Arc;
use wpc_host::Backend;

/// What a server serves: a backend that runs calls, and settings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Application(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    backend: Arc<dyn Backend>,
    settings: Settings,
    lifecycle: Lifecycle,
}

/// The bounds of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum size of a call's body in bytes. Default: 16 MiB.
    pub max_body: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_body: 16 << 20 }
    }
}

impl Application {
    /// Serves a backend with the defaults.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self::builder(backend).build()
    }

    /// Serves a backend with what the builder's methods set.
    pub fn builder(backend: Arc<dyn Backend>) -> Builder {
        Builder(Parts { backend, settings: Settings::default(), lifecycle: Lifecycle::default() })
    }

    /// The stage of the server's life. [`Server::serve`](crate::Server::serve) enters the stages from
    /// [`Serving`](crate::Stage::Serving); an application that serves the router itself enters them.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
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
    /// Sets the bounds of requests.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.0.settings = settings;
        self
    }

    /// Uses this lifecycle, for a caller that follows it.
    pub fn lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.0.lifecycle = lifecycle;
        self
    }

    /// The application.
    #[must_use]
    pub fn build(self) -> Application {
        Application(Arc::new(self.0))
    }
}
