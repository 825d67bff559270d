//! Arbitrary messages of a cluster: nothing panics, and what is read can be written and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wpc_cluster::wire::{Heartbeat, Control, Frame, Request};

fuzz_target!(|message: &[u8]| {
    let message = Bytes::copy_from_slice(message);
    if let Ok((request, body)) = Request::decode(&message) {
        assert!(body.len() < message.len());
        assert_eq!(Request::decode(&request.encode(&body)), Ok((request, body)));
    }
    if let Ok((frame, body)) = Frame::decode(&message) {
        assert!(body.len() < message.len());
        assert_eq!(Frame::decode(&frame.encode(&body)), Ok((frame, body)));
    }
    if let Ok(control) = Control::decode(&message) {
        assert_eq!(Control::decode(&control.encode()), Ok(control));
    }
    if let Ok(heartbeat) = Heartbeat::decode(&message) {
        assert_eq!(Heartbeat::decode(&heartbeat.encode()), Ok(heartbeat));
    }
});
