//! Runs the embedder's code and catches its panics, whatever their payload.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `run` and catches a panic. Returns the panic's message if it has one.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Result<T, Option<String>> {
    catch_unwind(AssertUnwindSafe(run)).map_err(message)
}

/// The message of a panic. The payload is the embedder's too, and may panic when it is dropped.
#[cold]
fn message(payload: Box<dyn Any + Send>) -> Option<String> {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping this payload could panic again, endlessly.
        std::mem::forget(second);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }

    #[test]
    fn a_panic_is_caught_with_its_message() {
        assert_eq!(contain(|| 1), Ok(1));
        assert_eq!(contain(|| panic!("a text")), Err::<(), _>(Some("a text".to_owned())));
        assert_eq!(contain(|| panic!("{}", 7)), Err::<(), _>(Some("7".to_owned())));
        assert_eq!(contain(|| panic_any(7)), Err::<(), _>(None));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_caught_too() {
        assert_eq!(contain(|| panic_any(PanicsWhenDropped)), Err::<(), _>(None));
    }
}
