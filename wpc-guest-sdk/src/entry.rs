//! The wall's inner side: the buffer that the host fills, and the reply that it reads.

use crate::text;
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(any(test, target_arch = "wasm32"))]
use core::cell::Cell;
use core::marker::PhantomData;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use wpc_abi::GuestError;
use wpc_abi::describe::{NamedType, Schema};
use wpc_abi::reply::{TAG_ERROR, TAG_VALUE, length};

#[cfg(target_arch = "wasm32")]
pub use wall::{ReplyOfAny, Value, arguments, reply_bad_arguments, reply_error, reply_left_over};

/// What has one user at any time, and is there in a sandbox only.
#[cfg(target_arch = "wasm32")]
mod wall {
    use super::{error_reply, left_over, strings_reply, value_reply, write_number, zigzag};
    use crate::one_thread::OneThread;
    use crate::text;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::cell::Cell;
    use serde::Serialize;
    use wpc_abi::GuestError;
    use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_VALUE, elsewhere, pack};

    /// Where the host writes short arguments: a guest that is given no others, and allocates nothing itself, has no heap.
    static SHORT: OneThread<Cell<[u8; 1024]>> = OneThread(Cell::new([0; 1024]));

    /// Where it writes others.
    static BUFFER: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

    /// Where the last reply lies until the next call.
    static REPLY: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

    /// Where a number lies as the last reply: its kind and the number, at most ten bytes.
    static NUMBER: OneThread<Cell<[u8; 11]>> = OneThread(Cell::new([TAG_VALUE; 11]));

    /// The value that the last reply tells the place of, where the function gave it away.
    static VALUE: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

    /// The contract's buffer export; the host calls it before the first call.
    #[unsafe(no_mangle)]
    extern "C" fn wpc_buffer_v1(len: usize) -> *mut u8 {
        #[cfg(feature = "std")]
        crate::panics::tell_of_panics();
        // The old buffer goes before the new one comes, so that its memory can be used again.
        BUFFER.0.set(Vec::new());
        if len <= size_of_val(&SHORT.0) {
            return SHORT.0.as_ptr().cast();
        }
        let mut buffer = Vec::with_capacity(len);
        let place = buffer.as_mut_ptr();
        BUFFER.0.set(buffer);
        place
    }

    /// The arguments' bytes.
    ///
    /// # Safety
    ///
    /// `ptr` and `len` are what the host passed to a worker function: a place in the buffer that
    /// holds `len` bytes it wrote, untouched until the function returns; `scope` is a local of that function, so
    /// that nothing keeps them longer.
    pub unsafe fn arguments<'a>(_scope: &'a (), ptr: *const u8, len: usize) -> &'a [u8] {
        if len == 0 {
            return &[];
        }
        // SAFETY: the caller's promise.
        unsafe { core::slice::from_raw_parts(ptr, len) }
    }

    /// The reply that says why an argument is none.
    #[cold]
    pub fn reply_bad_arguments(error: &postcard::Error) -> u64 {
        let why = text::decode_reason(error);
        keep(strings_reply(REPLY.0.take(), TAG_BAD_ARGUMENTS, &[why]))
    }

    /// The reply that says that there is more than the arguments.
    #[cold]
    pub fn reply_left_over(rest: &[u8]) -> u64 {
        keep(strings_reply(REPLY.0.take(), TAG_BAD_ARGUMENTS, &[&left_over(rest)]))
    }

    /// A function's value on its way out. The right `into_reply` is found by its type: a string or bytes
    /// stay where they are, and their place is told; numbers of several bytes are written by hand; anything else is encoded.
    ///
    /// What a function returns by reference lies in the arguments' buffer, where it stays until the next call, or
    /// for ever: everything else it was given went into it, and is gone when it returns.
    #[derive(Debug)]
    pub struct Value<T>(pub T);

    /// For every value that can be encoded.
    pub trait ReplyOfAny {
        /// The reply, packed.
        fn into_reply(self) -> u64;
    }

    impl<T: Serialize> ReplyOfAny for Value<T> {
        fn into_reply(self) -> u64 {
            keep(value_reply(REPLY.0.take(), &self.0))
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
    fn reply_number(number: u64) -> u64 {
        let reply: &Cell<[u8]> = &NUMBER.0;
        let used = write_number(&reply.as_slice_of_cells()[1..], number);
        pack(reply.as_ptr().addr() as u32, 1 + used)
    }

    macro_rules! numbers {
        ($($type:ident)* => $encoded:expr) => {
            $(impl Value<$type> {
                /// The reply, packed.
                #[must_use]
                pub fn into_reply(self) -> u64 {
                    reply_number($encoded(self.0.into()))
                }
            })*
        };
    }

    numbers!(u16 u32 u64 => core::convert::identity);
    numbers!(i16 i32 i64 => zigzag);

    impl Value<&[u8]> {
        /// The reply, packed.
        #[must_use]
        #[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
        pub fn into_reply(self) -> u64 {
            // Where it is short, the host is spared the second look, and the length is one byte.
            const SHORT: usize = 127;
            let mut reply = REPLY.0.take();
            reply.clear();
            if self.0.len() <= SHORT {
                reply.push(TAG_VALUE);
                reply.push(self.0.len() as u8);
                reply.extend_from_slice(self.0);
            } else {
                let place = self.0.as_ptr().addr() as u32;
                reply.extend_from_slice(&elsewhere(place, self.0.len() as u32));
            }
            keep(reply)
        }
    }

    impl Value<&str> {
        /// The reply, packed.
        #[must_use]
        pub fn into_reply(self) -> u64 {
            Value(self.0.as_bytes()).into_reply()
        }
    }

    impl Value<Vec<u8>> {
        /// The reply, packed.
        #[must_use]
        pub fn into_reply(self) -> u64 {
            let reply = Value(self.0.as_slice()).into_reply();
            VALUE.0.set(self.0);
            reply
        }
    }

    impl Value<String> {
        /// The reply, packed.
        #[must_use]
        pub fn into_reply(self) -> u64 {
            Value(self.0.into_bytes()).into_reply()
        }
    }

    /// The reply that carries a guest error.
    #[cold]
    pub fn reply_error(error: &GuestError) -> u64 {
        keep(error_reply(REPLY.0.take(), error))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
    fn keep(reply: Vec<u8>) -> u64 {
        let packed = pack(reply.as_ptr().addr() as u32, reply.len() as u32);
        REPLY.0.set(reply);
        packed
    }
}

/// A function's arguments: all there is in `bytes`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn decode_arguments<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((arguments, [])) => Ok(arguments),
        Ok((_, rest)) => Err(left_over(rest)),
        Err(error) => Err(text::decode_reason(&error).into()),
    }
}

fn left_over(rest: &[u8]) -> String {
    text::joined(&[&text::trailing(rest.len()), " after the last argument"])
}

/// Takes an argument off the front of what is left of them.
pub trait TakeAny<'a>: Sized {
    /// What the argument is.
    type Argument;

    /// The argument.
    ///
    /// # Errors
    ///
    /// Why the bytes are none.
    fn take(rest: &mut &'a [u8]) -> postcard::Result<Self::Argument>;
}

impl<'a, T: Deserialize<'a>> TakeAny<'a> for Probe<T> {
    type Argument = T;

    fn take(rest: &mut &'a [u8]) -> postcard::Result<T> {
        let (argument, left) = postcard::take_from_bytes(rest)?;
        *rest = left;
        Ok(argument)
    }
}

impl Probe<Vec<u8>> {
    /// Bytes are copied in one piece, which serde would take apart.
    ///
    /// # Errors
    ///
    /// Why there are none.
    pub fn take(rest: &mut &[u8]) -> postcard::Result<Vec<u8>> {
        <Probe<&[u8]> as TakeAny<'_>>::take(rest).map(<[u8]>::to_vec)
    }
}

/// The reply that carries a value, in a room that is used again.
pub(crate) fn value_reply<T: Serialize>(mut room: Vec<u8>, value: &T) -> Vec<u8> {
    room.clear();
    room.push(TAG_VALUE);
    match postcard::serialize_with_flavor(value, Room(room)) {
        Ok(reply) => reply,
        Err(error) => unencodable(&error),
    }
}

/// A number as postcard has it, seven bits to a byte, and how many bytes those are.
#[cfg(any(test, target_arch = "wasm32"))]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
fn write_number(place: &[Cell<u8>], number: u64) -> u32 {
    let (mut left, mut used) = (number, 0);
    for byte in place {
        used += 1;
        if left < 0x80 {
            byte.set(left as u8);
            break;
        }
        byte.set(left as u8 | 0x80);
        left >>= 7;
    }
    used
}

/// A signed number as postcard has it: its sign comes last, so that small ones are short.
#[cfg(any(test, target_arch = "wasm32"))]
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Where a value's bytes go. Most come as numbers of a few bytes: copying those one by one is much cheaper than
/// asking the engine for a copy.
struct Room(Vec<u8>);

impl Flavor for Room {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        /// The longest number.
        const SHORT: usize = 19;
        if bytes.len() > SHORT {
            self.0.extend_from_slice(bytes);
        } else {
            bytes.iter().for_each(|byte| self.0.push(*byte));
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// The reply of a function whose result has no bytes.
#[cold]
fn unencodable(error: &postcard::Error) -> Vec<u8> {
    let message = text::joined(&["the result does not encode: ", text::encode_reason(error)]);
    strings_reply(Vec::new(), TAG_ERROR, &["EncodeError", &message, ""])
}

/// The reply that carries a guest error, without what only callers outside are given: variant and payload.
#[cfg(any(test, not(target_arch = "wasm32")))]
pub(crate) fn plain_error_reply(room: Vec<u8>, error: &GuestError) -> Vec<u8> {
    strings_reply(room, TAG_ERROR, &[&error.name, &error.message, &error.stack])
}

/// The reply that carries a guest error.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) fn error_reply(room: Vec<u8>, error: &GuestError) -> Vec<u8> {
    let GuestError { name, message, stack, variant, payload, .. } = error;
    let mut reply = strings_reply(room, TAG_ERROR, &[name, message, stack]);
    if !variant.is_empty() || payload.is_some() {
        push_bytes(&mut reply, variant.as_bytes());
        reply.push(u8::from(payload.is_some()));
        if let Some(payload) = payload {
            push_bytes(&mut reply, payload);
        }
    }
    reply
}

/// A reply of strings, in a room that is used again: postcard by hand, which is much smaller than what
/// serde makes of it.
#[inline(never)]
pub(crate) fn strings_reply(mut reply: Vec<u8>, tag: u8, strings: &[&str]) -> Vec<u8> {
    reply.clear();
    reply.push(tag);
    for string in strings {
        push_bytes(&mut reply, string.as_bytes());
    }
    reply
}

fn push_bytes(reply: &mut Vec<u8>, bytes: &[u8]) {
    let (length, used) = length(bytes.len());
    reply.extend_from_slice(&length[..used]);
    reply.extend_from_slice(bytes);
}

/// Asks whether a type has a schema, without asking for one: an inherent constant goes before a
/// trait's, but counts only where its bounds hold.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T: Schema> Probe<T> {
    /// The type's schema.
    pub const SCHEMA: Option<&'static NamedType> = Some(T::SCHEMA);
}

impl<T, E> Probe<Result<T, E>> {
    /// Whether the type is a `Result`.
    pub const IS_RESULT: bool = true;
}

/// The schema of an error, where the type is the author's own. A text, say, has nothing to add to what it displays.
#[must_use]
pub const fn error_schema(schema: Option<&'static NamedType>) -> Option<&'static NamedType> {
    match schema {
        Some(schema) if is_own(schema) => Some(schema),
        _ => None,
    }
}

/// Whether the type is a structure or an enum.
pub(crate) const fn is_own(schema: &NamedType) -> bool {
    use wpc_abi::describe::DataModelType as Type;
    matches!(
        schema.ty,
        Type::UnitStruct
            | Type::NewtypeStruct(_)
            | Type::TupleStruct(_)
            | Type::Struct(_)
            | Type::Enum(_)
    )
}

/// What [`Probe`] answers for types without a schema.
pub trait NoSchema {
    /// No schema.
    const SCHEMA: Option<&'static NamedType> = None;
}

impl<T> NoSchema for Probe<T> {}

/// What [`Probe`] answers for types that are no `Result`.
pub trait NotAResult {
    /// Whether the type is a `Result`.
    const IS_RESULT: bool = false;
}

impl<T> NotAResult for Probe<T> {}

/// Only types that serde can deserialize may be arguments.
pub fn is_argument<T: Deserialize<'static>>() {}

/// Only types that serde can serialize may be results.
pub fn is_result<T: Serialize>() {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use wpc_abi::reply::{MAX_PAYLOAD, TAG_BAD_ARGUMENTS};

    #[test]
    fn replies_of_strings_are_postcards() {
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
    fn numbers_are_postcards() {
        fn check(number: u64, postcard: &[u8]) {
            let place = [const { Cell::new(0) }; 10];
            let used = write_number(&place, number) as usize;
            assert_eq!(place[..used].iter().map(Cell::get).collect::<Vec<_>>(), postcard);
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
    fn arguments_are_all_there_is() {
        assert_eq!(decode_arguments(&[1, 2]), Ok((1_u8, 2_u8)));
        assert_eq!(decode_arguments(&[]), Ok(()));
        assert_eq!(decode_arguments::<u8>(&[]).unwrap_err(), "the bytes end too early");
        assert_eq!(
            decode_arguments::<u8>(&[1; 12]).unwrap_err(),
            "11 trailing bytes after the last argument"
        );
    }

    #[test]
    fn arguments_are_taken_one_after_another() {
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
    fn a_result_without_bytes_is_a_guest_error() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("never"))
            }
        }
        let reply = value_reply(Vec::new(), &Refuses);
        let (tag, error): (u8, GuestError) = postcard::from_bytes(&reply).unwrap();
        assert_eq!((tag, error.name.as_str()), (TAG_ERROR, "EncodeError"));
        assert!(error.message.ends_with("a type refuses to be encoded"), "{}", error.message);
    }
}
