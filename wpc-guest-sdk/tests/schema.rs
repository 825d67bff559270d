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

/// Types with the names of those that the expansion is made of, and a field for each.
#[expect(dead_code, reason = "only the schemas are of interest")]
mod namesakes {
    #[derive(wpc::Schema)]
    pub(crate) struct NamedType {
        pub(crate) name: String,
    }

    #[derive(wpc::Schema)]
    pub(crate) struct NamedValue(pub(crate) u8);

    #[derive(wpc::Schema)]
    pub(crate) struct NamedVariant;

    #[derive(wpc::Schema)]
    pub(crate) enum DataModelType {
        Enum,
        Struct(bool),
    }

    #[derive(wpc::Schema)]
    pub(crate) struct DataModelVariant<T>(pub(crate) T, pub(crate) T);

    #[derive(wpc::Schema)]
    pub(crate) struct Schema(pub(crate) u16);

    #[derive(wpc::Schema)]
    pub(crate) struct Column {
        pub(crate) ty: NamedType,
        pub(crate) value: NamedValue,
        pub(crate) variant: NamedVariant,
        pub(crate) model: DataModelType,
        pub(crate) other: DataModelVariant<i64>,
        pub(crate) schema: Schema,
    }

    #[derive(wpc::Schema)]
    pub(crate) enum Cell {
        Type(NamedType),
        Fields { value: NamedValue, variant: NamedVariant },
    }

    #[derive(wpc::Schema)]
    pub(crate) struct Parameter<NamedType>(pub(crate) NamedType);
}

#[test]
fn the_authors_own_types_are_meant_whatever_they_are_called() {
    use postcard_schema::schema::owned::{
        OwnedDataModelType as Kind, OwnedDataModelVariant, OwnedNamedType,
    };

    fn schema<T: wpc::Schema>() -> OwnedNamedType {
        T::SCHEMA.into()
    }
    fn own() -> Vec<OwnedNamedType> {
        vec![
            schema::<namesakes::NamedType>(),
            schema::<namesakes::NamedValue>(),
            schema::<namesakes::NamedVariant>(),
            schema::<namesakes::DataModelType>(),
            schema::<namesakes::DataModelVariant<i64>>(),
            schema::<namesakes::Schema>(),
        ]
    }
    let Kind::Struct(fields) = schema::<namesakes::Column>().ty else { panic!("not a struct") };
    assert_eq!(fields.into_iter().map(|field| field.ty).collect::<Vec<_>>(), own());

    let Kind::Enum(variants) = schema::<namesakes::Cell>().ty else { panic!("not an enum") };
    let OwnedDataModelVariant::NewtypeVariant(ty) = &variants[0].ty else {
        panic!("not a newtype")
    };
    assert_eq!(**ty, own()[0]);
    let OwnedDataModelVariant::StructVariant(fields) = &variants[1].ty else { panic!("no fields") };
    assert_eq!(fields.iter().map(|field| field.ty.clone()).collect::<Vec<_>>(), own()[1..3]);

    // And what those own types are told as is what they hold.
    let Kind::Struct(fields) = schema::<namesakes::NamedType>().ty else { panic!("not a struct") };
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].ty, schema::<String>());
    let Kind::NewtypeStruct(ty) = schema::<namesakes::Parameter<u8>>().ty else {
        panic!("not a newtype")
    };
    assert_eq!(*ty, schema::<u8>());
}

/// What has the type's own name, or is about it, without holding it.
#[expect(dead_code, reason = "only the schemas are of interest")]
mod about_itself {
    use std::marker::PhantomData;

    mod other {
        #[derive(wpc::Schema)]
        pub(crate) struct Node(pub(crate) u8);
    }

    #[derive(wpc::Schema)]
    pub(crate) struct Key<T>(pub(crate) u32, pub(crate) PhantomData<T>);

    #[derive(wpc::Schema)]
    pub(crate) struct Node {
        pub(crate) node: other::Node,
        pub(crate) parent: Option<Key<Node>>,
    }
}

#[test]
fn a_type_that_only_seems_to_hold_itself_has_a_schema() {
    assert_eq!(<about_itself::Node as wpc::Schema>::SCHEMA.name, "Node");
}
