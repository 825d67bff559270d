//! Converts errors into guest errors: the name of the type, the variant, the message, the sources and the encoded error.

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

/// An error that a function can return: any type that implements `Display`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot become a guest error, because it does not implement `std::fmt::Display`",
    label = "implement `Display` for this, or map the error to a `wpc::GuestError`"
)]
pub trait Failure {}

impl<E: Display + 'static> Failure for E {}

/// Compiles only for types that can be a function's error.
pub fn is_failure<E: Failure>() {}

/// An error to convert. Method resolution selects `into_guest_error` by the error's traits: a [`GuestError`] is kept, an
/// [`Error`] reports its sources, and any other error its message only.
#[derive(Debug)]
pub struct Caught<E>(pub E);

/// The conversion of errors that may have sources.
pub trait ChainOfError {
    /// Converts the error.
    fn into_guest_error(self, location: &str) -> GuestError;
}

/// The conversion of all other errors.
pub trait ChainOfAny {
    /// Converts the error.
    fn into_guest_error(self, location: &str) -> GuestError;
}

impl Caught<&GuestError> {
    /// Returns the error with `location`, at which it left the guest, added to its stack.
    #[must_use]
    pub fn into_guest_error(self, location: &str) -> GuestError {
        let mut error = self.0.clone();
        if !error.stack.is_empty() {
            error.stack.push('\n');
        }
        error.stack.push_str("in ");
        error.stack.push_str(location);
        error
    }
}

impl<E: Error + 'static> ChainOfError for Caught<&E> {
    fn into_guest_error(self, location: &str) -> GuestError {
        let mut stack = joined(&["in ", location]);
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
    fn into_guest_error(self, location: &str) -> GuestError {
        let stack = joined(&["in ", location]);
        GuestError::new(short_name::<E>(), self.0.to_string()).with_stack(stack)
    }
}

/// Names an error's variant. The [derive](macro@crate::Error) implements it.
pub trait Variant {
    /// The variant's name; empty for a struct.
    fn variant(&self) -> &'static str;
}

/// An error whose details are added to a guest error. Method resolution selects `add_to` by the error's traits: a schema
/// adds variant and payload, the derive of `wpc::Error` the variant only.
#[derive(Debug)]
pub struct Detail<'a, E>(pub &'a E);

impl<E> Clone for Detail<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Detail<'_, E> {}

/// The details of errors that can be encoded and have a schema.
pub trait DetailOfSchema {
    /// Adds variant and payload.
    fn add_to(self, error: &mut GuestError);
}

/// The details of errors with the derive.
pub trait DetailOfVariant {
    /// Adds the variant.
    fn add_to(self, error: &mut GuestError);
}

/// The details of all other errors.
pub trait NoDetail {
    /// Adds nothing.
    fn add_to(self, error: &mut GuestError);
}

impl<E: Serialize + Schema> DetailOfSchema for &Detail<'_, E> {
    fn add_to(self, error: &mut GuestError) {
        if !is_own(E::SCHEMA) {
            return;
        }
        // An error that does not encode is reported with name and message only.
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

/// The type's name without path and type arguments: `DivisionByZero`.
fn short_name<E>() -> String {
    short(core::any::type_name::<E>())
}

fn short(path: &str) -> String {
    let path = path.find('<').map_or(path, |end| &path[..end]);
    let name = path.rfind(':').map_or(path, |colon| &path[colon + 1..]);
    // The names of these types do not describe an error.
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
    fn an_error_reports_type_message_location_and_sources() {
        let error = "x".parse::<i32>().unwrap_err();
        let error = (Caught(&error)).into_guest_error("f at lib.rs:1");
        assert_eq!(error.name, "ParseIntError");
        assert_eq!(error.message, "invalid digit found in string");
        assert_eq!(error.stack, "in f at lib.rs:1");

        #[derive(Debug)]
        struct Outer(ParseIntError);
        impl Display for Outer {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("not a number")
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
    fn a_short_name_has_no_path_and_no_type_arguments() {
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
    fn strings_and_guest_errors_are_converted() {
        let text = (&Caught(&"no".to_owned())).into_guest_error("f");
        assert_eq!((text.name.as_str(), text.message.as_str()), ("Error", "no"));

        let own = (Caught(&GuestError::new("Mine", "m"))).into_guest_error("f");
        assert_eq!((own.name.as_str(), own.stack.as_str()), ("Mine", "in f"));
    }
}
