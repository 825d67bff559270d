//! How an error becomes a guest error: its type's name, what it displays, what caused it.

use crate::text::joined;
use alloc::borrow::ToOwned as _;
use alloc::string::{String, ToString as _};
use core::error::Error;
use core::fmt::Display;
use wpc_abi::GuestError;

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
        GuestError { name: short_name::<E>(), message: self.0.to_string(), stack }
    }
}

impl<E: Display + 'static> ChainOfAny for &Caught<&E> {
    fn into_guest_error(self, place: &str) -> GuestError {
        GuestError {
            name: short_name::<E>(),
            message: self.0.to_string(),
            stack: joined(&["in ", place]),
        }
    }
}

/// The type's name without its path and its arguments: `DivisionByZero`.
fn short_name<E>() -> String {
    short(core::any::type_name::<E>())
}

fn short(path: &str) -> String {
    let path = path.find('<').map_or(path, |end| &path[..end]);
    let name = path.rfind(':').map_or(path, |colon| &path[colon + 1..]);
    // A text as an error says nothing by its type.
    if matches!(name, "String" | "&str" | "str") { "Error".to_owned() } else { name.to_owned() }
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
