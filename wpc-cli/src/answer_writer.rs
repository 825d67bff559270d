//! Writes answers to standard output on a thread of its own, so that a reader that stalls holds up no more than
//! that thread.

use crate::failure::Failure;
use futures::channel::{mpsc, oneshot};
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::{SinkExt as _, Stream, StreamExt as _};
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many answers wait for the thread at most. With more the calls are held up, as they are by a full pipe.
const WAITING: usize = 64;

/// How many bytes are written at once: as many as a pipe holds on Linux, so that each write is progress of the
/// reader.
const CHUNK: usize = 64 * 1024;

/// Where answers are written.
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
        thread
            .map_err(|error| Failure::machine(format!("no thread for standard output: {error}")))?;
        Ok(Self { answers, end, progress })
    }

    /// What can be seen of the thread's progress.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Writes each answer as a line. Ends when all are written, or at once when standard output is gone.
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

/// Takes as many answers as wait at a time, so that short ones share a write.
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
        // One large answer is not kept for all that follow.
        bytes.shrink_to(CHUNK);
    }
    Ok(())
}

/// How far the thread has come.
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

    /// Waits until everything is written, or until nothing was for so long. True where it stalled.
    pub(crate) fn wait_for_stall(&self, patience: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            let seen = state.chunks;
            let stands = |state: &mut State| state.chunks == seen && !state.is_over;
            let waited = self.changed.wait_timeout_while(state, patience, stands);
            let (left, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return true;
            }
            state = left;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Gives what is written to a test, and waits until it is taken.
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
    fn a_reader_that_stalls_is_seen_and_one_that_is_slow_is_waited_for() {
        let (writer, written) = slow();
        let progress = writer.progress();
        let answers = futures::stream::iter(["a".repeat(2 * CHUNK)]);
        let mut work = pin!(writer.write_all(answers));
        assert!(block_on(futures::future::poll_immediate(&mut work)).is_none());
        assert_eq!(written.recv().unwrap().len(), CHUNK);
        // It has the second piece, which no reader takes.
        assert!(progress.wait_for_stall(Duration::from_millis(1)));
        let rest: Vec<u8> = written.iter().take(2).flatten().collect();
        assert_eq!(rest.len(), CHUNK + 1);
        block_on(work).unwrap();
        assert!(!progress.wait_for_stall(Duration::MAX));
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_writing_though_more_answers_may_come() {
        let (writer, written) = slow();
        drop(written);
        let one = futures::stream::iter(["answer".to_owned()]);
        let answers = one.chain(futures::stream::pending());
        let error = block_on(writer.write_all(answers)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
