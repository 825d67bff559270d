//! Messages as an attacker writes them: reading them does not panic, and takes memory in proportion to their length.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use wpc_cluster::wire::{
    ArgumentsForm, Body, Control, Frame, Heartbeat, Malformed, Refusal, Reply, Request, VERSION,
    Window,
};
use wpc_host::{Error, ErrorReport};

/// The memory that the texts and lists of a message take is at most this often its length: a string takes 24 bytes, and one
/// byte of the message can claim an empty one.
const FACTOR: usize = 32;

/// Reads the message as each kind, and returns how many of them accept it.
fn read(message: &[u8]) -> usize {
    let bytes = Bytes::copy_from_slice(message);
    let limit = FACTOR * message.len() + 64;
    let mut accepted = 0;
    if let Ok((request, body)) = Request::decode(&bytes) {
        accepted += 1;
        let texts = [Some(&request.function), request.correlation_id.as_ref()];
        let taken: usize = texts.into_iter().flatten().map(String::capacity).sum();
        assert!(taken + body.len() <= limit);
        assert_eq!(Request::decode(&request.encode(&body)).unwrap().1, body);
    }
    if let Ok((frame, body)) = Frame::decode(&bytes) {
        accepted += 1;
        assert!(body.len() < message.len());
        let text = match &frame {
            Frame::Failed { report, .. } => report.text.capacity(),
            Frame::Refused(Refusal::Malformed(text) | Refusal::Payload(text)) => text.capacity(),
            _ => 0,
        };
        assert!(text <= limit);
        assert_eq!(Frame::decode(&frame.encode(&body)).unwrap(), (frame, body));
    }
    if let Ok(control) = Control::decode(&bytes) {
        accepted += 1;
        if let Control::Cancel { inboxes } | Control::Ask { inboxes } = &control {
            let taken = inboxes.capacity() * size_of::<String>();
            let texts: usize = inboxes.iter().map(String::capacity).sum();
            assert!(taken + texts <= limit, "{taken} + {texts} for {} bytes", message.len());
        }
        assert_eq!(Control::decode(&control.encode()).unwrap(), control);
    }
    if let Ok(heartbeat) = Heartbeat::decode(&bytes) {
        accepted += 1;
        assert!(heartbeat.version.capacity() + heartbeat.problem.capacity() <= limit);
        assert_eq!(Heartbeat::decode(&heartbeat.encode()).unwrap(), heartbeat);
    }
    accepted
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zA-Z0-9_.ä-]{0,40}").unwrap()
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Inline),
        (text(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(name, length, sha256)| Body::Stored {
            name,
            length,
            sha256
        }),
    ]
}

/// Valid messages of every kind.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let request = (
        any::<[u64; 2]>(),
        text(),
        body(),
        any::<Option<u64>>(),
        any::<bool>(),
        vec(any::<u8>(), 0..40),
    )
        .prop_map(|([deadline, fuel], function, body, affinity, streams, bytes)| {
            let mut request = Request::new(deadline, function.clone());
            request.arguments = ArgumentsForm::Encoded;
            request.body = body;
            request.fuel = Some(fuel);
            request.affinity = affinity;
            request.stream = streams.then(|| Window::new(3, 4));
            request.trace = Some((function.clone(), Some(function.clone())));
            request.correlation_id = Some(function);
            request.encode(&bytes)
        });
    let control = (vec(text(), 0..6), any::<[u32; 2]>(), 0..3_u8).prop_map(
        |(inboxes, [items, bytes], kind)| {
            let control = match kind {
                0 => Control::Cancel { inboxes },
                1 => Control::Ask { inboxes },
                _ => Control::Credit {
                    inbox: inboxes.into_iter().next().unwrap_or_default(),
                    items,
                    bytes,
                },
            };
            control.encode()
        },
    );
    let heartbeat =
        (any::<[u64; 3]>(), text()).prop_map(|([epoch, accepted, refused], problem)| {
            let mut heartbeat = Heartbeat::new(epoch);
            (heartbeat.accepted, heartbeat.refused) = (accepted, refused);
            (heartbeat.version, heartbeat.problem) = (problem.clone(), problem);
            heartbeat.encode()
        });
    let frame = (any::<u64>(), any::<[u8; 32]>(), body(), text(), 0..7_u8).prop_map(
        |(number, definition, body, text, kind)| {
            let report = || {
                let guest = Error::function_not_defined(&text);
                Box::new(ErrorReport::from(&guest))
            };
            let frame = match kind {
                0 => Frame::Item(number),
                1 => {
                    let mut reply = Reply::new(definition, number);
                    (reply.body, reply.fuel_used) = (body, Some(number));
                    Frame::Reply(Box::new(reply))
                }
                2 => Frame::UnknownCall,
                3 => Frame::Failed { report: report(), items: number, fuel_used: Some(number) },
                4 => Frame::Refused(Refusal::Pool(report())),
                5 => Frame::Stopped { fuel_used: number },
                _ => Frame::Refused(Refusal::Malformed(text.clone())),
            };
            frame.encode(text.as_bytes())
        },
    );
    prop_oneof![request, control, heartbeat, frame].prop_map(|bytes: Bytes| bytes.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes in vec(any::<u8>(), 0..300), is_ours in any::<bool>()) {
        if is_ours && let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        read(&bytes);
    }

    #[test]
    fn a_valid_message_is_read_by_its_kind_and_each_part_of_it_without_a_panic(bytes in message()) {
        prop_assert!(read(&bytes) >= 1);
        for end in 0..bytes.len() {
            read(&bytes[..end]);
        }
    }

    #[test]
    fn a_changed_message_is_read_without_a_panic(
        mut bytes in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read(&bytes);
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut bytes = Heartbeat::new(1).encode().to_vec();
    bytes[0] = VERSION + 1;
    let error = Heartbeat::decode(&bytes.into()).unwrap_err();
    assert_eq!(error, Malformed::Version(VERSION + 1));
    assert_eq!(Heartbeat::decode(&Bytes::new()).unwrap_err(), Malformed::Empty);
}

#[test]
fn a_claimed_length_is_not_believed() {
    // The control message `Cancel` with as many inboxes as a number can state.
    let bytes = [VERSION, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(Control::decode(&Bytes::copy_from_slice(&bytes)), Err(Malformed::Head));
}

#[test]
fn texts_that_are_too_long_are_refused() {
    let request = Request::new(1, "x".repeat(256));
    assert_eq!(Request::decode(&request.encode(&[])), Err(Malformed::TooLong("function")));
    let control = Control::Cancel { inboxes: vec![String::new(); 1_025] };
    assert_eq!(Control::decode(&control.encode()), Err(Malformed::TooLong("inboxes")));
    let mut heartbeat = Heartbeat::new(1);
    heartbeat.problem = "x".repeat(4_097);
    assert_eq!(Heartbeat::decode(&heartbeat.encode()), Err(Malformed::TooLong("problem")));
}
