//! A service is asked to end by SIGINT or SIGTERM: the first asks for an orderly end, the second ends it at once.
//! SIGHUP asks it to reload its manifest.

use crate::failure::Failure;
use futures::StreamExt as _;
use futures::channel::mpsc;
use std::sync::mpsc::SyncSender;

/// The exit code after a second signal; a shell reports it for a process that SIGINT ended.
const ENDED_AT_ONCE: i32 = 130;

/// Signals to end that were not handled yet.
pub(crate) struct Signals(mpsc::Receiver<()>);

/// What a signal asks for.
enum Asked {
    End,
    #[cfg_attr(not(unix), expect(dead_code, reason = "no other system has such a signal"))]
    Reload,
}

impl Signals {
    /// From now on signals do not end the process by themselves. A second one does, whatever the process waits
    /// for meanwhile: it is handled on a thread that does nothing else. SIGHUP sends to `reload`; one that waits
    /// there is as good as many.
    pub(crate) fn handle(reload: SyncSender<()>) -> Result<Self, Failure> {
        let (mut sender, first) = mpsc::channel(1);
        let mut is_ending = false;
        listen(move |asked| match asked {
            Asked::End => {
                if std::mem::replace(&mut is_ending, true) {
                    std::process::exit(ENDED_AT_ONCE);
                }
                // The service may have ended by itself.
                let _ = sender.try_send(());
            }
            Asked::Reload => {
                let _ = reload.try_send(());
            }
        })?;
        Ok(Self(first))
    }

    /// Ends with the first signal to end.
    pub(crate) async fn first(&mut self) {
        // The handler lives as long as the process.
        let _ = self.0.next().await;
    }
}

/// Calls `handle` on a thread of its own for each signal.
#[cfg(unix)]
fn listen(mut handle: impl FnMut(Asked) + Send + 'static) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let failed = |error| Failure::machine(format!("no handler for signals: {error}"));
    let mut signals =
        signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        for signal in signals.forever() {
            handle(if signal == SIGHUP { Asked::Reload } else { Asked::End });
        }
    };
    #[expect(clippy::disallowed_methods, reason = "one, as long as the process")]
    let thread = std::thread::Builder::new().name("wpc-signals".to_owned()).spawn(wait);
    thread.map(drop).map_err(failed)
}

/// As on Unix, without a signal to reload.
#[cfg(not(unix))]
fn listen(mut handle: impl FnMut(Asked) + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(move || handle(Asked::End))
        .map_err(|error| Failure::machine(format!("no handler for signals: {error}")))
}
