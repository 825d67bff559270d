//! Signals to a service. The first SIGINT or SIGTERM stops it in an orderly way, the second ends it at once. SIGHUP
//! reloads its manifest.

use crate::failure::Failure;
use futures::StreamExt as _;
use futures::channel::mpsc;
use std::sync::mpsc::SyncSender;

/// The exit code after a second signal, as shells report it for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Receives the first signal to stop.
pub(crate) struct Signals(mpsc::Receiver<()>);

/// The request that a signal makes.
enum Request {
    Stop,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has a signal for it"))]
    Reload,
}

impl Signals {
    /// Installs the handlers. A second signal to stop ends the process even if other threads are blocked, because a
    /// dedicated thread handles signals. SIGHUP sends to `reload`, unless a request is pending there.
    pub(crate) fn handle(reload: SyncSender<()>) -> Result<Self, Failure> {
        let (mut sender, first) = mpsc::channel(1);
        let mut is_ending = false;
        listen(move |request| match request {
            Request::Stop => {
                if std::mem::replace(&mut is_ending, true) {
                    std::process::exit(INTERRUPTED);
                }
                // The service may have ended by itself.
                let _ = sender.try_send(());
            }
            Request::Reload => {
                let _ = reload.try_send(());
            }
        })?;
        Ok(Self(first))
    }

    /// Completes at the first signal to stop.
    pub(crate) async fn first(&mut self) {
        // The handler lives as long as the process.
        let _ = self.0.next().await;
    }
}

/// Calls `handle` for each signal, on a dedicated thread.
#[cfg(unix)]
fn listen(mut handle: impl FnMut(Request) + Send + 'static) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let failed = |error| Failure::machine(format!("failed to install the signal handler: {error}"));
    let mut signals =
        signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        for signal in signals.forever() {
            handle(if signal == SIGHUP { Request::Reload } else { Request::Stop });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "one thread for the life of the process")]
    let thread = std::thread::Builder::new().name("wpc-signals".to_owned()).spawn(wait);
    thread.map(drop).map_err(failed)
}

/// As on Unix, but without a signal to reload.
#[cfg(not(unix))]
fn listen(mut handle: impl FnMut(Request) + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(move || handle(Request::Stop))
        .map_err(|error| Failure::machine(format!("failed to install the signal handler: {error}")))
}
