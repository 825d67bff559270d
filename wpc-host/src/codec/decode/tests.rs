use super::level::MAX_DEPTH;
use super::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Boxed(Box<Tree>),
    Pair(Box<Tree>, Option<Box<Tree>>),
    Named { children: Vec<Tree>, notes: BTreeMap<String, (u8, char)> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wide(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, f32, f64, bool, String, ());

fn round_trip<T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug>(value: &T) {
    let bytes = postcard::to_allocvec(value).unwrap();
    assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    for end in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn values_round_trip_and_every_truncation_is_rejected() {
    round_trip(&Tree::Pair(
        Box::new(Tree::Leaf),
        Some(Box::new(Tree::Boxed(Box::new(Tree::Leaf)))),
    ));
    round_trip(&Tree::Named {
        children: vec![Tree::Leaf, Tree::Leaf],
        notes: BTreeMap::from([("a".to_owned(), (1, 'é'))]),
    });
    let (min, max) = (i128::MIN, u128::MAX);
    round_trip(&Wide(
        -1,
        -2,
        -3,
        -4,
        min,
        1,
        2,
        3,
        4,
        max,
        0.5,
        -0.25,
        true,
        "text".to_owned(),
        (),
    ));
}

#[test]
fn borrowed_values_stay_borrowed() {
    let bytes = postcard::to_allocvec(&("text", [1_u8, 2].as_slice())).unwrap();
    assert_eq!(decode::<(&str, &[u8])>(&bytes).unwrap(), ("text", [1, 2].as_slice()));
}

#[test]
fn deep_nesting_is_rejected_without_overflowing_the_stack() {
    let boxed: Vec<u8> = [1].repeat(10_000_000);
    assert!(decode::<Tree>(&boxed).unwrap_err().len() < 100);
    // A variant and its box take at most one level together.
    let deep = [vec![1; MAX_DEPTH - 1], vec![0]].concat();
    assert!(decode::<Tree>(&deep).is_ok());
}

fn count(items: u64) -> Vec<u8> {
    postcard::to_allocvec(&items).unwrap()
}

#[test]
fn items_without_bytes_are_limited() {
    assert_eq!(decode::<Vec<()>>(&count(60_000)).unwrap().len(), 60_000);
    assert!(decode::<Vec<()>>(&count(u64::MAX)).is_err());
    assert!(decode::<BTreeMap<(), ()>>(&count(u64::MAX)).is_err());
}

/// A type whose values take no bytes, but memory.
#[derive(Clone, Deserialize)]
struct Cached {
    #[serde(skip)]
    _of_the_host: [u64; 32],
}

#[test]
fn items_without_bytes_are_limited_whatever_memory_they_take() {
    for items in [70_000, u64::MAX] {
        assert!(decode::<Vec<Box<()>>>(&count(items)).is_err());
        assert!(decode::<Vec<[(); 3]>>(&count(items)).is_err());
        assert!(decode::<Vec<(Box<()>, ())>>(&count(items)).is_err());
    }
    // 5 MB.
    assert!(decode::<Vec<Cached>>(&count(20_000)).is_err());
    assert!(decode::<Vec<Cached>>(&count(1_000)).is_ok());
}

#[test]
fn nested_items_without_bytes_share_one_limit() {
    // Each of the inner sequences has as many items as bytes follow.
    let bytes = [count(20_000), count(30_000).repeat(20_000)].concat();
    assert!(decode::<Vec<Vec<()>>>(&bytes).is_err());
    let bytes = [count(1), count(u64::MAX)].concat();
    assert!(decode::<Vec<Vec<()>>>(&bytes).is_err());
    let fewer = [count(2), count(30_000), count(30_000)].concat();
    assert_eq!(decode::<Vec<Vec<()>>>(&fewer).unwrap()[1].len(), 30_000);
}

#[test]
fn values_whose_items_take_bytes_are_not_limited() {
    round_trip(&vec![vec![[1_u8, 2]; 30]; 20]);
    let many = vec![vec![(); 3]; 20_000];
    assert_eq!(decode::<Vec<Vec<()>>>(&postcard::to_allocvec(&many).unwrap()).unwrap(), many);
    let many: Vec<_> = (0..200_000).map(|at| BTreeMap::from([(at % 7, vec![Some(at)])])).collect();
    assert_eq!(
        decode::<Vec<BTreeMap<i32, Vec<Option<i32>>>>>(&postcard::to_allocvec(&many).unwrap())
            .unwrap(),
        many
    );
}

#[test]
fn a_string_or_bytes_can_be_decoded_without_a_length() {
    for len in [0, 1, 127, 128, 20_000] {
        let bytes = "a".repeat(len).into_bytes();
        let text = "a".repeat(len);
        assert_eq!(decode_bytes::<Vec<u8>>(&bytes).unwrap(), bytes);
        assert_eq!(decode_bytes::<String>(&bytes).unwrap(), text);
        assert_eq!(decode_bytes::<Box<str>>(&bytes).unwrap(), text.as_str().into());
        assert_eq!(decode_bytes::<std::collections::VecDeque<u8>>(&bytes).unwrap(), bytes);
        assert_eq!(from_vec::<Vec<u8>>(bytes.clone()).unwrap(), bytes);
        assert_eq!(from_vec::<String>(bytes.clone()).unwrap(), text);
        assert_eq!(from_vec::<Box<[u8]>>(bytes.clone()).unwrap(), bytes.clone().into());
    }
    assert!(decode_bytes::<String>(&[0xff]).is_err());
    assert!(from_vec::<String>(vec![0xff]).is_err());
    assert!(decode_bytes::<f32>(&[0; 8]).is_err());
    assert_eq!(decode_bytes::<u8>(&[1, 2]).unwrap_err(), "2 trailing bytes");
}

#[test]
fn owned_bytes_must_use_the_whole_input() {
    let bytes = postcard::to_allocvec(&vec![1_u8, 2]).unwrap();
    assert_eq!(decode_owned::<Vec<u8>>(&bytes).unwrap(), [1, 2]);
    assert!(decode_owned::<Vec<u8>>(&bytes[..2]).is_err());
    let longer = [bytes.as_slice(), &[9]].concat();
    assert_eq!(decode_owned::<Vec<u8>>(&longer).unwrap_err(), "1 trailing byte");
}

#[test]
fn trailing_bytes_are_reported() {
    assert_eq!(decode::<u8>(&[1, 2, 3]).unwrap_err(), "2 trailing bytes");
}
