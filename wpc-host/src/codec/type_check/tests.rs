use super::*;
use serde::Deserialize;
use wpc_abi::text::parse_signature;

struct Function {
    check: TypeCheck,
    signature: Option<Signature>,
}

fn function(signature: &str) -> Function {
    let signature = Some(parse_signature("f", signature).unwrap());
    Function { check: TypeCheck::default(), signature }
}

impl Function {
    /// Whether a call's types are compared. Fails if they differ from the declared ones.
    fn compares<A: Serialize, R: DeserializeOwned>(&self, arguments: &A) -> Result<bool, Error> {
        if self.check.covers::<A, R>(arguments) {
            return Ok(false);
        }
        let check = self.check.begin::<A, R>("f", self.signature.as_ref())?;
        check.arguments(arguments, |arguments| {
            let encode = |error: postcard::Error| Error::ArgumentsEncode {
                function: "f".to_owned(),
                reason: error.to_string(),
            };
            crate::codec::encode::encode(arguments, &mut Vec::new()).map_err(encode)
        })?;
        Ok(true)
    }

    fn calls<A: Serialize, R: DeserializeOwned>(&self, calls: &[A]) -> Vec<bool> {
        calls.iter().map(|arguments| self.compares::<A, R>(arguments).unwrap()).collect()
    }
}

#[test]
fn a_proven_pair_of_types_is_not_compared_again() {
    let f = function("(a: u32, b: String) -> Vec<u8>");
    assert_eq!(f.calls::<_, Vec<u8>>(&[(1_u32, "b"), (2, "c"), (3, "d")]), [true, false, false]);
    // Another result type or argument type makes another pair.
    assert!(f.compares::<_, Box<[u8]>>(&(1_u32, "b")).unwrap());
    assert!(f.compares::<_, Vec<u8>>(&(1_u32, "b".to_owned())).unwrap());
    assert!(f.compares::<_, Vec<u8>>(&(1_i32, "b")).is_err());
    assert!(f.compares::<_, Vec<u8>>(&(1_i32, "b")).is_err());
    assert!(f.compares::<_, String>(&(1_u32, "b")).is_err());
}

#[test]
fn pairs_of_borrowing_types_are_stored_too() {
    let f = function("(a: String) -> ()");
    for call in 0..3 {
        let text = call.to_string();
        assert_eq!(f.compares::<_, ()>(&(text.as_str(),)).unwrap(), call == 0);
    }
}

#[test]
fn a_type_is_proven_once_its_values_have_shown_everything() {
    let f = function("(a: Vec<Option<u32>>) -> ()");
    let calls = [(vec![],), (vec![None],), (vec![None, Some(1_u32)],), (vec![],)];
    assert_eq!(f.calls::<_, ()>(&calls), [true, true, true, false]);
}

#[derive(Clone, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Round(f32),
    Corner(i8, i64),
    Named { tag: char },
}

fn shapes() -> OwnedNamedType {
    use postcard_schema::schema::owned::{
        OwnedDataModelVariant as Variant, OwnedNamedValue, OwnedNamedVariant,
    };
    let ty = |name: &str, ty| OwnedNamedType { name: name.to_owned(), ty };
    let variant = |name: &str, ty| OwnedNamedVariant { name: name.to_owned(), ty };
    let tag = OwnedNamedValue { name: "tag".to_owned(), ty: ty("char", Type::Char) };
    let variants = vec![
        variant("Nothing", Variant::UnitVariant),
        variant("Round", Variant::NewtypeVariant(Box::new(ty("f32", Type::F32)))),
        variant("Corner", Variant::TupleVariant(vec![ty("i8", Type::I8), ty("i64", Type::I64)])),
        variant("Named", Variant::StructVariant(vec![tag])),
    ];
    ty("Shape", Type::Enum(variants))
}

fn of_shapes() -> Function {
    let mut f = function("(a: u8) -> u8");
    let signature = f.signature.as_mut().unwrap();
    signature.arguments[0].ty = Some(shapes());
    signature.result = Some(shapes());
    f
}

#[test]
fn an_enum_is_proven_once_every_variant_was_seen() {
    let all = [Shape::Nothing, Shape::Round(0.5), Shape::Corner(1, 2), Shape::Named { tag: 't' }];
    let mut calls: Vec<_> = all.iter().cloned().map(|shape| (shape,)).collect();
    calls.extend_from_within(..);
    let compared = of_shapes().calls::<_, Shape>(&calls);
    assert_eq!(compared, [true, true, true, true, false, false, false, false]);
}

#[test]
fn every_variant_of_a_result_is_compared_before_the_call() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only decoding is tested")]
    enum Other {
        Nothing,
        Round(f32),
        Corner(i8, i64),
        Named { tag: String },
    }
    let refused = of_shapes().compares::<_, Other>(&(Shape::Nothing,)).unwrap_err();
    let Error::SignatureMismatch { part, expected, found, .. } = refused else {
        panic!("the types differ")
    };
    assert_eq!((expected.as_str(), found.as_str()), ("`char`", "`String`"));
    assert_eq!(part, "result (`result.Named.tag`)");
}

#[test]
fn a_variant_of_another_form_or_number_is_refused() {
    #[derive(Serialize)]
    enum Other {
        Nothing(u8),
        Corner(i8, i64),
    }
    let f = of_shapes();
    assert!(f.compares::<_, Shape>(&(Other::Nothing(1),)).is_err());
    assert!(f.compares::<_, Shape>(&(Other::Corner(1, 2),)).is_err());
    assert!(f.compares::<_, Shape>(&("Nothing",)).is_err());
}

#[test]
fn fields_that_are_skipped_are_refused() {
    #[derive(Serialize)]
    struct Skips {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        b: u8,
    }
    let f = function("(a: Skips { a: Option<u8>, b: u8 }) -> ()");
    assert!(f.compares::<_, ()>(&(Skips { a: None, b: 1 },)).is_err());
    assert!(f.compares::<_, ()>(&(Skips { a: Some(1), b: 1 },)).unwrap());
}

#[test]
fn a_result_may_have_aliases() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only decoding is tested")]
    struct Aliased {
        #[serde(alias = "former", alias = "a_former")]
        a: u8,
        b: u16,
    }
    let f = function("() -> Aliased { a: u8, b: u16 }");
    assert!(f.compares::<_, Aliased>(&()).unwrap());
    assert!(!f.compares::<_, Aliased>(&()).unwrap());
    // A field that the function does not declare would be read from the bytes after the structure.
    let f = function("() -> Vec<Aliased { a: u8 }>");
    assert!(f.compares::<_, Vec<Aliased>>(&()).is_err());
}

#[test]
fn an_untagged_enum_is_compared_in_every_call() {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Number {
        Unsigned(u64),
        Signed(i64),
    }
    let f = function("(a: u64) -> ()");
    for _ in 0..2 {
        assert!(f.compares::<_, ()>(&(Number::Unsigned(1),)).unwrap());
        assert!(f.compares::<_, ()>(&(Number::Signed(1),)).is_err());
    }
    // Its variants with fields pass the enum's name, as a struct passes its own.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Point {
        Near { x: u32 },
        Far { y: i64 },
    }
    let f = function("(a: Point { x: u32 }) -> ()");
    for _ in 0..2 {
        assert!(f.compares::<_, ()>(&(Point::Near { x: 1 },)).unwrap());
        assert!(f.compares::<_, ()>(&(Point::Far { y: -1 },)).is_err());
    }
}

#[test]
fn undeclared_types_are_not_compared() {
    let f = Function { check: TypeCheck::default(), signature: None };
    assert_eq!(f.calls::<_, u8>(&[(1, "x"), (2, "y")]), [true, false]);
    let mut f = function("(a: u8, b: u8) -> u8");
    let signature = f.signature.as_mut().unwrap();
    (signature.arguments[0].ty, signature.result) = (None, None);
    assert_eq!(f.calls::<_, String>(&[("x", 1_u8), ("y", 2)]), [true, false]);
    assert!(f.compares::<_, String>(&("x", 1_i8)).is_err());
}

/// Runs the block for 40 types that have the same encoding as `()`, and more than [`MAX_PAIRS`].
macro_rules! each_newtype {
    ($newtype:ident => $block:block) => {
        each_newtype!(@ $newtype => $block:
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19
            20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
        );
    };
    (@ $newtype:ident => $block:block: $($number:literal)*) => {$({
        let _ = $number;
        #[derive(Serialize)]
        struct $newtype(());
        $block
    })*};
}

#[test]
fn pairs_beyond_the_limit_are_compared_each_time() {
    let f = function("(a: ()) -> ()");
    let mut remembered = 0;
    each_newtype!(Newtype => {
        assert!(f.compares::<_, ()>(&(Newtype(()),)).unwrap());
        remembered += usize::from(!f.compares::<_, ()>(&(Newtype(()),)).unwrap());
    });
    assert_eq!(remembered, MAX_PAIRS);
}

#[test]
fn calls_with_wrong_types_do_not_use_up_the_capacity() {
    let f = function("(a: u8) -> ()");
    each_newtype!(Newtype => {
        assert!(f.compares::<_, ()>(&(Newtype(()),)).is_err());
    });
    assert_eq!(f.calls::<_, ()>(&[(1_u8,), (2,)]), [true, false]);
}
