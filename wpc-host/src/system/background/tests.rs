use super::*;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The maximum wait for anything. It is far longer than necessary, so that only a hang reaches it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A background with one thread, whose first task runs until the sender is dropped.
fn busy() -> (Background, SyncSender<()>, Outcome<()>) {
    let background = Background::new("wpc-test", 1);
    let (release, released) = sync_channel::<()>(1);
    let (begin, begun) = sync_channel(1);
    let first = background.run(Dropped::Continues, move |_| {
        begin.send(()).unwrap();
        assert_eq!(released.recv_timeout(TEST_TIMEOUT), Err(RecvTimeoutError::Disconnected));
        Ok(())
    });
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    (background, release, first.unwrap())
}

/// A task that keeps a sender as long as it is not dropped.
fn held(background: &Background, dropped: Dropped) -> (Outcome<()>, Receiver<()>) {
    let (hold, held) = sync_channel(1);
    let outcome = background.run(dropped, move |_| {
        hold.send(()).unwrap();
        Ok(())
    });
    (outcome.unwrap(), held)
}

#[test]
fn tasks_run_in_order_on_another_thread() {
    let (background, release, first) = busy();
    let second = background.run(Dropped::Continues, |_| Ok(std::thread::current().id()));
    drop(release);
    pollster::block_on(first).unwrap();
    assert_ne!(pollster::block_on(second.unwrap()).unwrap(), std::thread::current().id());
}

#[test]
fn a_withdrawn_task_that_has_not_begun_is_dropped_at_once() {
    let (background, release, first) = busy();
    let (withdrawn, is_dropped) = held(&background, Dropped::IsWithdrawn);
    drop(withdrawn);
    assert_eq!(
        is_dropped.recv_timeout(TEST_TIMEOUT),
        Err(RecvTimeoutError::Disconnected),
        "the task was dropped without running, while the first one runs"
    );
    drop((release, first));
}

#[test]
fn a_task_that_is_not_withdrawn_runs_although_its_outcome_is_dropped() {
    let (background, release, first) = busy();
    let (dropped, is_run) = held(&background, Dropped::Continues);
    drop((dropped, release, first));
    is_run.recv_timeout(TEST_TIMEOUT).unwrap();
}

#[test]
fn the_interest_in_a_running_task_ends_when_its_outcome_is_dropped() {
    let background = Background::new("wpc-test", 1);
    let (go, gone) = sync_channel::<()>(1);
    let (begin, begun) = sync_channel(1);
    let outcome = background.run(Dropped::IsWithdrawn, move |interest| {
        begin.send(interest.has_ended()).unwrap();
        gone.recv_timeout(TEST_TIMEOUT).unwrap();
        begin.send(interest.has_ended()).unwrap();
        Ok(())
    });
    assert!(!begun.recv_timeout(TEST_TIMEOUT).unwrap());
    drop(outcome);
    go.send(()).unwrap();
    assert!(begun.recv_timeout(TEST_TIMEOUT).unwrap());
}

#[test]
fn a_panic_reaches_the_caller_and_leaves_the_thread_running() {
    let background = Background::new("wpc-test", 1);
    let panics = background.run::<()>(Dropped::Continues, |_| panic!("in the background"));
    let panics = AssertUnwindSafe(|| pollster::block_on(panics.unwrap()));
    assert_eq!(catch_unwind(panics).unwrap_err().downcast_ref(), Some(&"in the background"));
    pollster::block_on(background.run(Dropped::Continues, |_| Ok(())).unwrap()).unwrap();
}

#[test]
fn a_thread_without_a_task_waits_for_the_next_one() {
    let id = |background: &Background| {
        let outcome = background.run(Dropped::IsWithdrawn, |_| Ok(std::thread::current().id()));
        pollster::block_on(outcome.unwrap()).unwrap()
    };
    let background = Background::with("wpc-test", 2, 0, TEST_TIMEOUT);
    let first = id(&background);
    eventually(|| background.0.lock().waiting == 1);
    assert_eq!(id(&background), first);
    let background = Background::with("wpc-test", 2, 0, Duration::from_millis(1));
    id(&background);
    eventually(|| background.0.lock().threads == 0);
}

#[test]
fn a_task_that_continues_costs_an_abandoned_thread() {
    let background = Background::replacing("wpc-test", 1, 1);
    let (release, released) = sync_channel::<()>(1);
    let (begin, begun) = sync_channel(2);
    let blocks = |released: Receiver<()>| {
        let begin = begin.clone();
        background.run(Dropped::IsAbandoned, move |_| {
            begin.send(()).unwrap();
            assert_eq!(released.recv_timeout(TEST_TIMEOUT), Err(RecvTimeoutError::Disconnected));
            Ok(())
        })
    };
    let first = blocks(released).unwrap();
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    let (release_second, released) = sync_channel::<()>(1);
    let second = blocks(released).unwrap();
    // Abandoned before it begins; it begins when the first one is abandoned.
    drop(second);
    drop(first);
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    eventually(|| background.abandoned() == 2);
    drop((release, release_second));
    eventually(|| background.abandoned() == 0);
}

fn eventually(holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TEST_TIMEOUT, "the condition never became true");
        std::thread::yield_now();
    }
}
