//! Conversions of large bodies. They take long, and JSON takes up to 30 times the memory of its text.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// The size from which on a body is large, in bytes. A smaller one is converted within milliseconds.
pub(crate) const LARGE: usize = 256 << 10;

/// One large body is converted at a time, so that clients cannot multiply the memory that conversions take.
static CONVERSION: Semaphore = Semaphore::const_new(1);

/// Converts a large body. Meanwhile other threads of the runtime serve the connections of this one.
pub(crate) async fn run<T>(convert: impl FnOnce() -> T) -> T {
    // It is never closed.
    let _permit = CONVERSION.acquire().await;
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(convert),
        _ => convert(),
    }
}
