//! The validity of a client's rights, for streams and WebSockets, which outlive the check of their request.

use super::timestamp::Timestamp;
use super::tokens::Rejection;
use std::time::Duration;
use tokio::sync::watch;

/// The longest sleep until a time of the clock, which may be set meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// The period in which a token keeps its rights, or in which no token is required.
#[derive(Debug)]
pub(super) struct Validity {
    is_revoked: watch::Sender<bool>,
    expires: Option<Timestamp>,
    /// Why its holder is refused after it was revoked.
    revoked: Rejection,
}

impl Validity {
    pub(super) fn new(expires: Option<Timestamp>) -> Self {
        Self { is_revoked: watch::Sender::new(false), expires, revoked: Rejection::Revoked }
    }

    /// That of clients without a token.
    pub(super) fn until_tokens_are_required() -> Self {
        Self { revoked: Rejection::Missing, ..Self::new(None) }
    }

    /// Ends it: the token was revoked or has other rights now, or one is required now.
    pub(super) fn revoke(&self) {
        self.is_revoked.send_replace(true);
    }

    /// Completes when it has ended, with the reason.
    pub(super) async fn ended(&self) -> Rejection {
        let mut is_revoked = self.is_revoked.subscribe();
        let revoked = async {
            // The sender lives as long as `self`.
            let _ = is_revoked.wait_for(|is_revoked| *is_revoked).await;
        };
        let Some(expires) = self.expires else {
            revoked.await;
            return self.revoked;
        };
        tokio::select! {
            () = revoked => self.revoked,
            () = passed(expires) => Rejection::Expired,
        }
    }
}

async fn passed(time: Timestamp) {
    loop {
        let left = time.since(Timestamp::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(MAX_SLEEP)).await;
    }
}
