//! What authors use is shown, not only told: `missing_docs` asks for words, this for an example.

const SOURCES: [&str; 5] = [
    include_str!("../src/lib.rs"),
    include_str!("../src/host.rs"),
    include_str!("../src/panics.rs"),
    include_str!("../src/testing/mod.rs"),
    include_str!("../../wpc-abi/src/names.rs"),
];

/// How a public item that authors meet starts.
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
    // Only on wasm, where documentation is not made.
    let elsewhere = "/// With the standard library, which has a handler of its own.";
    for source in SOURCES {
        // What only the macros' expansions call is no part of what authors see.
        let hidden = ["call_dependency", "log_formatted", "faked", "guest_error"];
        let mut has_example = false;
        for line in source.lines() {
            let text = line.trim_start();
            if text.starts_with("///") {
                has_example |= text.starts_with("/// ```") || text == elsewhere;
                continue;
            }
            // The derive is shown with the trait, under whose name both go out.
            let is_derive = text == "pub use wpc_guest_macros::Schema;";
            if is_item(line) && !is_derive && !hidden.iter().any(|name| text.contains(name)) {
                assert!(has_example, "it has no example: {line}");
                shown += 1;
            }
            // Attributes stand between an item and its documentation.
            has_example &= text.starts_with("#[");
        }
    }
    assert!(shown > 25, "only {shown} were looked at");
}
