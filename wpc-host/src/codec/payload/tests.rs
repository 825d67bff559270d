use super::*;
use serde::Serializer;
use std::cell::Cell;

/// A value that can be serialized once.
struct Once(Cell<Option<Vec<u8>>>);

impl Serialize for Once {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.take().ok_or_else(|| serde::ser::Error::custom("read twice"))?.serialize(serializer)
    }
}

fn once(len: usize) -> Once {
    Once(Cell::new(Some(vec![7; len])))
}

#[test]
fn values_that_fit_are_encoded_in_place() {
    let (mut spare, mut buffer) = (vec![1], [0; 8]);
    let value = once(3);
    let mut payload = Unencoded::new(&value, &mut spare, 100);
    assert_eq!(payload.write(&mut buffer).unwrap(), Some(4));
    assert_eq!(buffer, [3, 7, 7, 7, 0, 0, 0, 0]);
}

#[test]
fn values_that_do_not_fit_are_encoded_once() {
    for capacity in 0..5 {
        let (mut spare, mut buffer) = (vec![1], [0; 8]);
        let value = (1_u8, once(3));
        let mut payload = Unencoded::new(&value, &mut spare, 100);
        let written = payload.write(&mut buffer[..capacity]).unwrap();
        assert_eq!(written, None);
        assert_eq!(payload.bytes().unwrap(), [1, 3, 7, 7, 7]);
    }
}

#[test]
fn bytes_can_be_read_without_a_write() {
    let mut spare = Vec::new();
    let value = once(2);
    let mut payload = Unencoded::new(&value, &mut spare, 100);
    assert_eq!(payload.bytes().unwrap(), [2, 7, 7]);
    assert_eq!(payload.bytes().unwrap(), [2, 7, 7]);
    let mut encoded = vec![2, 7, 7];
    assert_eq!(encoded.write(&mut [0; 2]).unwrap(), None);
    assert_eq!(encoded.bytes().unwrap(), [2, 7, 7]);
}

#[test]
fn values_over_the_limit_are_refused() {
    for capacity in [0, 8] {
        let (mut spare, mut buffer) = (Vec::new(), [0; 8]);
        let value = once(3);
        let mut payload = Unencoded::new(&value, &mut spare, 3);
        let refused = payload.write(&mut buffer[..capacity]).unwrap_err();
        assert!(matches!(refused, Refused::TooLarge { limit: 3, found: 4 }), "{refused}");
    }
    let (mut spare, value) = (Vec::new(), Once(Cell::new(None)));
    let refused = Unencoded::new(&value, &mut spare, 3).bytes().unwrap_err();
    assert!(matches!(refused, Refused::Unencodable(_)), "{refused}");
}
