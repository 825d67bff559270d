use super::*;

#[test]
fn the_server_is_assumed_to_answer_in_the_middle_of_a_request() {
    let before = humantime::parse_rfc3339("2030-01-01T00:00:00Z").unwrap();
    let elapsed = Duration::from_millis(200);
    let offset = |time: &str| {
        clock_offset(format!(r#"{{"server":{{"time":"{time}"}}}}"#).as_bytes(), before, elapsed)
    };
    assert_eq!(offset("2030-01-01T00:00:00.100Z"), Some(0));
    assert_eq!(offset("2030-01-01T00:00:01.600000001Z"), Some(1_500));
    assert_eq!(offset("2029-12-31T23:59:59.100Z"), Some(-1_000));
    assert_eq!(offset("yesterday"), None);
    assert_eq!(clock_offset(b"{}", before, elapsed), None);
    assert_eq!(clock_offset(b"", before, elapsed), None);
}

#[test]
fn events_of_the_client_library_are_counted() {
    let shared = Shared::new(Link::Down(Instant::now()));
    shared.on_event(&Event::Connected);
    assert!(matches!(*shared.link.borrow(), Link::Up(_)));
    shared.on_event(&Event::SlowConsumer(7));
    shared.on_event(&Event::SlowConsumer(7));
    assert_eq!(shared.dropped.load(Ordering::Relaxed), 2);
    shared.on_event(&Event::Disconnected);
    assert!(matches!(*shared.link.borrow(), Link::Down(_)));
    assert_eq!(shared.disconnects.load(Ordering::Relaxed), 1);
}

#[test]
fn only_violations_of_permissions_are_remembered() {
    let shared = Shared::new(Link::Down(Instant::now()));
    let error = |text: &str| Event::ServerError(ServerError::Other(text.to_owned()));
    shared.on_event(&error("maximum payload exceeded"));
    assert!(shared.violations.borrow().is_empty());
    let text = |subject: &str| format!("Permissions Violation for Publish to \"{subject}\"");
    for subject in ["x", "y", "x"] {
        shared.on_event(&error(&text(subject)));
    }
    assert_eq!(*shared.violations.borrow(), [text("y").into(), text("x").into()]);
    (0..100).for_each(|number| shared.on_event(&error(&text(&number.to_string()))));
    assert_eq!(shared.violations.borrow().len(), MAX_VIOLATIONS);
    shared.on_event(&Event::Connected);
    assert!(shared.violations.borrow().is_empty(), "permissions may be others now");
}
