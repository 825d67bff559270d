//! `new`: projects in each language, built to modules that can be called.

use crate::process::{command, run};
use crate::support::{err, fails_with, out, root, wpc, wpc_from};
use std::path::Path;
use std::process::Command;

/// Whether all compilers must be installed, so that a missing one fails the test. Otherwise the command must report
/// the missing compiler.
pub(crate) fn expects_every_compiler() -> bool {
    std::env::var_os("WPC_EVERY_COMPILER").is_some()
}

pub(crate) fn project(folder: &Path, lang: &str) -> String {
    let made = wpc_from(folder, &["new", "hello-1", "--lang", lang]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    assert!(out(&made).contains("wpc build"), "{}", out(&made));
    let project = folder.join("hello-1");
    if lang == "assemblyscript" && expects_every_compiler() {
        let npm = run(Command::new("npm").args(["install", "--silent"]).current_dir(&project));
        assert!(npm.status.success(), "{}", err(&npm));
    }
    if lang == "rust" {
        // Use the dependency versions that are already downloaded.
        std::fs::copy(root("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    }
    project.display().to_string()
}

fn builds_and_runs(lang: &str) {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), lang);
    let built = wpc(&["build", &project]);
    if built.status.code() == Some(1) && !expects_every_compiler() {
        let message = err(&built);
        assert!(
            message.contains("found no compiler for") && message.contains("install"),
            "{message}"
        );
        return;
    }
    assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    let message = out(&built);
    assert!(
        message.contains("built by") && message.contains("  greet(name: String) -> String"),
        "{message}"
    );
    let tested = wpc(&["test", &project]);
    assert_eq!(out(&tested), "2 tests passed\n", "{}", err(&tested));
    let module = format!("{project}/hello-1.wasm");
    let greeted = wpc(&["call", &module, "greet", "Ada"]);
    assert_eq!(out(&greeted), "\"Hello, Ada!\"\n", "{}", err(&greeted));
    fails_with(4, &wpc(&["call", &module, "greet", ""]));
}

#[test]
fn a_rust_project_builds_and_runs() {
    builds_and_runs("rust");
}

#[test]
fn rust_projects_share_a_target_folder_but_no_module() {
    let folder = tempfile::tempdir().unwrap();
    let build = |project: &str| {
        let mut build = command(&["build", project]);
        let built = run(build.env_remove("CARGO_TARGET_DIR"));
        assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    };
    let greets = |project: &str| out(&wpc(&["call", project, "greet", "Ada"]));
    let [one, two] = ["one", "two"].map(|name| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let project = project(&folder, "rust");
        let source = Path::new(&project).join("src/lib.rs");
        let code = std::fs::read_to_string(&source).unwrap();
        std::fs::write(&source, code.replace("Hello", name)).unwrap();
        // Cargo considers a package compiled if its sources are older than its output.
        let source = std::fs::File::options().append(true).open(source).unwrap();
        source.set_modified(std::time::UNIX_EPOCH).unwrap();
        project
    });
    for (project, greeting) in [(&one, "one"), (&two, "two"), (&one, "one"), (&one, "one")] {
        build(project);
        assert_eq!(greets(project), format!("\"{greeting}, Ada!\"\n"));
        assert!(!Path::new(project).join("target").exists());
    }
    // Another project at the path of the first one.
    std::fs::rename(&one, folder.path().join("moved")).unwrap();
    std::fs::rename(&two, &one).unwrap();
    build(&one);
    assert_eq!(greets(&one), "\"two, Ada!\"\n");
}

#[test]
fn the_native_tests_of_a_rust_project_pass() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), "rust");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tested = run(Command::new(cargo).arg("test").current_dir(&project));
    assert!(out(&tested).contains("2 passed"), "{}{}", out(&tested), err(&tested));
}

#[test]
fn the_sdk_is_vendored_or_taken_from_a_folder_or_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = |name: &str, more: &[&str]| {
        let made = wpc_from(folder, &[&["new", name], more].concat());
        assert_eq!(made.status.code(), Some(0), "{}", err(&made));
        std::fs::read_to_string(folder.join(name).join("Cargo.toml")).unwrap()
    };
    let cargo = made("alone", &[]);
    assert!(cargo.contains("{ path = \"vendor/wpc-guest-sdk\" }"), "{cargo}");
    let sdk = std::fs::canonicalize(root("wpc-guest-sdk")).unwrap();
    let repository = sdk.parent().unwrap().display().to_string();
    // The project does not contain the path of the repository that built the command.
    let mut open = vec![folder.join("alone")];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                assert!(!std::fs::read_to_string(&path).unwrap().contains(&repository), "{path:?}");
            }
        }
    }
    assert!(made("published", &["--sdk", "0.1"]).contains("wpc-guest-sdk = \"0.1\""));
    assert!(!folder.join("published/vendor").exists());
    let cargo = made("beside", &["--sdk", &sdk.display().to_string()]);
    assert!(cargo.contains(&sdk.display().to_string()), "{cargo}");
    let message = fails_with(2, &wpc_from(folder, &["new", "lost", "--sdk", "nowhere"]));
    assert!(message.contains("--sdk \"nowhere\": expected a version"), "{message}");
}

#[test]
fn a_project_with_structs_builds_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = wpc_from(folder, &["new", "shop", "--template", "serde"]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    let project = folder.join("shop");
    std::fs::copy(root("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    // Projects below one folder share a target folder by cargo's configuration.
    std::fs::create_dir(folder.join(".cargo")).unwrap();
    std::fs::write(folder.join(".cargo/config.toml"), "[build]\ntarget-dir = \"target\"\n")
        .unwrap();
    let tested = wpc_from(&project, &["test"]);
    assert_eq!(out(&tested), "2 tests passed\n", "{}", err(&tested));
    assert!(folder.join("target").is_dir() && !project.join("target").exists());
    let ordered = wpc_from(
        &project,
        &["call", ".", "order", r#"[{"name": "tea", "count": 2, "price": 300}]"#],
    );
    assert_eq!(out(&ordered), "{\"items\":2,\"notes\":[],\"total\":600}\n", "{}", err(&ordered));
    let message = wpc_from(folder, &["new", "other", "--template", "serde", "--lang", "c"]);
    assert!(fails_with(2, &message).contains("`serde` requires Rust"));
}

#[test]
fn templates_and_examples_contain_the_same_helpers() {
    for file in
        ["c/wpc.h", "zig/wpc.zig", "assemblyscript/package.json", "assemblyscript/assembly/wpc.ts"]
    {
        let read = |folder: &str| std::fs::read(root(folder).join(file)).unwrap();
        assert!(read("wpc-cli/templates") == read("examples/languages"), "{file}");
    }
}

#[test]
fn a_c_project_builds_and_runs() {
    builds_and_runs("c");
}

#[test]
fn a_zig_project_builds_and_runs() {
    builds_and_runs("zig");
}

#[test]
fn an_assemblyscript_project_builds_and_runs() {
    builds_and_runs("assemblyscript");
}

#[test]
fn a_webassembly_text_project_builds_and_runs() {
    builds_and_runs("wat");
}

#[test]
fn a_project_needs_a_new_or_empty_folder_and_a_valid_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, "wat");
    let again = wpc_from(folder, &["new", "hello-1"]);
    assert!(fails_with(2, &again).contains("already exists"));
    for name in ["1st", "a b", ".", "a/..", "-"] {
        let message = fails_with(2, &wpc_from(folder, &["new", "--", name]));
        assert!(message.contains("invalid project name"), "{name}: {message}");
    }
    assert!(fails_with(2, &wpc_from(folder, &["new", "x", "--lang", "cobol"])).contains("rust"));
}
