//! Checks of single parts, without a pool: the queue, a call's state, the epoch ticker, background tasks.

use super::in_parallel;
use crate::call::{Call, Interrupt};
use crate::error::Error;
use crate::id::{CallId, Generation};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::time;
use crate::system::background::{Background, Dropped};
use crate::system::epoch_ticker::EpochTicker;
use crate::worker::queue::{Queue, Taken};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// Each pushed item is taken once or returned to its pusher, and the worker always wakes up for it.
pub fn queue() {
    let queue = Arc::new(Queue::new());
    let came_back = Arc::new(AtomicUsize::new(0));
    let worker = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            let mut taken = 0;
            loop {
                match queue.take(None, || {}, || {}) {
                    Taken::Item(()) => taken += 1,
                    Taken::CleanupRequest | Taken::Woken(_) => {}
                    Taken::Closed => return taken,
                }
            }
        })
    };
    let pusher = || -> Box<dyn FnOnce() + Send> {
        let (queue, came_back) = (Arc::clone(&queue), Arc::clone(&came_back));
        Box::new(move || {
            for _ in 0..2 {
                if queue.push(()).is_err() {
                    came_back.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    };
    let (asked, closed) = (Arc::clone(&queue), Arc::clone(&queue));
    in_parallel(vec![
        pusher(),
        pusher(),
        Box::new(move || asked.request_cleanup()),
        Box::new(move || closed.close()),
    ]);
    let taken: usize = worker.join().expect("the thread does not panic");
    assert_eq!(taken + came_back.load(Ordering::SeqCst), 4);
}

/// An abandoned worker loses no item: the thread that closes its queue takes what is left.
pub fn queue_of_an_abandoned_worker() {
    let queue = Arc::new(Queue::new());
    let worker = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            usize::from(matches!(queue.take(None, || {}, || {}), Taken::Item(())))
        })
    };
    let pusher = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || (0..3).filter(|_| queue.push(()).is_err()).count())
    };
    queue.close();
    let came_back = pusher.join().expect("the thread does not panic");
    let rest = std::iter::from_fn(|| queue.pop()).count();
    assert_eq!(worker.join().expect("the thread does not panic") + came_back + rest, 3);
}

/// If several threads try to answer a call, one of them does, and the waiting caller receives that answer.
pub fn call() {
    let call = Arc::new(Call::new(
        CallId(1),
        "f".into(),
        Generation(1),
        time::now(),
        Duration::from_secs(60),
    ));
    let answers = Arc::new(AtomicUsize::new(0));
    let count = |answers: &AtomicUsize| {
        answers.fetch_add(1, Ordering::SeqCst);
    };
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for racer in 0..4 {
        let (call, answers) = (Arc::clone(&call), Arc::clone(&answers));
        tasks.push(Box::new(move || match racer {
            0 => {
                if call.begin() {
                    call.answer_with(|ran| {
                        count(&answers);
                        Err(call.error_of(Interrupt::Deadline, ran))
                    });
                }
            }
            1 => call.answer_with(|ran| {
                count(&answers);
                Err(call.error_of(Interrupt::Stopped, ran))
            }),
            2 => call.cancel(),
            _ => {
                let first = call.wait().as_ref().expect_err("only errors are given").code();
                assert_eq!(call.wait().as_ref().expect_err("only errors are given").code(), first);
            }
        }));
    }
    in_parallel(tasks);
    assert!(call.is_answered());
    let is_cancelled = matches!(call.outcome(), Some(Err(Error::Cancelled { .. })));
    assert_eq!(answers.load(Ordering::SeqCst) + usize::from(is_cancelled), 1);
}

/// A wake signal after new work is not lost while the supervisor parks.
pub fn epoch_ticker() {
    let ticker = Arc::new(EpochTicker::new());
    let has_work = Arc::new(AtomicBool::new(false));
    let (its_ticker, its_work) = (Arc::clone(&ticker), Arc::clone(&has_work));
    let supervisor = thread::spawn(move || {
        its_ticker.adopt();
        while !its_work.load(Ordering::SeqCst) {
            its_ticker.sleep(None, || its_work.load(Ordering::SeqCst));
        }
    });
    has_work.store(true, Ordering::SeqCst);
    ticker.notify();
    supervisor.join().expect("the thread does not panic");
}

/// The result of every background task reaches its caller, with fewer threads than tasks. A dropped task may be withdrawn
/// without affecting other tasks.
pub fn background() {
    let background = Background::new("wpc-model", 2);
    let run = |value: u32| -> Box<dyn FnOnce() + Send> {
        let background = background.clone();
        Box::new(move || {
            let outcome = background
                .run(Dropped::Continues, move |_| Ok(value))
                .expect("the task is started");
            assert_eq!(shuttle::future::block_on(outcome).expect("the task succeeds"), value);
        })
    };
    let withdrawing = background.clone();
    in_parallel(vec![
        run(1),
        run(2),
        run(3),
        Box::new(move || drop(withdrawing.run(Dropped::IsWithdrawn, |_| Ok(())))),
    ]);
}
