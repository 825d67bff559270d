//! Each mistake in a macro's use gives one clear message at the right place.

/// The messages hold the compiler's own words, which change from release to release.
#[rustversion::attr(not(stable(1.95)), ignore = "the expected messages are those of rustc 1.95")]
#[cfg_attr(not(feature = "std"), ignore = "the messages list types that only `std` brings")]
#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
