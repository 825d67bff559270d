//! The derive tells the same as that of `postcard-schema`, which the host's side uses.

use serde::{Deserialize, Serialize};

macro_rules! both {
    ($($item:item)+) => {
        mod ours {
            use super::*;
            $(#[derive(wpc::Schema, Serialize, Deserialize)] $item)+
        }
        mod theirs {
            use super::*;
            $(#[derive(postcard_schema::Schema, Serialize, Deserialize)] $item)+
        }
    };
}

both! {
    pub(crate) struct Unit;
    pub(crate) struct Newtype(pub(crate) u8);
    pub(crate) struct Tuple(u8, String);
    pub(crate) struct Empty {}
    #[serde(rename = "Other")]
    pub(crate) struct Fields<T, U>
    where
        U: Clone,
    {
        #[serde(rename = "firstOne")]
        one: Vec<T>,
        #[serde(default)]
        r#type: Option<(U, bool)>,
    }
    pub(crate) struct Borrowed<'a> {
        text: &'a str,
        bytes: &'a [u8],
    }
    pub(crate) enum Variants {
        Unit,
        #[serde(rename = "new", alias = "old")]
        Newtype(i64),
        Tuple(char, f32),
        Fields { map: std::collections::BTreeMap<String, u64>, #[serde(rename(serialize = "b", deserialize = "b"))] b: () },
    }
}

#[test]
fn both_derives_tell_the_same() {
    fn same<Ours: wpc::Schema, Theirs: postcard_schema::Schema>() {
        assert_eq!(Ours::SCHEMA, Theirs::SCHEMA);
    }
    same::<ours::Unit, theirs::Unit>();
    same::<ours::Newtype, theirs::Newtype>();
    same::<ours::Tuple, theirs::Tuple>();
    same::<ours::Empty, theirs::Empty>();
    same::<ours::Fields<u8, Vec<u16>>, theirs::Fields<u8, Vec<u16>>>();
    same::<ours::Borrowed<'static>, theirs::Borrowed<'static>>();
    same::<ours::Variants, theirs::Variants>();
}
