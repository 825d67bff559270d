//! Arguments on their way into a guest: encoded already, or encoded right where the guest reads them. It knows nothing
//! of guests.

use crate::codec::encode::encode_into;
use crate::error::Error;
use crate::system::buffers::Buffers;
use serde::Serialize;

/// What a guest is called with.
pub(crate) trait Payload {
    /// How many bytes it has at least, as far as is known.
    fn least(&self) -> usize;

    /// Writes it to the front of `place` and tells how many bytes it is; `None` where it does not fit there, and only
    /// [`bytes`](Self::bytes) has it.
    fn write(&mut self, place: &mut [u8]) -> Result<Option<usize>, Refused>;

    /// Its bytes, unless they were written elsewhere.
    fn bytes(&mut self) -> Result<&[u8], Refused>;
}

/// Why there is no payload.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the arguments do not encode: {0}")]
    Unencodable(String),
    #[error("the arguments have {found} bytes, and the limit is {limit}")]
    TooLarge { limit: usize, found: usize },
}

impl Refused {
    /// Whether the error says that there was no call, for want of a payload.
    pub(crate) fn caused(error: &Error) -> bool {
        matches!(error, Error::ArgumentsEncode { .. } | Error::ArgumentsTooLarge { .. })
    }

    pub(crate) fn error(self, function: &str) -> Error {
        let function = function.to_owned();
        match self {
            Self::Unencodable(reason) => Error::ArgumentsEncode { function, reason },
            Self::TooLarge { limit, found } => Error::ArgumentsTooLarge { function, limit, found },
        }
    }
}

/// Refuses what has more bytes than it may.
#[inline]
pub(crate) fn check_size(found: usize, limit: usize) -> Result<(), Refused> {
    if found > limit { Err(Refused::TooLarge { limit, found }) } else { Ok(()) }
}

impl<A: AsRef<[u8]>> Payload for A {
    #[inline]
    fn least(&self) -> usize {
        self.as_ref().len()
    }

    #[inline]
    fn write(&mut self, place: &mut [u8]) -> Result<Option<usize>, Refused> {
        let bytes = (*self).as_ref();
        Ok(place.get_mut(..bytes.len()).map(|place| {
            place.copy_from_slice(bytes);
            bytes.len()
        }))
    }

    #[inline]
    fn bytes(&mut self) -> Result<&[u8], Refused> {
        Ok((*self).as_ref())
    }
}

/// Values that are not encoded yet. It is done once, whoever asks: what a value writes may be gone then.
pub(crate) struct Unencoded<'a, T> {
    value: &'a T,
    /// Where they go that do not fit elsewhere.
    spare: &'a mut Vec<u8>,
    limit: usize,
    /// Where memory for large ones comes from.
    buffers: Option<&'a Buffers>,
    is_encoded: bool,
}

impl<'a, T: Serialize> Unencoded<'a, T> {
    pub(crate) fn new(value: &'a T, spare: &'a mut Vec<u8>, limit: usize) -> Self {
        spare.clear();
        Self { value, spare, limit, buffers: None, is_encoded: false }
    }

    /// The same with memory from `buffers`.
    pub(crate) fn in_buffers(self, buffers: &'a Buffers) -> Self {
        Self { buffers: Some(buffers), ..self }
    }
}

impl<T: Serialize> Payload for Unencoded<'_, T> {
    #[inline]
    fn least(&self) -> usize {
        0
    }

    #[inline]
    fn write(&mut self, place: &mut [u8]) -> Result<Option<usize>, Refused> {
        self.is_encoded = true;
        let written = encode_into(self.value, place, self.spare, self.buffers)
            .map_err(|error| Refused::Unencodable(error.to_string()))?;
        check_size(written.unwrap_or(self.spare.len()), self.limit)?;
        Ok(written)
    }

    fn bytes(&mut self) -> Result<&[u8], Refused> {
        if !self.is_encoded {
            self.write(&mut [])?;
        }
        Ok(self.spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serializer;
    use std::cell::Cell;

    /// Can be read once.
    struct Once(Cell<Option<Vec<u8>>>);

    impl Serialize for Once {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0
                .take()
                .ok_or_else(|| serde::ser::Error::custom("read twice"))?
                .serialize(serializer)
        }
    }

    fn once(len: usize) -> Once {
        Once(Cell::new(Some(vec![7; len])))
    }

    #[test]
    fn values_are_encoded_where_they_fit() {
        let (mut spare, mut place) = (vec![1], [0; 8]);
        let value = once(3);
        let mut payload = Unencoded::new(&value, &mut spare, 100);
        assert_eq!(payload.write(&mut place).unwrap(), Some(4));
        assert_eq!(place, [3, 7, 7, 7, 0, 0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_encoded_once_nevertheless() {
        for room in 0..5 {
            let (mut spare, mut place) = (vec![1], [0; 8]);
            let value = (1_u8, once(3));
            let mut payload = Unencoded::new(&value, &mut spare, 100);
            let written = payload.write(&mut place[..room]).unwrap();
            assert_eq!(written, None);
            assert_eq!(payload.bytes().unwrap(), [1, 3, 7, 7, 7]);
        }
    }

    #[test]
    fn bytes_are_to_be_had_without_a_place() {
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
    fn what_is_too_large_is_refused_wherever_it_was_encoded() {
        for room in [0, 8] {
            let (mut spare, mut place) = (Vec::new(), [0; 8]);
            let value = once(3);
            let mut payload = Unencoded::new(&value, &mut spare, 3);
            let refused = payload.write(&mut place[..room]).unwrap_err();
            assert!(matches!(refused, Refused::TooLarge { limit: 3, found: 4 }), "{refused}");
        }
        let (mut spare, value) = (Vec::new(), Once(Cell::new(None)));
        let refused = Unencoded::new(&value, &mut spare, 3).bytes().unwrap_err();
        assert!(matches!(refused, Refused::Unencodable(_)), "{refused}");
    }
}
