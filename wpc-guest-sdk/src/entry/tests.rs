use super::arguments::{TakeAny, decode_arguments};
use super::probe::Probe;
use super::reply::{
    error_reply, plain_error_reply, strings_reply, value_reply, write_number, zigzag,
};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use serde::Serialize;
use wpc_abi::GuestError;
use wpc_abi::reply::{MAX_PAYLOAD, TAG_BAD_ARGUMENTS, TAG_ERROR};

#[test]
fn replies_of_strings_match_postcard() {
    for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
        let text = "x".repeat(len);
        let mut error = GuestError::new(text.clone(), "m").with_stack(text.clone());
        let postcard = postcard::to_allocvec(&(TAG_ERROR, &error)).unwrap();
        assert_eq!(error_reply(vec![7], &error), postcard);
        for payload in [None, Some(vec![5; len])] {
            (error.variant, error.payload) = ("V".into(), payload);
            assert_eq!(plain_error_reply(vec![7], &error), postcard);
            let reply = error_reply(vec![7], &error);
            assert_eq!(wpc_abi::reply::plain_error(&reply[1..]), &postcard[1..]);
            error.payload = error.payload.filter(|payload| payload.len() <= MAX_PAYLOAD);
            assert_eq!(GuestError::decode(&reply[1..]), Ok(error.clone()));
        }
        let postcard = postcard::to_allocvec(&(TAG_BAD_ARGUMENTS, &text)).unwrap();
        assert_eq!(strings_reply(Vec::new(), TAG_BAD_ARGUMENTS, &[&text]), postcard);
    }
}

#[test]
fn numbers_match_postcard() {
    fn check(number: u64, postcard: &[u8]) {
        let out = [const { Cell::new(0) }; 10];
        let used = write_number(&out, number) as usize;
        assert_eq!(out[..used].iter().map(Cell::get).collect::<Vec<_>>(), postcard);
    }
    for shift in 0..64 {
        for number in [1 << shift, (1 << shift) - 1, u64::MAX >> shift] {
            check(number, &postcard::to_allocvec(&number).unwrap());
            let number = number.cast_signed();
            for number in [number, number.wrapping_neg()] {
                check(zigzag(number), &postcard::to_allocvec(&number).unwrap());
            }
        }
    }
    check(zigzag(i16::MIN.into()), &postcard::to_allocvec(&i16::MIN).unwrap());
    check(zigzag(i32::MIN.into()), &postcard::to_allocvec(&i32::MIN).unwrap());
}

#[test]
fn trailing_and_missing_bytes_are_rejected() {
    assert_eq!(decode_arguments(&[1, 2]), Ok((1_u8, 2_u8)));
    assert_eq!(decode_arguments(&[]), Ok(()));
    assert_eq!(decode_arguments::<u8>(&[]).unwrap_err(), "the bytes end too early");
    assert_eq!(
        decode_arguments::<u8>(&[1; 12]).unwrap_err(),
        "11 trailing bytes after the last argument"
    );
}

#[test]
fn arguments_are_decoded_one_after_another() {
    let bytes = postcard::to_allocvec(&(7_u16, &[1_u8, 2][..], "text", vec![3_u8])).unwrap();
    let mut rest = bytes.as_slice();
    assert_eq!(<Probe<u16>>::take(&mut rest), Ok(7));
    assert_eq!(<Probe<Vec<u8>>>::take(&mut rest), Ok(vec![1, 2]));
    assert_eq!(<Probe<&str>>::take(&mut rest), Ok("text"));
    let last = rest;
    assert_eq!(<Probe<Vec<u8>>>::take(&mut rest), Ok(vec![3]));
    assert!(rest.is_empty());
    assert!(<Probe<Vec<u8>>>::take(&mut &last[..1]).is_err());
    assert!(<Probe<Vec<u8>>>::take(&mut rest).is_err());
}

#[test]
fn a_result_that_does_not_encode_is_a_guest_error() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let reply = value_reply(Vec::new(), &Refuses);
    let (tag, error): (u8, GuestError) = postcard::from_bytes(&reply).unwrap();
    assert_eq!((tag, error.name.as_str()), (TAG_ERROR, "EncodeError"));
    assert!(error.message.ends_with("a type rejects being encoded"), "{}", error.message);
}
