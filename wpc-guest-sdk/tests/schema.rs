//! Schemas that the derive creates.

use serde::{Deserialize, Serialize};
use wpc_abi::text::{definition, type_text};

/// A type's definition as text.
fn described<T: wpc::Schema>() -> String {
    let schema = T::SCHEMA.into();
    definition(&schema).unwrap_or_else(|| type_text(&schema))
}

#[expect(dead_code, reason = "only the schemas are used")]
mod shapes {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(wpc::Schema)]
    pub(crate) struct Unit;
    #[derive(wpc::Schema)]
    pub(crate) struct Newtype(pub(crate) u8);
    #[derive(wpc::Schema)]
    pub(crate) struct Tuple(u8, String);
    #[derive(wpc::Schema)]
    pub(crate) struct Empty {}
    #[derive(wpc::Schema, Serialize, Deserialize)]
    #[serde(rename = "Other")]
    pub(crate) struct Fields<T, U>
    where
        U: Clone,
    {
        #[serde(rename = "firstOne")]
        pub(crate) one: Vec<T>,
        #[serde(default)]
        pub(crate) third: Option<(U, bool)>,
    }
    #[derive(wpc::Schema)]
    pub(crate) struct Borrowed<'a, const N: usize> {
        pub(crate) text: &'a str,
        pub(crate) bytes: &'a [u8],
        pub(crate) digest: [u8; N],
    }
    #[derive(wpc::Schema, Serialize, Deserialize)]
    pub(crate) enum Variants {
        Unit,
        #[serde(rename = "new")]
        Newtype(i64),
        Tuple(char, f32),
        Fields {
            map: BTreeMap<String, u64>,
            #[serde(rename(serialize = "b", deserialize = "b"))]
            other: (),
        },
    }
}

#[test]
fn every_kind_of_type_has_a_schema() {
    use shapes::*;
    assert_eq!(described::<Unit>(), "Unit");
    assert_eq!(described::<Newtype>(), "Newtype(u8)");
    assert_eq!(described::<Tuple>(), "Tuple(u8, String)");
    assert_eq!(described::<Empty>(), "Empty {  }");
    assert_eq!(
        described::<Fields<u8, Vec<u16>>>(),
        "Other { firstOne: Vec<u8>, third: Option<(Vec<u16>, bool)> }"
    );
    assert_eq!(
        described::<Borrowed<'static, 32>>(),
        "Borrowed { text: String, bytes: Vec<u8>, digest: [u8; 32] }"
    );
    assert_eq!(
        described::<Variants>(),
        "Variants = Unit | new(i64) | Tuple(char, f32) | Fields { map: Map<String, u64>, b: () }"
    );
}

/// Types that are declared to be encoded like others.
#[expect(dead_code, reason = "only the schemas are used")]
mod declared {
    /// Stands for a type of another crate, without a schema.
    pub(crate) struct Uuid([u8; 16]);

    #[derive(wpc::Schema)]
    pub(crate) struct Item {
        #[schema(as = Vec<u8>)]
        pub(crate) id: Uuid,
        #[schema(as = String)]
        #[serde(with = "elsewhere")]
        pub(crate) price: u64,
    }

    #[derive(wpc::Schema)]
    #[schema(as = String)]
    #[serde(try_from = "String", into = "String")]
    pub(crate) struct Name {
        pub(crate) first: Uuid,
        pub(crate) inner: Option<Box<Name>>,
    }

    #[derive(wpc::Schema)]
    pub(crate) struct Settings {
        #[serde(default)]
        pub(crate) retries: u32,
        #[serde(default)]
        pub(crate) tags: Vec<String>,
    }
}

#[test]
fn a_declared_schema_is_used() {
    assert_eq!(described::<declared::Item>(), "Item { id: Vec<u8>, price: String }");
    assert_eq!(described::<declared::Name>(), "Name(String)");
}

#[test]
fn a_default_is_recorded_in_the_schema() {
    assert_eq!(
        described::<declared::Settings>(),
        "Settings { #[serde(default)] retries: u32, #[serde(default)] tags: Vec<String> }"
    );
}

/// Types with the names that the expansion uses, and fields of these types.
#[expect(dead_code, reason = "only the schemas are used")]
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
fn the_expansion_does_not_shadow_the_authors_types() {
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

    // The author's types are described by their own fields.
    let Kind::Struct(fields) = schema::<namesakes::NamedType>().ty else { panic!("not a struct") };
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].ty, schema::<String>());
    let Kind::NewtypeStruct(ty) = schema::<namesakes::Parameter<u8>>().ty else {
        panic!("not a newtype")
    };
    assert_eq!(*ty, schema::<u8>());
}

/// Types that mention their own name without being recursive.
#[expect(dead_code, reason = "only the schemas are used")]
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
fn a_type_that_only_seems_recursive_has_a_schema() {
    assert_eq!(<about_itself::Node as wpc::Schema>::SCHEMA.name, "Node");
}

/// Names changed by serde's attributes, raw identifiers, and sizes.
#[expect(dead_code, reason = "only the schemas are used")]
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
fn names_are_those_of_serde_without_the_raw_prefix() {
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
fn sizes_are_described_with_their_width_in_a_guest() {
    let (sizes, fixed) =
        (<named::Sizes as wpc::Schema>::SCHEMA.ty, <named::FixedSizes as wpc::Schema>::SCHEMA.ty);
    assert_eq!(sizes, fixed);
}
