use super::*;
use crate::Schema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use wpc_abi::compare::compare_value;
use wpc_abi::text::type_text;

#[derive(Serialize)]
enum Shape {
    Nothing,
    Line(u32),
    Box(i64, f32),
    Named { name: String, tags: BTreeMap<String, Option<bool>> },
}

// As the derive makes it; the host's own crate cannot use its derive.
const SHAPE: &str = "Shape";

fn shape() -> OwnedNamedType {
    let ty = |text| wpc_abi::text::parse_type(text).unwrap();
    let variant = |name: &str, ty| OwnedNamedVariant { name: name.to_owned(), ty };
    let field = |name: &str, text| OwnedNamedValue { name: name.to_owned(), ty: ty(text) };
    let fields = vec![field("name", "String"), field("tags", "Map<String, Option<bool>>")];
    let variants = vec![
        variant("Nothing", Variant::UnitVariant),
        variant("Line", Variant::NewtypeVariant(Box::new(ty("u32")))),
        variant("Box", Variant::TupleVariant(vec![ty("i64"), ty("f32")])),
        variant("Named", Variant::StructVariant(fields)),
    ];
    OwnedNamedType { name: SHAPE.to_owned(), ty: Type::Enum(variants) }
}

fn fits<T: Schema, V: Serialize + ?Sized>(value: &V) -> bool {
    compare_value(&T::SCHEMA.into(), &type_of(value).unwrap()).is_ok()
}

#[test]
fn a_value_fits_its_own_type_and_no_other() {
    assert!(fits::<u32, _>(&3_u32) && !fits::<u32, _>(&3_i64) && !fits::<i64, _>(&3_u32));
    assert!(fits::<String, _>("text") && !fits::<Vec<String>, _>(&3_u32));
    assert!(fits::<Vec<u8>, _>(&[1_u8, 2][..]) && !fits::<Vec<i8>, _>(&[1_u8][..]));
    assert!(fits::<(u8, char), _>(&(1_u8, 'c')) && !fits::<(u8, u8), _>(&(1_u8, 'c')));
    assert!(fits::<[u16; 3], _>(&[1_u16; 3]) && !fits::<[u16; 2], _>(&[1_u16; 3]));
    let map = BTreeMap::from([("a", 1_u64)]);
    assert!(fits::<BTreeMap<String, u64>, _>(&map));
    assert!(!fits::<BTreeMap<String, i64>, _>(&map));
    assert!(fits::<(), _>(&()) && fits::<Result<u8, String>, _>(&Ok::<_, String>(1_u8)));
}

#[test]
fn what_a_value_does_not_show_fits_every_type() {
    assert!(fits::<Option<u8>, _>(&None::<i64>) && fits::<Vec<String>, _>(&Vec::<u8>::new()));
    // Other items of a sequence show it.
    assert!(!fits::<Vec<Option<u8>>, _>(&[None, Some(1_i64)][..]));
    assert!(fits::<Vec<Option<u8>>, _>(&[None, Some(1_u8), None][..]));
}

#[test]
fn variants_are_compared_as_far_as_they_are_shown() {
    let fits = |value: &[Shape]| {
        compare_value(
            &OwnedNamedType { name: "Vec".to_owned(), ty: Type::Seq(Box::new(shape())) },
            &type_of(value).unwrap(),
        )
    };
    let tags = BTreeMap::from([("a".to_owned(), Some(true)), ("b".to_owned(), None)]);
    let named = Shape::Named { name: "n".to_owned(), tags };
    assert_eq!(fits(&[Shape::Line(1)]), Ok(()));
    assert_eq!(fits(&[named, Shape::Box(1, 0.5), Shape::Nothing, Shape::Line(1)]), Ok(()));
    #[derive(Serialize)]
    #[expect(dead_code, reason = "only the second one is of interest")]
    enum Other {
        Nothing,
        Line(u64),
    }
    let difference = compare_value(&shape(), &type_of(&Other::Line(1)).unwrap()).unwrap_err();
    assert_eq!(difference.to_string(), "variant `Line` of `Shape`: expected `u32`, found `u64`");
}

#[test]
fn structures_show_their_fields() {
    let ty = type_of(&[Duration::from_secs(1); 2][..]).unwrap();
    assert_eq!(type_text(&ty), "Vec<Duration>");
    let Type::Seq(item) = ty.ty else { panic!("a sequence") };
    assert_eq!(wpc_abi::text::definition(&item).unwrap(), "Duration { secs: u64, nanos: u32 }");
}

#[test]
fn a_value_that_does_not_serialize_has_no_type() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: ser::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("on purpose"))
        }
    }
    assert_eq!(type_of(&Refuses), None);
}
