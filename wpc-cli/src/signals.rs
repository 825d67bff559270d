//! A service is asked to end by a signal: the first asks for an orderly end, the second ends it at once.

use crate::failure::Failure;
use futures::StreamExt as _;
use futures::channel::mpsc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code after a second signal; a shell reports it for a process that SIGINT ended.
const ENDED_AT_ONCE: i32 = 130;

/// Signals that were not handled yet.
pub(crate) struct Signals(mpsc::Receiver<()>);

impl Signals {
    /// From now on signals do not end the process by themselves. A second one does, whatever the process waits
    /// for meanwhile: it is handled on a thread that does nothing else.
    pub(crate) fn handle() -> Result<Self, Failure> {
        let (mut sender, first) = mpsc::channel(1);
        let is_ending = AtomicBool::new(false);
        let handler = move || {
            if is_ending.swap(true, Ordering::Relaxed) {
                std::process::exit(ENDED_AT_ONCE);
            }
            // The service may have ended by itself.
            let _ = sender.try_send(());
        };
        ctrlc::set_handler(handler)
            .map_err(|error| Failure::machine(format!("no handler for signals: {error}")))?;
        Ok(Self(first))
    }

    /// Ends with the first signal.
    pub(crate) async fn first(&mut self) {
        // The handler lives as long as the process.
        let _ = self.0.next().await;
    }
}
