//! How an error becomes a guest error: its type's name and its variant's, what it displays, what caused it, and the
//! error itself.

use crate::entry::is_own;
use crate::text::joined;
use alloc::borrow::ToOwned as _;
use alloc::string::{String, ToString as _};
use core::error::Error;
use core::fmt::Display;
use serde::Serialize;
use wpc_abi::GuestError;
use wpc_abi::describe::{DataModelType, Schema};
use wpc_abi::reply::MAX_PAYLOAD;

/// An error that can leave a function: anything that displays itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot become a guest error, because it does not implement `std::fmt::Display`",
    label = "implement `Display` for this, or map the error to a `wpc::GuestError`"
)]
pub trait Failure {}

impl<E: Display + 'static> Failure for E {}

/// Only errors that display themselves may leave a function.
pub fn is_failure<E: Failure>() {}

/// An error on its way out. The right `into_guest_error` is found by what the error can do: a
/// [`GuestError`] goes as it is, an [`Error`] tells its sources, anything else its message.
#[derive(Debug)]
pub struct Caught<E>(pub E);

/// For errors that may have sources.
pub trait ChainOfError {
    /// The guest error.
    fn into_guest_error(self, place: &str) -> GuestError;
}

/// For everything else that displays itself.
pub trait ChainOfAny {
    /// The guest error.
    fn into_guest_error(self, place: &str) -> GuestError;
}

impl Caught<&GuestError> {
    /// The error itself, with the place where it left the guest added to its stack.
    #[must_use]
    pub fn into_guest_error(self, place: &str) -> GuestError {
        let mut error = self.0.clone();
        if !error.stack.is_empty() {
            error.stack.push('\n');
        }
        error.stack.push_str("in ");
        error.stack.push_str(place);
        error
    }
}

impl<E: Error + 'static> ChainOfError for Caught<&E> {
    fn into_guest_error(self, place: &str) -> GuestError {
        let mut stack = joined(&["in ", place]);
        let mut source = self.0.source();
        while let Some(cause) = source {
            stack.push_str("\ncaused by: ");
            stack.push_str(&cause.to_string());
            source = cause.source();
        }
        GuestError::new(short_name::<E>(), self.0.to_string()).with_stack(stack)
    }
}

impl<E: Display + 'static> ChainOfAny for &Caught<&E> {
    fn into_guest_error(self, place: &str) -> GuestError {
        let stack = joined(&["in ", place]);
        GuestError::new(short_name::<E>(), self.0.to_string()).with_stack(stack)
    }
}

/// Names an error's variant. The [derive](macro@crate::Error) implements it; a struct has none.
pub trait Variant {
    /// The variant's name, or nothing.
    fn variant(&self) -> &'static str;
}

/// An error of which the right `add_to` adds what its type makes known: variant and payload by its schema, the variant
/// alone by the derive of `wpc::Error`, or nothing.
#[derive(Debug)]
pub struct Detail<'a, E>(pub &'a E);

impl<E> Clone for Detail<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Detail<'_, E> {}

/// For errors that can be encoded and have a schema.
pub trait DetailOfSchema {
    /// Adds variant and payload.
    fn add_to(self, error: &mut GuestError);
}

/// For errors with the derive.
pub trait DetailOfVariant {
    /// Adds the variant.
    fn add_to(self, error: &mut GuestError);
}

/// For all others.
pub trait NoDetail {
    /// Adds nothing.
    fn add_to(self, error: &mut GuestError);
}

impl<E: Serialize + Schema> DetailOfSchema for &Detail<'_, E> {
    fn add_to(self, error: &mut GuestError) {
        if !is_own(E::SCHEMA) {
            return;
        }
        // Without its bytes an error still has its name and what it displays.
        let Ok(payload) = postcard::to_allocvec(self.0) else { return };
        if let DataModelType::Enum(variants) = E::SCHEMA.ty
            && let Ok((at, _)) = postcard::take_from_bytes::<u32>(&payload)
            && let Some(variant) = variants.get(at as usize)
        {
            error.variant = variant.name.strip_prefix("r#").unwrap_or(variant.name).to_owned();
        }
        error.payload = Some(payload).filter(|payload| payload.len() <= MAX_PAYLOAD);
    }
}

impl<E: Variant> DetailOfVariant for &&Detail<'_, E> {
    fn add_to(self, error: &mut GuestError) {
        error.variant = self.0.variant().to_owned();
    }
}

impl<E> NoDetail for Detail<'_, E> {
    fn add_to(self, _: &mut GuestError) {}
}

/// The type's name without its path and its arguments: `DivisionByZero`.
fn short_name<E>() -> String {
    short(core::any::type_name::<E>())
}

fn short(path: &str) -> String {
    let path = path.find('<').map_or(path, |end| &path[..end]);
    let name = path.rfind(':').map_or(path, |colon| &path[colon + 1..]);
    // A text and a box as errors say nothing by their types.
    if matches!(name, "String" | "&str" | "str" | "Box") {
        "Error".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::ParseIntError;

    #[test]
    fn an_error_tells_its_type_its_message_its_place_and_its_sources() {
        let error = "x".parse::<i32>().unwrap_err();
        let error = (Caught(&error)).into_guest_error("f at lib.rs:1");
        assert_eq!(error.name, "ParseIntError");
        assert_eq!(error.message, "invalid digit found in string");
        assert_eq!(error.stack, "in f at lib.rs:1");

        #[derive(Debug)]
        struct Outer(ParseIntError);
        impl Display for Outer {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("no number")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let outer = Outer("x".parse::<i32>().unwrap_err());
        let error = (Caught(&outer)).into_guest_error("f at lib.rs:1");
        assert_eq!(error.stack, "in f at lib.rs:1\ncaused by: invalid digit found in string");
    }

    #[test]
    fn a_types_name_stands_without_its_path_and_its_arguments() {
        for (path, name) in [
            ("a::b::Failed", "Failed"),
            ("Failed", "Failed"),
            ("a::Failed<b::C<d::E>>", "Failed"),
            ("alloc::string::String", "Error"),
            ("&str", "Error"),
            ("alloc::boxed::Box<dyn core::error::Error>", "Error"),
        ] {
            assert_eq!(short(path), name);
        }
    }

    #[test]
    fn texts_and_guest_errors_are_errors_too() {
        let text = (&Caught(&"no".to_owned())).into_guest_error("f");
        assert_eq!((text.name.as_str(), text.message.as_str()), ("Error", "no"));

        let own = (Caught(&GuestError::new("Mine", "m"))).into_guest_error("f");
        assert_eq!((own.name.as_str(), own.stack.as_str()), ("Mine", "in f"));
    }
}
