//! Writes answers to standard output on a separate thread, so that a stalled reader blocks only that thread.

use crate::failure::Failure;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::{SinkExt as _, Stream, StreamExt as _};
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The maximum number of answers that wait for the thread. When it is reached, no more calls are
/// accepted until the reader catches up.
const WAITING: usize = 64;

/// The maximum number of bytes in one write: the capacity of a pipe on Linux, so that each completed write shows that
/// the reader makes progress.
const CHUNK: usize = 64 * 1024;

/// The sending side of the thread that writes answers.
pub(crate) struct AnswerWriter {
    answers: mpsc::Sender<String>,
    end: oneshot::Receiver<io::Result<()>>,
    progress: Arc<Progress>,
}

impl AnswerWriter {
    pub(crate) fn start(out: impl Write + Send + 'static) -> Result<Self, Failure> {
        let (answers, waiting) = mpsc::channel(WAITING);
        let (ended, end) = oneshot::channel();
        let progress = Arc::<Progress>::default();
        let shown = Arc::clone(&progress);
        let write = move || {
            let result = write_all(waiting, out, &shown);
            shown.change(|state| state.is_over = true);
            // The process may be ending.
            let _ = ended.send(result);
        };
        #[expect(clippy::disallowed_methods, reason = "ends with the answers, or the process")]
        let thread = std::thread::Builder::new().name("wpc-output".to_owned()).spawn(write);
        thread.map_err(|error| {
            Failure::environment(format!("failed to start the thread for standard output: {error}"))
        })?;
        Ok(Self { answers, end, progress })
    }

    /// The thread's progress, for other threads.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Another sender of lines. The writer ends when all senders are gone.
    pub(crate) fn sender(&self) -> mpsc::Sender<String> {
        self.answers.clone()
    }

    /// Writes each answer as a line. Returns when all are written, or at once if standard output is closed.
    pub(crate) async fn write_all(
        mut self,
        mut answers: impl Stream<Item = String> + Unpin,
    ) -> io::Result<()> {
        let mut sender = self.answers;
        let send = async move {
            while let Some(answer) = answers.next().await {
                if sender.send(answer).await.is_err() {
                    return;
                }
            }
        };
        let end = match select(pin!(send), &mut self.end).await {
            Either::Left(((), _)) => self.end.await,
            Either::Right((end, _)) => end,
        };
        end.unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")))
    }
}

/// Writes all waiting answers together, so that short ones share a write.
fn write_all(
    mut answers: mpsc::Receiver<String>,
    mut out: impl Write,
    progress: &Progress,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Some(answer) = block_on(answers.next()) {
        let mut next = Some(answer);
        while let Some(answer) = next {
            bytes.extend_from_slice(answer.as_bytes());
            bytes.push(b'\n');
            next = if bytes.len() < CHUNK { answers.try_recv().ok() } else { None };
        }
        for chunk in bytes.chunks(CHUNK) {
            out.write_all(chunk)?;
            out.flush()?;
            progress.change(|state| state.chunks += 1);
        }
        bytes.clear();
        // Frees the memory of an unusually large answer.
        bytes.shrink_to(CHUNK);
    }
    Ok(())
}

/// The progress of the writing thread.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: u64,
    is_over: bool,
}

impl Progress {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until everything is written, or until nothing was written for `timeout`. Returns whether it stalled.
    pub(crate) fn wait_for_stall(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            let seen = state.chunks;
            let is_unchanged = |state: &mut State| state.chunks == seen && !state.is_over;
            let waited = self.changed.wait_timeout_while(state, timeout, is_unchanged);
            let (current, result) = waited.unwrap_or_else(PoisonError::into_inner);
            if result.timed_out() {
                return true;
            }
            state = current;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Sends each write to the test, and blocks until the test receives it.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (AnswerWriter, Receiver<Vec<u8>>) {
        let (sender, written) = sync_channel(0);
        (AnswerWriter::start(Slow(sender)).unwrap(), written)
    }

    #[test]
    fn a_stalled_reader_is_detected_and_a_slow_reader_is_waited_for() {
        let (writer, written) = slow();
        let progress = writer.progress();
        let answers = futures::stream::iter(["a".repeat(2 * CHUNK)]);
        let mut work = pin!(writer.write_all(answers));
        assert!(block_on(futures::future::poll_immediate(&mut work)).is_none());
        assert_eq!(written.recv().unwrap().len(), CHUNK);
        // The thread is blocked on the second chunk, which the test does not receive.
        assert!(progress.wait_for_stall(Duration::from_millis(1)));
        let rest: Vec<u8> = written.iter().take(2).flatten().collect();
        assert_eq!(rest.len(), CHUNK + 1);
        block_on(work).unwrap();
        assert!(!progress.wait_for_stall(Duration::MAX));
    }

    #[test]
    fn writing_ends_when_the_reader_is_gone_although_more_answers_may_follow() {
        let (writer, written) = slow();
        drop(written);
        let one = futures::stream::iter(["answer".to_owned()]);
        let answers = one.chain(futures::stream::pending());
        let error = block_on(writer.write_all(answers)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
