//! A counter that lives as long as its sandbox.
//!
//! Each worker has a sandbox of its own, so each worker counts for itself. A definition with
//! `WasmModule::isolate_calls` gives every call a fresh sandbox: there every call is the first.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A sandbox has one thread; the atomic is there because a `static` has to be `Sync`.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts this call, and tells how many there were.
#[wpc::function]
fn count() -> u64 {
    add(1)
}

/// Adds `n`, and tells the sum. Past the largest number it goes on from zero.
#[wpc::function]
fn add(n: u64) -> u64 {
    COUNT.fetch_add(n, Relaxed).wrapping_add(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_adds_and_wraps_around() {
        assert_eq!([count(), count(), add(40), count()], [1, 2, 42, 43]);
        assert_eq!(add(u64::MAX), 42);
    }
}
