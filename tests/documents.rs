//! What the documents say of the tests is true.

use std::path::PathBuf;

/// Each `module::test` that `docs/security.md` names, where `*` stands for anything, is there.
#[test]
fn every_test_that_a_promise_names_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut named = 0;
    // Every other piece stands between backticks.
    for name in text.split('`').skip(1).step_by(2) {
        let Some((module, pattern)) = name.split_once("::") else { continue };
        let read = |folder| std::fs::read_to_string(root.join(format!("{folder}/{module}.rs")));
        let Ok(source) = read("tests").or_else(|_| read("wpc-cli/tests/cli")) else {
            // A type of the host's.
            assert!(
                module.starts_with(char::is_uppercase),
                "there is no module of tests `{module}`"
            );
            continue;
        };
        let tests = source.split("#[test]").skip(1).filter_map(|test| {
            test.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name)
        });
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let fits = |test: &str| {
            test == pattern
                || (pattern.contains('*') && test.starts_with(start) && test.ends_with(end))
        };
        assert!(tests.into_iter().any(fits), "`{name}` is no test");
        named += 1;
    }
    assert!(named > 30);
}
