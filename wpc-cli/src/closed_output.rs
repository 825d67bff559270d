//! Whether standard output was closed when the process started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of a closed descriptor, so the command would write its answers
//! there and end with success. A constructor, which runs earlier, checks the descriptor.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

// Constructors run before Rust's runtime is set up. This one only makes a system call and sets a flag.
#[ctor::ctor(unsafe)]
fn look() {
    let is_closed = rustix::io::fcntl_getfd(std::io::stdout()).is_err();
    WAS_CLOSED.store(is_closed, Ordering::Relaxed);
}

/// An error if standard output was closed.
pub(crate) fn check() -> std::io::Result<()> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(std::io::Error::other("it was closed before the command started"));
    }
    Ok(())
}
