//! Signals to a service. The first SIGINT or SIGTERM stops it gracefully, the second ends it at
//! once. SIGHUP reloads its manifest. Before the service is ready, SIGINT and SIGTERM end it at
//! once, and SIGHUP requests a reload as soon as it is ready.

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::signal_thread::{Request, listen};
use futures::StreamExt as _;
use futures::channel::mpsc;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

/// Receives the first signal to stop.
pub(crate) struct Signals {
    first: mpsc::Receiver<()>,
    phase: Arc<Mutex<Phase>>,
}

/// The stage of the service when a signal to stop arrives. `Starting` becomes `Serving` in
/// [`Signals::ready`], and `Serving` becomes `Stopping` at the first signal.
#[derive(Clone, Copy)]
enum Phase {
    /// No call has been accepted, so a graceful stop is not necessary.
    Starting,
    Serving,
    Stopping,
}

impl Signals {
    /// Installs the handlers. A signal that ends the process does so even if other threads are blocked, because a
    /// dedicated thread handles signals. SIGHUP sends to `reload`, unless a request is pending there.
    pub(crate) fn handle(reload: SyncSender<()>) -> Result<Self, Failure> {
        let (mut sender, first) = mpsc::channel(1);
        let phase = Arc::new(Mutex::new(Phase::Starting));
        let shared = Arc::clone(&phase);
        listen(move |request| match request {
            Request::Stop => {
                // Locked until the process has ended, so that a starting service does not become ready meanwhile.
                let mut phase = shared.lock().unwrap_or_else(PoisonError::into_inner);
                match *phase {
                    Phase::Starting => ExitCode::Success.exit(),
                    Phase::Serving => {
                        *phase = Phase::Stopping;
                        // The service may have ended by itself.
                        let _ = sender.try_send(());
                    }
                    Phase::Stopping => ExitCode::Interrupted.exit(),
                }
            }
            Request::Reload => {
                let _ = reload.try_send(());
            }
        })?;
        Ok(Self { first, phase })
    }

    /// From now on, the first signal to stop is received by [`Self::first`].
    pub(crate) fn ready(&self) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Serving;
    }

    /// Completes at the first signal to stop.
    pub(crate) async fn first(&mut self) {
        // The handler lives as long as the process.
        let _ = self.first.next().await;
    }
}
