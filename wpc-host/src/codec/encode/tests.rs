use super::*;
use serde::Serialize;
use std::collections::{BTreeMap, LinkedList, VecDeque};

#[derive(Serialize)]
enum Variants<'a> {
    Unit,
    Newtype(Vec<u8>),
    Tuple(&'a [u8], i64),
    Named { bytes: VecDeque<u8>, texts: Vec<&'a str> },
}

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
struct Newtype(Option<Vec<u8>>);

#[derive(Serialize)]
struct Tuple(u8, LinkedList<u8>);

fn same(value: &impl Serialize) {
    let expected = postcard::to_extend(value, vec![7]).unwrap();
    let mut output = vec![7];
    encode(value, &mut output).unwrap();
    assert_eq!(output, expected);
    // The whole value fits `buffer`, or only a part of it, so all bytes go to `spare`.
    let len = expected.len() - 1;
    for fits in (0..len.min(400)).chain([len]) {
        let (mut buffer, mut spare) = (vec![0; fits], vec![7]);
        match encode_into(value, &mut buffer, &mut spare, None).unwrap() {
            Some(used) => assert_eq!((&buffer[..used], fits), (&expected[1..], len)),
            None => assert_eq!(spare, expected),
        }
    }
}

#[test]
fn all_types_are_encoded_as_by_postcard() {
    same(&(true, -1_i8, -2_i16, -3_i32, -4_i64, i128::MIN));
    same(&(1_u8, 2_u16, 3_u32, u64::MAX, u128::MAX, 0.5_f32, -0.25_f64, 'é', "text"));
    same(&(Unit, (), Some(Some(3)), None::<u8>, [1_u8; 32], [300_u16; 3]));
    same(&(Newtype(Some(vec![1, 2])), Newtype(None), Tuple(9, LinkedList::from([1, 2]))));
    same(&Variants::Unit);
    same(&[Variants::Newtype(vec![0; 300]), Variants::Tuple(&[1, 2], -9)].as_slice());
    same(&Variants::Named { bytes: VecDeque::from([1, 2]), texts: vec!["a", "bc"] });
    same(&BTreeMap::from([("a", vec![1_u8]), ("b", vec![])]));
    same(&(std::net::Ipv4Addr::LOCALHOST, vec![vec![1_u8, 2], vec![3]], vec![-1_i8, 1]));
}

#[test]
fn byte_sequences_of_all_sizes_are_encoded_as_by_postcard() {
    for len in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
        let bytes = (0..=255).cycle().take(len).collect::<Vec<u8>>();
        same(&(&bytes, bytes.as_slice(), 7));
    }
}

#[test]
fn a_skipped_field_is_rejected() {
    #[derive(Serialize)]
    struct Skips {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
    }
    assert_eq!(encode(&Skips { a: None }, &mut Vec::new()), Err(Error::WontImplement));
    same(&Skips { a: Some(1) });
}

#[test]
fn a_sequence_of_unknown_length_is_rejected_as_by_postcard() {
    struct Odd;
    impl Serialize for Odd {
        fn serialize<S: serde::Serializer>(
            &self,
            serializer: S,
        ) -> std::result::Result<S::Ok, S::Error> {
            serializer.collect_seq((0_u8..9).filter(|byte| byte % 2 == 1))
        }
    }
    assert_eq!(encode(&Odd, &mut Vec::new()), Err(postcard::to_allocvec(&Odd).unwrap_err()));
}
