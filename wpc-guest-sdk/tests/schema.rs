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
        third: Option<(U, bool)>,
    }
    pub(crate) struct Borrowed<'a> {
        text: &'a str,
        bytes: &'a [u8],
    }
    pub(crate) enum Variants {
        Unit,
        #[serde(rename = "new")]
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

/// What serde's attributes and Rust's syntax make of names, and sizes.
#[expect(dead_code, reason = "only the schemas are of interest")]
mod named {
    use super::*;
    use std::marker::PhantomData;
    use std::num::NonZero;

    const LENGTH: u32 = 4;

    #[derive(wpc::Schema)]
    #[expect(non_camel_case_types, reason = "a keyword as a name")]
    pub(crate) struct r#struct {
        pub(crate) r#type: u8,
        pub(crate) r#fn: u8,
        pub(crate) plain: u8,
    }

    #[derive(wpc::Schema)]
    #[serde(rename_all(serialize = "camelCase", deserialize = "camelCase"), deny_unknown_fields)]
    pub(crate) struct Fields {
        pub(crate) one_two: u8,
        pub(crate) r#for_each: u8,
        #[serde(rename = "kept_as_it_is")]
        pub(crate) three_four: u8,
    }

    #[derive(wpc::Schema)]
    #[serde(rename_all = "kebab-case", rename_all_fields = "SCREAMING_SNAKE_CASE")]
    pub(crate) enum Variants {
        OneTwo {
            some_field: u8,
        },
        #[serde(rename_all = "PascalCase")]
        ThreeFour {
            some_field: u8,
        },
        #[serde(rename(serialize = "5", deserialize = "5"))]
        Five,
        r#Six,
    }

    #[derive(wpc::Schema, Serialize, Deserialize)]
    #[serde(transparent)]
    pub(crate) struct Meters<T> {
        #[serde(skip)]
        pub(crate) skipped: u64,
        pub(crate) meters: u32,
        pub(crate) of: PhantomData<T>,
    }

    #[derive(wpc::Schema)]
    pub(crate) struct Sizes {
        pub(crate) size: usize,
        pub(crate) list: Vec<(core::primitive::isize, [u8; LENGTH as usize])>,
        pub(crate) nonzero: Option<NonZero<usize>>,
    }

    #[derive(wpc::Schema)]
    pub(crate) struct FixedSizes {
        pub(crate) size: u32,
        pub(crate) list: Vec<(i32, [u8; 4])>,
        pub(crate) nonzero: Option<NonZero<u32>>,
    }
}

#[test]
fn names_are_those_that_serde_writes_without_the_raw_prefix() {
    use postcard_schema::schema::owned::{
        OwnedDataModelType as Kind, OwnedDataModelVariant as Variant, OwnedNamedType,
        OwnedNamedValue,
    };
    fn names(fields: &[OwnedNamedValue]) -> Vec<&str> {
        fields.iter().map(|field| field.name.as_str()).collect()
    }
    let raw = OwnedNamedType::from(<named::r#struct as wpc::Schema>::SCHEMA);
    let Kind::Struct(fields) = &raw.ty else { panic!("not a struct") };
    assert_eq!((raw.name.as_str(), names(fields)), ("struct", vec!["type", "fn", "plain"]));

    let fields = OwnedNamedType::from(<named::Fields as wpc::Schema>::SCHEMA);
    let Kind::Struct(fields) = &fields.ty else { panic!("not a struct") };
    assert_eq!(names(fields), ["oneTwo", "forEach", "kept_as_it_is"]);

    let variants = OwnedNamedType::from(<named::Variants as wpc::Schema>::SCHEMA);
    let Kind::Enum(variants) = &variants.ty else { panic!("not an enum") };
    let found: Vec<_> = variants
        .iter()
        .map(|variant| match &variant.ty {
            Variant::StructVariant(fields) => (variant.name.as_str(), names(fields)),
            _ => (variant.name.as_str(), Vec::new()),
        })
        .collect();
    assert_eq!(
        found,
        [
            ("one-two", vec!["SOME_FIELD"]),
            ("three-four", vec!["SomeField"]),
            ("5", vec![]),
            ("six", vec![])
        ]
    );
}

#[test]
fn a_transparent_struct_is_described_as_its_field() {
    use postcard_schema::schema::{DataModelType, NamedType};
    let NamedType { name: "Meters", ty: DataModelType::NewtypeStruct(inner) } =
        <named::Meters<u8> as wpc::Schema>::SCHEMA
    else {
        panic!("not a newtype")
    };
    assert_eq!(*inner, <u32 as wpc::Schema>::SCHEMA);
}

#[test]
fn sizes_are_described_as_they_are_in_a_guest() {
    let (sizes, fixed) =
        (<named::Sizes as wpc::Schema>::SCHEMA.ty, <named::FixedSizes as wpc::Schema>::SCHEMA.ty);
    assert_eq!(sizes, fixed);
}
