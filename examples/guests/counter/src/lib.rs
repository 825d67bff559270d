//! A counter that lives as long as its sandbox.
//!
//! Each worker has its own sandbox and so its own count. With `WasmModule::isolate_calls` every call gets a new sandbox
//! and is the first.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An atomic because a `static` must be `Sync`; a sandbox has one thread.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts this call, and returns the number of calls.
#[wpc::function]
fn count() -> u64 {
    add(1)
}

/// Adds `n`, and returns the sum, which wraps around at the largest number.
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
