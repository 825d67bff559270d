//! Conversions of large bodies. They take a long time, and JSON takes up to 30 times the memory of its text.

use std::num::NonZero;
use std::sync::LazyLock;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// The size from which on a body is large, in bytes. A smaller one is converted within milliseconds.
pub(crate) const LARGE: usize = 256 << 10;

/// Only a few large bodies are converted at a time. This bounds the memory that conversions take and leaves processors for other requests.
static CONVERSIONS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    Semaphore::new((processors / 2).max(1))
});

/// Converts a large body. Meanwhile other threads of the runtime serve the connections of this one.
pub(crate) async fn run<T>(convert: impl FnOnce() -> T) -> T {
    // It is never closed.
    let _permit = CONVERSIONS.acquire().await;
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(convert),
        _ => convert(),
    }
}
