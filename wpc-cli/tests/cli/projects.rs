//! `new` and `build`: from nothing to a module that answers, in each language.

use crate::support::{err, fails_with, out, root, wat, wpc, wpc_from};
use std::path::Path;
use std::process::Command;

/// Whether the machine is to have every compiler: then one that is not found is a failure. Without, the
/// project is made, and the command is to say what is missing.
pub(crate) fn expects_every_compiler() -> bool {
    std::env::var_os("WPC_EVERY_COMPILER").is_some()
}

fn project(folder: &Path, lang: &str) -> String {
    let made = wpc_from(folder, &["new", "hello-1", "--lang", lang]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    assert!(out(&made).contains("wpc build"), "{}", out(&made));
    let project = folder.join("hello-1");
    if lang == "assemblyscript" && expects_every_compiler() {
        let npm = Command::new("npm").args(["install", "--silent"]).current_dir(&project).status();
        assert!(npm.unwrap().success());
    }
    if lang == "rust" {
        // The versions that are here already.
        std::fs::copy(root("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    }
    project.display().to_string()
}

fn becomes_a_function(lang: &str) {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), lang);
    let built = wpc(&["build", &project]);
    if built.status.code() == Some(1) && !expects_every_compiler() {
        let said = err(&built);
        assert!(said.contains("there is no compiler of") && said.contains("install"), "{said}");
        return;
    }
    assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    let said = out(&built);
    assert!(
        said.contains("built by") && said.contains("  greet(name: String) -> String"),
        "{said}"
    );
    let tested = wpc(&["test", &project]);
    assert_eq!(out(&tested), "2 tests passed\n", "{}", err(&tested));
    let module = format!("{project}/hello-1.wasm");
    let greeted = wpc(&["call", &module, "greet", "Ada"]);
    assert_eq!(out(&greeted), "\"Hello, Ada!\"\n", "{}", err(&greeted));
    fails_with(4, &wpc(&["call", &module, "greet", ""]));
}

#[test]
fn a_project_in_rust_becomes_a_function() {
    becomes_a_function("rust");
}

#[test]
fn a_project_in_rust_tests_itself_natively() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), "rust");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tested = Command::new(cargo).arg("test").current_dir(&project).output().unwrap();
    assert!(out(&tested).contains("2 passed"), "{}{}", out(&tested), err(&tested));
}

#[test]
fn a_project_takes_its_sdk_from_itself_a_folder_or_a_version() {
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
    // Nothing in the project leads to where the command was built.
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
    let said = fails_with(2, &wpc_from(folder, &["new", "lost", "--sdk", "nowhere"]));
    assert!(said.contains("--sdk \"nowhere\": a version"), "{said}");
}

#[test]
fn a_project_with_structures_becomes_a_function() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = wpc_from(folder, &["new", "shop", "--template", "serde"]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    let project = folder.join("shop");
    std::fs::copy(root("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    // Projects below one folder share what is compiled, by cargo's own configuration.
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
    let said = wpc_from(folder, &["new", "other", "--template", "serde", "--lang", "c"]);
    assert!(fails_with(2, &said).contains("`serde` is in Rust"));
}

#[test]
fn a_build_warns_of_types_without_schema_and_of_output_that_goes_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(wpc_from(folder, &["new", "shop", "--template", "serde"]).status.code(), Some(0));
    let project = folder.join("shop");
    std::fs::copy(root("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("overflow-checks = true"), "{manifest}");
    let code = r#"
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Point { x: f64, y: f64 }

#[wpc::function]
fn mirror(point: Point, factor: u32) -> Point {
    println!("{}", point.x);
    let _ = factor;
    Point { x: point.y, y: point.x }
}

#[wpc::function]
fn overflows(by: u8) -> u8 {
    200 + by
}
"#;
    std::fs::write(project.join("src/lib.rs"), code).unwrap();
    std::fs::write(project.join("wpc.toml"), "").unwrap();
    let built = wpc_from(&project, &["build"]);
    assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    let warned = err(&built);
    let warned: Vec<_> = warned.lines().filter(|line| line.starts_with("warning: src/")).collect();
    let [argument, result, printed] = warned.as_slice() else { panic!("{warned:?}") };
    assert!(
        argument
            .contains("src/lib.rs:6: function \"mirror\": argument `point: Point` has no schema")
    );
    assert!(
        result.contains("result `Point` has no schema") && result.contains("derive(wpc::Schema)")
    );
    assert!(printed.contains("src/lib.rs:7: `println!`") && printed.contains("wpc::info!"));
    let told: serde_json::Value =
        serde_json::from_str(&out(&wpc_from(&project, &["--json", "build"]))).unwrap();
    assert_eq!(told["warnings"].as_array().unwrap().len(), 3, "{told}");
    let module = project.join("shop.wasm").display().to_string();
    let overflowed = wpc(&["call", &module, "overflows", "100"]);
    assert!(fails_with(5, &overflowed).contains("overflow"));
}

#[test]
fn templates_and_examples_have_the_same_helpers() {
    for file in
        ["c/wpc.h", "zig/wpc.zig", "assemblyscript/package.json", "assemblyscript/assembly/wpc.ts"]
    {
        let read = |folder: &str| std::fs::read(root(folder).join(file)).unwrap();
        assert!(read("wpc-cli/templates") == read("examples/languages"), "{file}");
    }
}

#[test]
fn a_project_in_c_becomes_a_function() {
    becomes_a_function("c");
}

#[test]
fn a_project_in_zig_becomes_a_function() {
    becomes_a_function("zig");
}

#[test]
fn a_project_in_assemblyscript_becomes_a_function() {
    becomes_a_function("assemblyscript");
}

#[test]
fn a_project_in_webassembly_text_becomes_a_function() {
    becomes_a_function("wat");
}

#[test]
fn a_project_is_made_where_nothing_is_and_by_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, "wat");
    let again = wpc_from(folder, &["new", "hello-1"]);
    assert!(fails_with(2, &again).contains("is there already"));
    for name in ["1st", "a b", ".", "a/..", "-"] {
        let said = fails_with(2, &wpc_from(folder, &["new", "--", name]));
        assert!(said.contains("a project's name is"), "{name}: {said}");
    }
    assert!(fails_with(2, &wpc_from(folder, &["new", "x", "--lang", "cobol"])).contains("rust"));
}

#[test]
fn a_single_file_is_built_beside_itself_or_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(
        folder.join("one.wat"),
        r#"(module (func (export "one") (result i32) i32.const 1))"#,
    )
    .unwrap();
    let told = wpc_from(folder, &["--json", "build", "one.wat"]);
    let told: serde_json::Value = serde_json::from_str(&out(&told)).unwrap();
    assert_eq!(told["module"]["functions"][0]["name"], "one", "{told}");
    assert!(folder.join("one.wasm").is_file());
    wpc_from(folder, &["build", "one.wat", "--output", "other.wasm"]);
    assert_eq!(out(&wpc_from(folder, &["call", "other.wasm", "one"])), "1\n");
}

#[test]
fn what_does_not_build_leaves_the_module_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    wat(folder, "main.wasm", r#"(module (func (export "f")))"#);
    let before = std::fs::read(folder.join("main.wasm")).unwrap();
    for text in ["(module (func (export \"f\") i32.add))", "(module"] {
        std::fs::write(folder.join("main.wat"), text).unwrap();
        let built = wpc_from(folder, &["build", "main.wat"]);
        assert_eq!(built.status.code(), Some(7), "{}", err(&built));
        assert!(err(&built).contains("(project)"), "{}", err(&built));
        assert_eq!(std::fs::read(folder.join("main.wasm")).unwrap(), before);
    }
    let left: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn signatures_are_added_and_wrong_ones_told_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::copy(root("examples/languages/wat/greeter.wat"), folder.join("main.wat")).unwrap();
    for (signatures, told) in [
        (
            "greet = \"(name: Strin) -> String\"",
            "wpc.toml:2: the signature of \"greet\": at byte 7",
        ),
        ("nobody = \"()\"", "wpc.toml:2: the module has no function \"nobody\"; it has: greet"),
    ] {
        std::fs::write(folder.join("wpc.toml"), format!("[build.signatures]\n{signatures}"))
            .unwrap();
        let said = fails_with(2, &wpc_from(folder, &["build"]));
        assert!(said.contains(told), "{said}");
    }
    assert!(fails_with(2, &wpc_from(folder, &["build", "wpc.toml"])).contains("a source file is"));
    let empty = tempfile::tempdir().unwrap();
    assert!(fails_with(2, &wpc_from(empty.path(), &["build"])).contains("there is no Cargo.toml"));
}

/// A function `f` that gives the constant LIMIT back, and one that asks the host and a dependency.
const READS_LIMIT: &str = r#"(module
    (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
    (import "wpc:stemmer" "stem" (func (param i32 i32 i32 i32) (result i64)))
    (import "wpc-host" "price" (func (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 16) "LIMIT")
    (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
    (func (export "f") (param i32 i32) (result i64)
        (i64.or (i64.const 274877906944) (i64.add (i64.const 1)
            (call $constant (i32.const 16) (i32.const 5) (i32.const 65) (i32.const 512))))))"#;

#[test]
fn types_of_constants_and_imports_are_added_and_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("main.wat"), READS_LIMIT).unwrap();
    let build = |declared: &str| {
        std::fs::write(folder.join("wpc.toml"), declared).unwrap();
        wpc_from(folder, &["build", "main.wat"])
    };
    for (declared, told) in [
        (
            "[build.constants]\nLIMIT = \"u9\"",
            "wpc.toml:2: the type of constant \"LIMIT\": at byte 0",
        ),
        (
            "[build.dependencies.stemmer]\nstm = \"()\"",
            "wpc.toml:2: the module has no import from \"stemmer\", \"stm\"; it has: stem",
        ),
        (
            "[build.dependencies.other]\nstem = \"()\"",
            "wpc.toml:2: the module has no import from \"other\", \"stem\"; it has none",
        ),
        (
            "[build.host_functions]\nlookup = \"()\"",
            "wpc.toml:2: the module has no import from the host, \"lookup\"; it has: price",
        ),
    ] {
        let said = fails_with(2, &build(declared));
        assert!(said.contains(told), "{said}");
    }
    let built = build(
        r#"[build.signatures]
        f = "() -> u32"
        [build.constants]
        LIMIT = "u32"
        [build.dependencies.stemmer]
        stem = "(word: String) -> String"
        [build.host_functions]
        price = "(item: String) -> u32""#,
    );
    assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    let told = out(&wpc_from(folder, &["inspect", "main.wasm"]));
    for line in [
        "constants       LIMIT: u32\n",
        "dependencies    stemmer (stem(word: String) -> String)\n",
        "host functions  price(item: String) -> u32\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let told: serde_json::Value =
        serde_json::from_str(&out(&wpc_from(folder, &["--json", "inspect", "main.wasm"]))).unwrap();
    assert_eq!(told["constant_types"]["LIMIT"], "u32");
    assert_eq!(told["required_dependencies"][0]["signatures"]["stem"], "(word: String) -> String");
}

#[test]
fn a_constant_has_the_type_that_its_module_declares() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let imports = ["\"wpc:stemmer\" \"stem\"", "\"wpc-host\" \"price\""];
    let lines =
        READS_LIMIT.lines().filter(|line| !imports.iter().any(|import| line.contains(import)));
    std::fs::write(folder.join("main.wat"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let declared = "[build.signatures]\nf = \"() -> u32\"\n[build.constants]\nLIMIT = \"u32\"\n";
    std::fs::write(folder.join("wpc.toml"), declared).unwrap();
    let built = wpc_from(folder, &["build", "main.wat"]);
    assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    let call = |constant: &str| wpc_from(folder, &["call", "main.wasm", "f", "--const", constant]);
    for constant in ["LIMIT=3", "LIMIT:u32=3"] {
        let called = call(constant);
        assert_eq!(out(&called), "3\n", "{}", err(&called));
    }
    let differs = "constant \"LIMIT\" does not have the type that is declared by function \"f\": expected `u32`, found `i64`";
    assert!(fails_with(3, &call("LIMIT:i64=3")).contains(differs));
    assert!(fails_with(2, &call("LIMIT=-1")).contains("`LIMIT`: expected u32, found -1"));
    // A manifest needs no type either.
    let manifest = |limit: &str| {
        let text = format!("[constants]\nLIMIT = {limit}\n[functions.f]\nfile = \"main.wasm\"\n");
        std::fs::write(folder.join("wpc.toml"), text).unwrap();
    };
    manifest("3");
    let call = |options: &[&str]| wpc_from(folder, &[&["call", ".", "f"], options].concat());
    let called = call(&[]);
    assert_eq!(out(&called), "3\n", "{}", err(&called));
    assert_eq!(out(&call(&["--const", "LIMIT=4"])), "4\n");
    assert!(fails_with(3, &call(&["--const", "LIMIT:i64=4"])).contains(differs));
    manifest("{ type = \"i64\", value = 3 }");
    let said = fails_with(3, &call(&[]));
    assert!(said.contains("wpc.toml:3: function \"f\"") && said.contains(differs), "{said}");
}

#[test]
fn a_module_goes_where_it_may_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = r#"(module (func (export "one") (result i32) i32.const 1))"#;
    std::fs::write(folder.join("-one.wat"), text).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    for (output, told) in [("folder", "no file that could be replaced"), ("-one.wat", "the source")]
    {
        let built = wpc_from(folder, &["build", "./-one.wat", &format!("--output={output}")]);
        assert!(fails_with(2, &built).contains(told), "{output}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("target.wasm", folder.join("link.wasm")).unwrap();
        std::fs::write(folder.join("target.wasm"), "old").unwrap();
        let built = wpc_from(folder, &["build", "./-one.wat", "--output", "link.wasm"]);
        assert_eq!(built.status.code(), Some(0), "{}", err(&built));
        assert!(folder.join("link.wasm").is_symlink());
        assert_ne!(std::fs::read(folder.join("target.wasm")).unwrap(), b"old");
    }
    let target = wpc_from(folder, &["build", "./-one.wat", "--target", "banana"]);
    assert!(fails_with(2, &target).contains("`banana`"));
}

#[test]
#[cfg(unix)]
fn what_a_compiler_writes_and_prints_is_read_within_bounds() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let folder = std::fs::canonicalize(folder.path()).unwrap();
    std::fs::create_dir(folder.join("src")).unwrap();
    std::fs::write(folder.join("src/lib.rs"), "").unwrap();
    std::fs::write(folder.join("Cargo.toml"), "[package]\n").unwrap();
    let large = std::fs::File::create(folder.join("large.wasm")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let artifact = serde_json::json!({
        "reason": "compiler-artifact",
        "manifest_path": folder.join("Cargo.toml"),
        "filenames": [folder.join("large.wasm")],
    });
    let build = |prints: &str| {
        let script = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        let cargo = format!("[ \"$1\" = --version ] && echo cargo 1 && exit\n{prints}");
        Command::new(env!("CARGO_BIN_EXE_wpc"))
            .args(["build", &folder.display().to_string()])
            .env("CARGO", script("cargo", &cargo))
            .env("RUSTC", script("rustc", "echo /"))
            .output()
            .unwrap()
    };
    let said = fails_with(7, &build(&format!("echo '{artifact}'")));
    assert!(said.contains("it has more than 67108864 bytes"), "{said}");
    let said = fails_with(1, &build("exec yes"));
    assert!(said.contains("(cargo 1): it printed more than 67108864 bytes"), "{said}");
}

#[test]
fn two_functions_of_one_name_are_told_what_gives_one_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), "rust");
    let code = r#"
mod one { #[wpc::function] fn greet() -> u8 { 1 } }
mod other { #[wpc::function] fn greet() -> u8 { 2 } }
"#;
    std::fs::write(Path::new(&project).join("src/lib.rs"), code).unwrap();
    let said = fails_with(7, &wpc(&["build", &project]));
    assert!(
        said.contains("two functions are called \"greet\": give one of them another name with `#[wpc::function(name = \"…\")]`"),
        "{said}"
    );
}
