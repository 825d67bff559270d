//! Every public item has an example; `missing_docs` only requires a description.

const SOURCES: [&str; 7] = [
    include_str!("../src/lib.rs"),
    include_str!("../src/macros.rs"),
    include_str!("../src/host.rs"),
    include_str!("../src/panics.rs"),
    include_str!("../src/testing/mod.rs"),
    include_str!("../src/testing/installed.rs"),
    include_str!("../../wpc-abi/src/names.rs"),
];

/// Whether a line starts a public item.
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    [
        "pub fn ",
        "pub struct ",
        "macro_rules! ",
        "pub use wpc_guest_macros::",
        "pub use schema::",
        "pub enum LogLevel",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

#[test]
fn every_item_has_an_example() {
    let mut shown = 0;
    // Compiled for wasm only, where documentation is not built.
    let elsewhere =
        "/// With the standard library, which defines a handler itself, this is a compile error.";
    for source in SOURCES {
        // Used by expansions of macros only.
        let hidden = ["call_dependency", "log_formatted", "faked", "guest_error"];
        let mut has_example = false;
        for line in source.lines() {
            let text = line.trim_start();
            if text.starts_with("///") {
                has_example |= text.starts_with("/// ```") || text == elsewhere;
                continue;
            }
            // The example of the trait shows the derive, which has the same name.
            let is_derive = text == "pub use wpc_guest_macros::Schema;";
            if is_item(line) && !is_derive && !hidden.iter().any(|name| text.contains(name)) {
                assert!(has_example, "an example is missing: {line}");
                shown += 1;
            }
            // Attributes are between an item and its documentation.
            has_example &= text.starts_with("#[");
        }
    }
    assert!(shown > 25, "only {shown} items were checked");
}
