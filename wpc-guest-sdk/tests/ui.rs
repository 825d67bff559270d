//! Each mistake in a macro's use gives one clear message at the right place.

/// The messages hold the compiler's own words, which change from release to release.
#[rustversion::attr(not(stable(1.95)), ignore = "the expected messages are those of rustc 1.95")]
#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
