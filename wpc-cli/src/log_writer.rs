//! Log lines, written to standard error by a thread of their own, so that a slow reader delays no request. Lines that do not fit the queue
//! are dropped and counted.

use crate::failure::Failure;
use crate::text::count;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// The maximum number of queued lines: about a second of requests on a busy server.
const CAPACITY: usize = 8192;

/// How many bytes are written at once.
const BATCH: usize = 64 << 10;

/// How long the process waits at its end for the remaining lines.
const END_WAIT: Duration = Duration::from_secs(1);

/// Queues lines for standard error. Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

/// The thread that writes the lines. The process waits for it at its end.
#[derive(Debug)]
pub(crate) struct Writing(Receiver<()>);

impl LogWriter {
    /// Starts the thread. It ends when all writers are dropped.
    pub(crate) fn start() -> Result<(Self, Writing), Failure> {
        let (lines, queue) = sync_channel(CAPACITY);
        let (end, ended) = sync_channel(0);
        let dropped = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&dropped);
        let write = move || {
            // Dropped when the thread ends, even if it panics.
            let _end: SyncSender<()> = end;
            write(&queue, &counted, |bytes| {
                // The reader of standard error may be gone.
                let _ = std::io::stderr().lock().write_all(bytes);
            });
        };
        #[expect(clippy::disallowed_methods, reason = "one thread for the life of the service")]
        let thread = std::thread::Builder::new().name("wpc-log".to_owned()).spawn(write);
        thread
            .map_err(|error| Failure::environment(format!("failed to start the log: {error}")))?;
        Ok((Self { lines, dropped }, Writing(ended)))
    }

    /// Queues a line, or counts it as dropped.
    pub(crate) fn line(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of dropped lines.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl Writing {
    /// Waits until the lines are written, for a bounded time, because the reader of standard error may have stopped.
    pub(crate) fn finish(self) {
        let _ = self.0.recv_timeout(END_WAIT);
    }
}

/// Writes lines in batches. If lines were dropped, writes a line with their number.
fn write(queue: &Receiver<String>, dropped: &AtomicU64, mut out: impl FnMut(&[u8])) {
    let mut reported = 0;
    let mut batch = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            batch.extend_from_slice(line.as_bytes());
            batch.push(b'\n');
            next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        out(&batch);
        batch.clear();
        let all = dropped.load(Ordering::Relaxed);
        if all > reported {
            out(format!("dropped {}\n", count(all - reported, "log line")).as_bytes());
            reported = all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_reports_them() {
        let (lines, queue) = sync_channel(2);
        let writer = LogWriter { lines, dropped: Arc::default() };
        for line in ["a", "b", "c", "d"] {
            writer.line(line.to_owned());
        }
        let dropped = writer.dropped();
        drop(writer);
        let mut written = Vec::new();
        write(&queue, &dropped, |bytes| written.extend_from_slice(bytes));
        assert_eq!(String::from_utf8(written).unwrap(), "a\nb\ndropped 2 log lines\n");
    }
}
