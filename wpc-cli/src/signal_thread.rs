//! The thread that receives the signals which stop, reload or interrupt the command.

use crate::failure::Failure;

/// What a signal requests.
pub(crate) enum Request {
    Stop,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has a signal for it"))]
    Reload,
}

/// Calls `handle` for each signal, on a dedicated thread.
#[cfg(unix)]
pub(crate) fn listen(mut handle: impl FnMut(Request) + Send + 'static) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let failed =
        |error| Failure::environment(format!("failed to install the signal handler: {error}"));
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
pub(crate) fn listen(mut handle: impl FnMut(Request) + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(move || handle(Request::Stop)).map_err(|error| {
        Failure::environment(format!("failed to install the signal handler: {error}"))
    })
}
