//! The arguments that a typed handle accepts.

use serde::Serialize;
use wpc_abi::describe::{NamedType, Schema};

/// Restricts the traits below to the implementations in this file.
#[expect(unnameable_types, reason = "a trait without a name cannot be implemented")]
mod sealed {
    pub trait Parameters {}
    pub trait Arguments<P> {}
    pub trait Argument<T> {}
}

/// A tuple of the parameter types of a function: `()`, `(A,)`, `(A, B)` and so on, up to twelve. The trait is sealed.
pub trait Parameters: sealed::Parameters {
    /// The schemas of the types, in order.
    fn schemas() -> Vec<&'static NamedType>;
}

/// A tuple of values that is encoded exactly like the parameters `P`.
///
/// A reference may be passed for the type to which it points, `&str` for `String` and `&[T]` for `Vec<T>`, so that a call
/// needs no copies. The trait is sealed.
pub trait Arguments<P>: Serialize + sealed::Arguments<P> {}

/// A value that is encoded exactly like `T`. The trait is sealed.
pub trait Argument<T>: Serialize + sealed::Argument<T> {}

impl<T: Serialize> sealed::Argument<T> for T {}
impl<T: Serialize> sealed::Argument<T> for &T {}
impl sealed::Argument<String> for &str {}
impl<T: Serialize> sealed::Argument<Vec<T>> for &[T] {}

impl<T: Serialize> Argument<T> for T {}
impl<T: Serialize> Argument<T> for &T {}
impl Argument<String> for &str {}
impl<T: Serialize> Argument<Vec<T>> for &[T] {}

macro_rules! tuples {
    ($(($($parameter:ident $argument:ident),*))*) => {
        $(
            impl<$($parameter: Schema),*> sealed::Parameters for ($($parameter,)*) {}

            impl<$($parameter: Schema),*> Parameters for ($($parameter,)*) {
                fn schemas() -> Vec<&'static NamedType> {
                    vec![$($parameter::SCHEMA),*]
                }
            }

            impl<$($parameter, $argument: Argument<$parameter>),*> sealed::Arguments<($($parameter,)*)> for ($($argument,)*) {}

            impl<$($parameter, $argument: Argument<$parameter>),*> Arguments<($($parameter,)*)> for ($($argument,)*) {}
        )*
    };
}

tuples! {
    ()
    (P1 A1)
    (P1 A1, P2 A2)
    (P1 A1, P2 A2, P3 A3)
    (P1 A1, P2 A2, P3 A3, P4 A4)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6, P7 A7)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6, P7 A7, P8 A8)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6, P7 A7, P8 A8, P9 A9)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6, P7 A7, P8 A8, P9 A9, P10 A10)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6, P7 A7, P8 A8, P9 A9, P10 A10, P11 A11)
    (P1 A1, P2 A2, P3 A3, P4 A4, P5 A5, P6 A6, P7 A7, P8 A8, P9 A9, P10 A10, P11 A11, P12 A12)
}
