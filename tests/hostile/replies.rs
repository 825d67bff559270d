//! Buffers, replies and values that lie outside the guest's memory or do not decode.

use super::{attack, hostile};
use crate::support::{code, immediate_restarts, pool, pool_with};
use wpc_host::Error;

#[test]
fn buffer_outside() {
    attack("buffer-outside").ends_with("bad_reply");
}

#[test]
fn buffer_crosses_the_end() {
    attack("buffer-crosses-the-end").ends_with("bad_reply");
}

#[test]
fn buffer_overflows() {
    attack("buffer-overflows").ends_with("bad_reply");
}

#[test]
fn reply_outside() {
    attack("reply-outside").ends_with("bad_reply");
}

#[test]
fn reply_crosses_the_end() {
    attack("reply-crosses-the-end").ends_with("bad_reply");
}

#[test]
fn reply_overflows() {
    attack("reply-overflows").ends_with("bad_reply");
}

#[test]
fn reply_without_length() {
    attack("reply-without-length").ends_with("bad_reply");
}

#[test]
fn reply_of_4_gib() {
    attack("reply-of-4-gib").ends_with("result_too_large");
}

#[test]
fn reply_empty() {
    attack("reply-empty").ends_with("bad_reply");
}

#[test]
fn reply_of_an_unknown_kind() {
    attack("reply-of-an-unknown-kind").ends_with("bad_reply");
}

#[test]
fn reply_with_garbage() {
    attack("reply-with-garbage").ends_with("result_decode");
}

#[test]
fn reply_with_garbage_error() {
    attack("reply-with-garbage-error").ends_with("bad_reply");
}

#[test]
fn reply_with_garbage_refusal() {
    attack("reply-with-garbage-refusal").ends_with("bad_reply");
}

#[test]
fn value_outside() {
    attack("value-outside").ends_with("bad_reply");
}

#[test]
fn value_overflows() {
    attack("value-overflows").ends_with("bad_reply");
}

#[test]
fn value_of_4_gib() {
    attack("value-of-4-gib").ends_with("result_too_large");
}

#[test]
fn value_without_length() {
    attack("value-without-length").ends_with("bad_reply");
}

#[test]
fn value_reference_is_truncated() {
    attack("value-reference-is-truncated").ends_with("bad_reply");
}

#[test]
fn value_refers_to_its_reply() {
    attack("value-refers-to-its-reply").ends_with("result_decode");
}

#[test]
fn reply_is_the_argument_buffer() {
    attack("reply-is-the-argument-buffer").ends_with("value");
}

#[test]
fn reply_nests_for_ever() {
    attack("reply-nests-for-ever").ends_with("result_decode");
}

#[test]
fn init_hook_replies_outside() {
    attack("init-hook-replies-outside").ends_with("bad_reply");
}

#[test]
fn errors_have_the_numbers_from_the_reply() {
    let wpc = pool_with(1, immediate_restarts());
    for (name, number) in [
        ("reply-outside", "131072"),
        ("value-outside", "131071"),
        ("value-reference-is-truncated", "9"),
        ("reply-of-an-unknown-kind", "7"),
    ] {
        wpc.define_worker_function("f", hostile(name)).unwrap();
        let error = wpc.call::<()>("f", ()).unwrap_err();
        let Error::BadReply { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains(number), "{name}: {reason}");
    }
}

#[test]
fn deeply_nested_results_do_not_overflow_the_host_stack() {
    #[derive(Debug, serde::Deserialize)]
    enum Tree {
        Leaf,
        #[expect(dead_code, reason = "it is never decoded")]
        Boxed(Box<Tree>),
    }
    let wpc = pool(1);
    wpc.define_worker_function("f", hostile("reply-nests-for-ever")).unwrap();
    assert_eq!(code(wpc.call::<Tree>("f", ())), "result_decode");
}
