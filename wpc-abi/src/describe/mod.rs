//! The trait [`Schema`], and the schemas of the standard library's types.
//!
//! A schema describes how serde and postcard encode a value, and the JSON form of the value if serde has one form for
//! both. `docs/types.md` lists the types.

use crate::documentation::Comments;
use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, LinkedList, VecDeque};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::cmp::Reverse;
use core::marker::PhantomData;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::num::{NonZero, Saturating, Wrapping};
use core::ops::{Bound, Range, RangeFrom, RangeInclusive, RangeTo};
use core::time::Duration;
use postcard_schema::schema::{
    DataModelType as Type, DataModelVariant as Variant, NamedValue, NamedVariant,
};
pub use postcard_schema::schema::{DataModelType, NamedType};

/// Describes how a type is encoded.
///
/// It is usually derived. A type that implements serde's traits by hand can use the schema of a type with the same
/// encoding:
///
/// ```
/// use serde::{Serialize, Serializer};
/// use wpc_abi::{Schema, describe::NamedType};
///
/// struct Celsius(i16);
///
/// impl Serialize for Celsius {
///     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
///         serializer.serialize_i16(self.0)
///     }
/// }
///
/// impl Schema for Celsius {
///     const SCHEMA: &'static NamedType = i16::SCHEMA;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema",
    label = "no schema",
    note = "derive `Schema` for it; for a field of a foreign type, declare a type with the same encoding: `#[schema(as = Vec<u8>)]`"
)]
pub trait Schema {
    /// The schema.
    const SCHEMA: &'static NamedType;
    /// The doc comments of the type and of the types that it contains. They are not part of the schema.
    const COMMENTS: &'static Comments = Comments::NONE;
}

/// The comments of a type that has none of its own, such as a collection.
macro_rules! comments_of {
    ($($part:ty),*) => {
        const COMMENTS: &'static Comments =
            &Comments { name: "", items: &[], parts: &[$(<$part as Schema>::COMMENTS),*] };
    };
}

/// The name of the newtype around the type of a field that has `#[serde(default)]`. It is not a valid name in Rust.
///
/// Newtypes are not encoded, so the bytes are those of the type inside.
pub const DEFAULTED: &str = "#[serde(default)]";

macro_rules! plain {
    ($($ty:ty: $name:literal $kind:ident;)*) => {
        $(
            impl Schema for $ty {
                const SCHEMA: &'static NamedType = &NamedType { name: $name, ty: &Type::$kind };
            }
        )*
    };
}

plain! {
    (): "()" Unit;
    bool: "bool" Bool;
    char: "char" Char;
    f32: "f32" F32;
    f64: "f64" F64;
    i8: "i8" I8;
    i16: "i16" I16;
    i32: "i32" I32;
    i64: "i64" I64;
    i128: "i128" I128;
    u8: "u8" U8;
    u16: "u16" U16;
    u32: "u32" U32;
    u64: "u64" U64;
    u128: "u128" U128;
    // A guest's addresses have 32 bits, and postcard encodes integers of 16 bits and more alike.
    isize: "i32" I32;
    usize: "u32" U32;
    str: "str" String;
    String: "String" String;
}

impl<T: ?Sized> Schema for PhantomData<T> {
    const SCHEMA: &'static NamedType = &NamedType { name: "PhantomData", ty: &Type::UnitStruct };
}

/// Types with the encoding of another type.
macro_rules! like {
    ($([$($generics:tt)*] $ty:ty: $like:ty;)*) => {
        $(
            impl<$($generics)*> Schema for $ty {
                const SCHEMA: &'static NamedType = <$like>::SCHEMA;
                const COMMENTS: &'static Comments = <$like>::COMMENTS;
            }
        )*
    };
}

like! {
    [T: Schema + ?Sized] &T: T;
    [T: Schema + ?Sized] &mut T: T;
    [T: Schema + ?Sized] Arc<T>: T;
    [T: Schema + ?Sized] Box<T>: T;
    [T: Schema + ?Sized] Rc<T>: T;
    [T: Schema + ToOwned + ?Sized] Cow<'_, T>: T;
    [T: Schema + Copy] Cell<T>: T;
    [T: Schema + ?Sized] RefCell<T>: T;
    [T: Schema] Reverse<T>: T;
    [T: Schema] Saturating<T>: T;
    [T: Schema] Wrapping<T>: T;
    [] NonZero<i8>: i8;
    [] NonZero<i16>: i16;
    [] NonZero<i32>: i32;
    [] NonZero<i64>: i64;
    [] NonZero<i128>: i128;
    [] NonZero<isize>: isize;
    [] NonZero<u8>: u8;
    [] NonZero<u16>: u16;
    [] NonZero<u32>: u32;
    [] NonZero<u64>: u64;
    [] NonZero<u128>: u128;
    [] NonZero<usize>: usize;
}

macro_rules! sequences {
    ($([$($generics:tt)*] $ty:ty: $name:literal;)*) => {
        $(
            impl<T: Schema, $($generics)*> Schema for $ty {
                const SCHEMA: &'static NamedType =
                    &NamedType { name: $name, ty: &Type::Seq(T::SCHEMA) };
                comments_of!(T);
            }
        )*
    };
}

sequences! {
    [] [T]: "[T]";
    [] Vec<T>: "Vec<T>";
    [] VecDeque<T>: "VecDeque<T>";
    [] LinkedList<T>: "LinkedList<T>";
    [] BinaryHeap<T>: "BinaryHeap<T>";
    [] BTreeSet<T>: "BTreeSet<T>";
}

impl<K: Schema, V: Schema> Schema for BTreeMap<K, V> {
    const SCHEMA: &'static NamedType =
        &NamedType { name: "BTreeMap<K, V>", ty: &Type::Map { key: K::SCHEMA, val: V::SCHEMA } };
    comments_of!(K, V);
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    const SCHEMA: &'static NamedType =
        &NamedType { name: "[T; N]", ty: &Type::Tuple(&[T::SCHEMA; N]) };
    comments_of!(T);
}

macro_rules! tuples {
    ($(($($item:ident),+))*) => {
        $(
            impl<$($item: Schema),+> Schema for ($($item,)+) {
                const SCHEMA: &'static NamedType = &NamedType {
                    name: stringify!(($($item,)+)),
                    ty: &Type::Tuple(&[$($item::SCHEMA),+]),
                };
                comments_of!($($item),+);
            }
        )*
    };
}

// serde implements tuples of up to 16 items.
tuples! {
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
    (A, B, C, D, E, F, G, H, I)
    (A, B, C, D, E, F, G, H, I, J)
    (A, B, C, D, E, F, G, H, I, J, K)
    (A, B, C, D, E, F, G, H, I, J, K, L)
    (A, B, C, D, E, F, G, H, I, J, K, L, M)
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N)
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N, O)
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P)
}

macro_rules! structs {
    ($([$($generics:tt)*] $ty:ty: $name:literal { $($field:literal: $of:ty),* };)*) => {
        $(
            impl<$($generics)*> Schema for $ty {
                const SCHEMA: &'static NamedType = &NamedType {
                    name: $name,
                    ty: &Type::Struct(&[
                        $(&NamedValue { name: $field, ty: <$of>::SCHEMA }),*
                    ]),
                };
                comments_of!($($of),*);
            }
        )*
    };
}

structs! {
    [] Duration: "Duration" { "secs": u64, "nanos": u32 };
    [T: Schema] Range<T>: "Range" { "start": T, "end": T };
    [T: Schema] RangeInclusive<T>: "RangeInclusive" { "start": T, "end": T };
    [T: Schema] RangeFrom<T>: "RangeFrom" { "start": T };
    [T: Schema] RangeTo<T>: "RangeTo" { "end": T };
}

macro_rules! enums {
    ($([$($generics:tt)*] $ty:ty: $name:literal { $($variant:literal $(($of:ty))?),* };)*) => {
        $(
            impl<$($generics)*> Schema for $ty {
                const SCHEMA: &'static NamedType = &NamedType {
                    name: $name,
                    ty: &Type::Enum(&[
                        $(&NamedVariant { name: $variant, ty: enums!(@ $($of)?) }),*
                    ]),
                };
                const COMMENTS: &'static Comments = &Comments {
                    name: "",
                    items: &[],
                    parts: &[$($(<$of>::COMMENTS,)?)*],
                };
            }
        )*
    };
    (@) => { &Variant::UnitVariant };
    (@ $of:ty) => { &Variant::NewtypeVariant(<$of>::SCHEMA) };
}

enums! {
    [T: Schema, E: Schema] Result<T, E>: "Result" { "Ok"(T), "Err"(E) };
    [T: Schema] Bound<T>: "Bound" { "Unbounded", "Included"(T), "Excluded"(T) };
    [] IpAddr: "IpAddr" { "V4"(Ipv4Addr), "V6"(Ipv6Addr) };
    [] SocketAddr: "SocketAddr" { "V4"(SocketAddrV4), "V6"(SocketAddrV6) };
}

impl<T: Schema> Schema for Option<T> {
    const SCHEMA: &'static NamedType =
        &NamedType { name: "Option<T>", ty: &Type::Option(T::SCHEMA) };
    comments_of!(T);
}

macro_rules! newtypes {
    ($($ty:ty: $name:literal ($of:ty);)*) => {
        $(
            impl Schema for $ty {
                const SCHEMA: &'static NamedType =
                    &NamedType { name: $name, ty: &Type::NewtypeStruct(<$of>::SCHEMA) };
            }
        )*
    };
}

// serde has two forms of addresses: these, which postcard encodes, and text.
newtypes! {
    Ipv4Addr: "Ipv4Addr"([u8; 4]);
    Ipv6Addr: "Ipv6Addr"([u8; 16]);
    SocketAddrV4: "SocketAddrV4"((Ipv4Addr, u16));
    SocketAddrV6: "SocketAddrV6"((Ipv6Addr, u16));
}

#[cfg(feature = "std")]
mod of_std;
