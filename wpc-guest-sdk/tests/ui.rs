//! Each mistake in the use of a macro is one error at the right span.

/// The expected output contains the compiler's own messages, which differ between releases.
#[rustversion::attr(not(stable(1.95)), ignore = "the expected output is that of rustc 1.95")]
#[cfg_attr(not(feature = "std"), ignore = "the output lists types that need `std`")]
#[test]
fn mistakes_are_reported_at_their_span() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
