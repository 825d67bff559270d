//! Retries reads of data that a NATS server may not have replicated yet: in a NATS cluster, a lagging server may answer.

use std::time::Duration;

/// The longest pause between two reads. The first one is the caller's, and each is twice as long as the one before.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Reads until the result is not missing or the pauses are used up. Returns the last result.
pub(crate) async fn read<T, F: Future<Output = T>>(
    first_pause: Duration,
    mut read: impl FnMut() -> F,
    is_missing: impl Fn(&T) -> bool,
) -> T {
    let mut pause = first_pause;
    loop {
        let found = read().await;
        if !is_missing(&found) || pause > LONGEST_PAUSE {
            return found;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[tokio::test(start_paused = true)]
    async fn a_read_is_repeated_until_it_succeeds_or_the_pauses_are_used_up() {
        let first = Duration::from_millis(20);
        let mut reads = 0;
        let count = || {
            reads += 1;
            ready(reads)
        };
        assert_eq!(read(first, count, |found| *found < 3).await, 3);
        let start = tokio::time::Instant::now();
        assert_eq!(read(first, || ready(0), |_| true).await, 0);
        assert_eq!(start.elapsed(), Duration::from_millis(620));
    }
}
