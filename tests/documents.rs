//! The tests that documents name exist.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of the tests in a module such as `hostile::replies`, or `None` if its file does not exist. Modules of the server's
/// tests begin with `server::`, those of the cluster's tests and sources with `cluster::`.
fn tests_of(module: &str) -> Option<Vec<String>> {
    let (folders, module) = match module.split_once("::") {
        Some(("server", module)) => (["wpc-server/tests/all"].as_slice(), module),
        Some(("cluster", module)) => {
            (["wpc-cluster/tests/all", "wpc-cluster/src"].as_slice(), module)
        }
        _ => (["tests", "wpc-cli/tests/cli"].as_slice(), module),
    };
    let file = format!("{}.rs", module.replace("::", "/"));
    let read = |folder: &&str| std::fs::read_to_string(root().join(folder).join(&file)).ok();
    let source = folders.iter().find_map(read)?;
    let source = source.replace("#[tokio::test(flavor = \"multi_thread\")]", "#[test]");
    let tests = source.split("#[test]").skip(1).filter_map(|test| {
        let (_, rest) = test.split_once("fn ")?;
        rest.split_once('(').map(|(name, _)| name.to_owned())
    });
    Some(tests.collect())
}

/// Whether `*` in the pattern can stand for the rest of the name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        None => name == pattern,
    }
}

/// Checks each `module::test` between backticks, and returns how many there are.
fn check_named_tests(document: &Path) -> usize {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let mut named = 0;
    // Every second piece is between backticks.
    for name in text.split('`').skip(1).step_by(2) {
        let Some((module, pattern)) = name.rsplit_once("::") else { continue };
        if module.starts_with(char::is_uppercase) || pattern.is_empty() {
            // An item of a type, such as `Limits::fuel`, or a prefix.
            continue;
        }
        let tests = tests_of(module);
        let tests = tests.unwrap_or_else(|| panic!("test module `{module}` does not exist"));
        assert!(tests.iter().any(|test| matches(pattern, test)), "test `{name}` does not exist");
        named += 1;
    }
    named
}

#[test]
fn every_test_that_a_document_names_exists() {
    assert!(check_named_tests("docs/security.md".as_ref()) > 30);
    // The 19 cases and the 12 defects.
    assert!(check_named_tests("docs/node-library.md".as_ref()) >= 19 + 12);
}
