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
    let first = background.run(Dropped::GoesOn, move |_| {
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
    let second = background.run(Dropped::GoesOn, |_| Ok(std::thread::current().id()));
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
    let (dropped, is_run) = held(&background, Dropped::GoesOn);
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
    let panics = background.run::<()>(Dropped::GoesOn, |_| panic!("in the background"));
    let panics = AssertUnwindSafe(|| pollster::block_on(panics.unwrap()));
    assert_eq!(catch_unwind(panics).unwrap_err().downcast_ref(), Some(&"in the background"));
    pollster::block_on(background.run(Dropped::GoesOn, |_| Ok(())).unwrap()).unwrap();
}
