//! What the host function of a waiting call awaits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub(crate) enum Wait {
    /// A timer.
    For(Duration),
    /// The opening of a gate, at which waiting calls are counted.
    Gate(watch::Receiver<bool>, Arc<AtomicU32>),
}

impl Wait {
    pub(crate) async fn ended(self) {
        match self {
            Self::For(duration) => tokio::time::sleep(duration).await,
            Self::Gate(mut opened, waiting) => {
                waiting.fetch_add(1, Ordering::Release);
                // An error means that the measurement has ended.
                let _ = opened.wait_for(|is_open| *is_open).await;
            }
        }
    }
}
