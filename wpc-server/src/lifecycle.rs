//! The lifecycle stages of a server.
//!
//! A request reads the stage with one atomic load. Connections and the listener wait for later stages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::watch;

/// A lifecycle stage of a server. A stage is only followed by later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Functions are being defined; requests are not served yet.
    Starting,
    /// Requests are served.
    Serving,
    /// The server was asked to stop: it reports that it is not ready, and asks clients to close their connections. It accepts
    /// connections for a grace period and then only finishes the requests in progress.
    Draining,
    /// Every connection has ended.
    Stopped,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Draining, Self::Stopped];

    /// Its name in responses and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The current [`Stage`] of a server. Clones share it.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The stage as a number, because the channel's value is behind a lock.
    stage: AtomicU8,
    changes: watch::Sender<Stage>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        let changes = watch::Sender::new(Stage::Starting);
        Self(Arc::new(Shared { stage: AtomicU8::new(Stage::Starting as u8), changes }))
    }
}

impl Lifecycle {
    /// The current stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let stage = usize::from(self.0.stage.load(Ordering::Acquire));
        Stage::ALL.get(stage).copied().unwrap_or(Stage::Stopped)
    }

    /// Enters a stage, unless this or a later one was entered before. Returns whether this call entered it.
    pub fn enter(&self, stage: Stage) -> bool {
        self.0.changes.send_if_modified(|current| {
            let is_later = stage > *current;
            if is_later {
                *current = stage;
                self.0.stage.store(stage as u8, Ordering::Release);
            }
            is_later
        })
    }

    /// Completes once this stage, or a later one, was entered.
    pub async fn entered(&self, stage: Stage) {
        let mut changes = self.0.changes.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.wait_for(|current| *current >= stage).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_only_moves_forward() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.stage(), Stage::Starting);
        assert!(lifecycle.enter(Stage::Draining));
        assert!(!lifecycle.enter(Stage::Serving));
        assert!(!lifecycle.enter(Stage::Draining));
        assert_eq!(lifecycle.stage(), Stage::Draining);
    }

    #[test]
    fn waiting_for_a_stage_ends_at_a_later_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let lifecycle = Lifecycle::default();
            let waiting = lifecycle.entered(Stage::Serving);
            let entering = async { lifecycle.enter(Stage::Stopped) };
            assert!(futures::future::join(waiting, entering).await.1);
            lifecycle.entered(Stage::Draining).await;
        });
    }
}
