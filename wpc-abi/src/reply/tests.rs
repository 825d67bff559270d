use super::*;
use alloc::string::ToString as _;

#[test]
fn a_reply_is_the_encoding_of_a_result() {
    let ok: Result<u32, GuestError> = Ok(300);
    let bytes = postcard::to_allocvec(&ok).unwrap();
    assert_eq!(Reply::split(&bytes), Some(Reply::Value(&[0xac, 0x02])));

    let error: Result<u32, GuestError> = Err(GuestError::new("a", "b"));
    let bytes = postcard::to_allocvec(&error).unwrap();
    assert_eq!(Reply::split(&bytes), Some(Reply::Error(&[1, b'a', 1, b'b', 0])));
}

#[test]
fn an_error_decodes_with_and_without_its_payload() {
    let plain = GuestError::new("Why", "too long").with_stack("in f");
    let old = postcard::to_allocvec(&plain).unwrap();
    assert_eq!(GuestError::decode(&old), Ok(plain.clone()));
    assert_eq!(plain_error(&old), old);

    let more = |payload: Option<&[u8]>| {
        [old.clone(), postcard::to_allocvec(&("TooLong", payload)).unwrap()].concat()
    };
    let full = more(Some(&[1, 9]));
    let error = GuestError::decode(&full).unwrap();
    assert_eq!((error.variant.as_str(), error.payload.as_deref()), ("TooLong", Some(&[1, 9][..])));
    assert_eq!(error.to_string(), "Why::TooLong: too long");
    assert_eq!(plain_error(&full), old);
    // A guest that is older than variant and payload reads the strings only.
    assert_eq!(postcard::from_bytes::<GuestError>(&full), Ok(plain));
    let later = [full.as_slice(), &[7, 7]].concat();
    assert_eq!(GuestError::decode(&later), Ok(error));
    for end in 0..full.len() {
        // Only a cut after the three strings leaves a valid error, in the older form.
        assert_eq!(GuestError::decode(&full[..end]).is_ok(), end == old.len(), "cut at {end}");
    }
    assert_eq!(GuestError::decode(&more(None)).unwrap().payload, None);
    let largest = alloc::vec![0; MAX_PAYLOAD];
    assert_eq!(GuestError::decode(&more(Some(&largest))).unwrap().payload, Some(largest));
    let larger = alloc::vec![0; MAX_PAYLOAD + 1];
    let error = GuestError::decode(&more(Some(&larger))).unwrap();
    assert_eq!((error.variant.as_str(), error.payload), ("TooLong", None));
}

#[test]
fn a_name_refers_to_an_error_by_type_variant_or_both() {
    let mut error = GuestError::new("Why", "");
    assert!(error.is_called("Why") && !error.is_called("") && !error.is_called("Why::"));
    error.variant = "Empty".into();
    for (name, refers) in [
        ("Why", true),
        ("Empty", true),
        ("Why::Empty", true),
        ("Other::Empty", false),
        ("Why::Why", false),
    ] {
        assert_eq!(error.is_called(name), refers, "{name}");
    }
}

#[test]
fn unknown_kinds_and_empty_bytes_are_not_replies() {
    assert_eq!(Reply::split(&[]), None);
    for tag in 3..=255 {
        assert_eq!(Reply::split(&[tag; 3]), None);
    }
}

#[test]
fn a_value_elsewhere_is_its_address_and_length_only() {
    let reply = elsewhere(0x0102_0304, u32::MAX);
    let expected = Reply::Elsewhere { ptr: 0x0102_0304, len: u32::MAX };
    assert_eq!(Reply::split(&reply), Some(expected));
    assert_eq!(reply, [3, 4, 3, 2, 1, 255, 255, 255, 255]);
    assert_eq!(Reply::split(&reply[..8]), None);
    assert_eq!(Reply::split(&[reply.as_slice(), &[0]].concat()), None);
}

#[test]
fn lengths_match_postcard() {
    for len in [0, 1, 127, 128, 16_383, 16_384, u32::MAX as usize, usize::MAX] {
        let (bytes, used) = length(len);
        assert_eq!(&bytes[..used], postcard::to_allocvec(&len).unwrap());
    }
}

#[test]
fn packing_preserves_extreme_values() {
    for (ptr, len) in [(0, 0), (1, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
        assert_eq!(unpack(pack(ptr, len)), (ptr, len));
    }
}
