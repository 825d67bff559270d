use super::*;

fn call() -> Call {
    Call::new(CallId(1), "f".into(), Generation(1), Instant::now(), Duration::from_secs(60))
}

fn stopped(ran: bool) -> Outcome {
    Err(Error::Stopped { function: "f".into(), ran })
}

#[test]
fn only_the_first_answer_counts() {
    let call = call();
    assert!(call.begin());
    call.answer_with(stopped);
    call.answer_with(|_| panic!("the call is already answered"));
    call.cancel();
    assert!(matches!(call.wait(), Err(Error::Stopped { ran: true, .. })));
}

#[test]
fn a_cancelled_call_does_not_begin() {
    let call = call();
    call.cancel();
    assert!(!call.begin());
    assert!(matches!(call.wait(), Err(Error::Cancelled { ran: false, .. })));
}

#[test]
fn cancelling_a_running_call_leaves_the_answer_to_its_worker() {
    let call = call();
    assert!(call.begin());
    call.cancel();
    assert!(call.outcome().is_none());
    assert_eq!(call.interrupted(Instant::now()), Some(Interrupt::Cancelled));
}

#[test]
fn a_queued_call_ends_at_its_time_limit() {
    let call =
        Call::new(CallId(1), "f".into(), Generation(1), Instant::now(), Duration::from_nanos(1));
    assert!(matches!(call.wait(), Err(Error::Timeout { ran: false, .. })));
}

#[test]
fn only_one_of_several_racing_answers_is_kept() {
    for _ in 0..200 {
        let call = Arc::new(call());
        #[expect(clippy::disallowed_methods, reason = "a test of racing threads")]
        let racers = [0, 1, 2].map(|racer| {
            let call = Arc::clone(&call);
            std::thread::spawn(move || match racer {
                0 => {
                    if call.begin() {
                        call.answer_with(stopped);
                    }
                }
                1 => call.cancel(),
                _ => call.answer_with(stopped),
            })
        });
        let first = call.wait().as_ref().unwrap_err().code();
        for racer in racers {
            racer.join().unwrap();
        }
        assert_eq!(call.wait().as_ref().unwrap_err().code(), first);
    }
}
