//! Ends the process if a test hangs, and names the test. Without it, a lost answer would block the suite.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The maximum duration of a test. Each takes seconds, even while other programs keep every core busy.
const LIMIT: Duration = Duration::from_secs(600);

thread_local! {
    /// Dropped at the end of the thread, which is the end of its test.
    static WATCHDOG: SyncSender<()> = start();
}

/// Watches the test of this thread.
pub(crate) fn watch() {
    WATCHDOG.with(|_| {});
}

fn start() -> SyncSender<()> {
    let test = std::thread::current().name().unwrap_or("a test's own thread").to_owned();
    let (end, ended) = sync_channel(0);
    std::thread::spawn(move || {
        if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} did not end within {LIMIT:?}");
            std::process::abort();
        }
    });
    end
}
