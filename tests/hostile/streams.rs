//! Guests that yield too many items, or items that do not exist, and callers that do not read them.

use super::attack;
use crate::support::*;
use std::time::Duration;
use wpc_host::{CallOptions, StreamOptions, WorkerProcedureCall};

/// How many streams are not read.
const UNREAD: usize = 200;

/// Reads the items of `f` to the end, and returns their number and the code of the error.
fn read_all(wpc: &WorkerProcedureCall, call: CallOptions) -> (u64, &'static str) {
    let options = StreamOptions::new().call(call);
    let mut stream = wpc.stream_with::<(), ()>("f", (), &options).unwrap();
    let failed = (&mut stream).into_iter().find_map(Result::err).unwrap();
    (failed.delivered, failed.error.code().as_str())
}

#[test]
fn item_flood() {
    attack("item-flood").run(|wpc, module, here| {
        wpc.define_worker_function("f", module).unwrap();
        let limit = Duration::from_millis(500);
        // On a busy machine, the limit may pass before the guest yields many.
        eventually(|| {
            let (items, code) = read_all(wpc, here.clone().timeout(limit));
            assert_eq!(code, "timeout");
            items > 100
        });
    });
}

#[test]
fn items_that_are_never_read() {
    attack("item-flood").run(|wpc, module, here| {
        wpc.define_worker_function("f", module).unwrap();
        let options = StreamOptions::new().call(here.clone()).max_waiting_items(1);
        let unread = || wpc.stream_with::<(), ()>("f", (), &options).unwrap();
        let streams: Vec<_> = (0..UNREAD).map(|_| unread()).collect();
        // One worker serves all of them, as many at a time as the definition allows.
        eventually(|| wpc.metrics().suspended_calls > 1);
        drop(streams);
        eventually(|| wpc.metrics().suspended_calls == 0);
    });
}

#[test]
fn item_outside() {
    attack("item-outside").run(|wpc, module, here| {
        wpc.define_worker_function("f", module).unwrap();
        assert_eq!(read_all(wpc, here.clone()), (0, "bad_reply"));
    });
}

#[test]
fn a_flood_of_items_needs_a_reader() {
    attack("item-flood").ends_with("yields_items");
}
