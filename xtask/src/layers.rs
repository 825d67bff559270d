//! Compares the imports of `wpc-host`, `wpc-deploy`, `wpc-server`, `wpc-cluster` and `wpc-cli` with the layers that ARCHITECTURE.md lists: an
//! import that goes up is an error, and so is a module without a layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module's layer by its name; the lowest is the last in the document.
type Layers = BTreeMap<String, usize>;

/// The rows of the first table after `heading`. A row without a layer belongs to that of the row above.
fn layers(document: &str, heading: &str) -> Layers {
    let (_, section) = document.split_once(heading).expect("the section exists");
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let mut layer = 0;
    let mut found = Layers::new();
    for row in rows.skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if !cells[1].is_empty() {
            layer += 1;
        }
        for module in cells[2].split(',') {
            found.insert(module.trim().trim_matches('`').to_owned(), layer);
        }
    }
    found
}

/// Every source file below `folder`, with the name of its top-level module; the crate's root has none.
fn sources(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(folder).unwrap().with_extension("");
                let module = relative.iter().next().unwrap().to_str().unwrap().to_owned();
                if !matches!(module.as_str(), "lib" | "main") {
                    found.push((module, path));
                }
            }
        }
    }
    found
}

/// What a file imports from its crate's root, without comments and unit tests.
fn imports(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String =
        code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group)),
            None => found.extend(name(rest)),
        }
    }
    found
}

fn name(text: &str) -> Option<String> {
    let name: String =
        text.trim_start().chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first names of a group's members, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut found: Vec<String> = name(group).into_iter().collect();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.extend(name(&group[at + 1..])),
            _ => {}
        }
    }
    found
}

/// Which module the crate's root takes a name from, as in `pub use error::Error`.
fn reexports(root: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for rest in root.split("pub use ").skip(1) {
        let Some((path, _)) = rest.split_once(';') else { continue };
        let Some((module, names)) = path.split_once("::") else { continue };
        let names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
        found.extend(names.map(|name| (name.to_owned(), module.to_owned())));
    }
    found
}

fn check(krate: &str, root: &str, heading: &str) {
    let workspace = crate::root().unwrap();
    let document = fs::read_to_string(workspace.join("ARCHITECTURE.md")).unwrap();
    let layers = layers(&document, heading);
    let folder = workspace.join(krate).join("src");
    let reexports = reexports(&fs::read_to_string(folder.join(root)).unwrap());
    let mut modules = BTreeSet::new();
    let mut wrong = Vec::new();
    for (module, path) in sources(&folder) {
        modules.insert(module.clone());
        let Some(own) = layers.get(&module) else {
            wrong.push(format!("`{module}` has no layer"));
            continue;
        };
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            let import = reexports.get(&import).unwrap_or(&import);
            let goes_up = layers.get(import).is_some_and(|other| other < own);
            if goes_up {
                wrong.push(format!(
                    "{}: `{module}` imports `{import}`, which is above it",
                    path.display()
                ));
            }
        }
    }
    let gone = layers.keys().filter(|module| !modules.contains(*module));
    wrong.extend(gone.map(|module| format!("`{module}` has a layer, but does not exist")));
    assert!(wrong.is_empty(), "ARCHITECTURE.md, \"{heading}\":\n{}", wrong.join("\n"));
}

#[test]
fn imports_of_the_host_go_down() {
    check("wpc-host", "lib.rs", "## The layers of `wpc-host`");
}

#[test]
fn imports_of_the_deployment_library_go_down() {
    check("wpc-deploy", "lib.rs", "## The layers of `wpc-deploy`");
}

#[test]
fn imports_of_the_server_go_down() {
    check("wpc-server", "lib.rs", "## The layers of `wpc-server`");
}

#[test]
fn imports_of_the_cluster_go_down() {
    check("wpc-cluster", "lib.rs", "## The layers of `wpc-cluster`");
}

#[test]
fn imports_of_the_command_go_down() {
    check("wpc-cli", "main.rs", "## The layers of `wpc-cli`");
}

#[test]
fn an_import_is_found_in_each_form() {
    let source =
        "use crate::a::B;\nuse crate::{c::{D, E}, f};\nfn g() { crate::h::i() } // crate::j\n";
    assert_eq!(imports(source), ["a", "c", "f", "h"].map(str::to_owned).into());
}

#[test]
fn a_row_without_a_layer_belongs_to_the_one_above() {
    let document = "## Here\n\n| layer | modules | owns |\n|---|---|---|\n| 2 | `a` | |\n| | `b`, `c` | |\n| 1 | `d` | |\n";
    let layers = layers(document, "## Here");
    assert_eq!([layers["a"], layers["b"], layers["c"], layers["d"]], [1, 1, 1, 2]);
}
