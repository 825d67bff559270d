//! `build`: the types that `wpc.toml` declares for a module.

use crate::support::{err, fails_with, out, root, wpc_from};

#[test]
fn invalid_signatures_are_reported_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::copy(root("examples/languages/wat/greeter.wat"), folder.join("main.wat")).unwrap();
    for (signatures, expected) in [
        (
            "greet = \"(name: Strin) -> String\"",
            "wpc.toml:2: the signature of \"greet\": at byte 7",
        ),
        (
            "missing = \"()\"",
            "wpc.toml:2: the module does not have a function \"missing\"; it has greet",
        ),
    ] {
        std::fs::write(folder.join("wpc.toml"), format!("[build.signatures]\n{signatures}"))
            .unwrap();
        let message = fails_with(2, &wpc_from(folder, &["build"]));
        assert!(message.contains(expected), "{message}");
    }
    assert!(
        fails_with(2, &wpc_from(folder, &["build", "wpc.toml"])).contains("expected a source file")
    );
    let empty = tempfile::tempdir().unwrap();
    assert!(fails_with(2, &wpc_from(empty.path(), &["build"])).contains("found no project"));
}

#[test]
fn declared_documentation_is_added_to_the_module() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let module = r#"(module (func (export "f")) (func (export "g"))
        (@custom "wpc.docs" "\01\04\01g\01x"))"#;
    std::fs::write(folder.join("main.wat"), module).unwrap();
    let build = |declared: &str| {
        let manifest = format!("[build.documentation]\n{declared}");
        std::fs::write(folder.join("wpc.toml"), manifest).unwrap();
        wpc_from(folder, &["build", "main.wat"])
    };
    for (declared, expected) in [
        ("h = \"Text.\"", "wpc.toml:2: the module does not have a function \"h\""),
        ("g = \"Text.\"", "wpc.toml:2: the module already has documentation of \"g\""),
        (&*format!("f = \"{}\"", "x".repeat(4_097)), "has 4097 bytes; the maximum is 4096"),
    ] {
        let message = fails_with(2, &build(declared));
        assert!(message.contains(expected), "{message}");
    }
    let built = out(&build("f = \"Does nothing.\\n\\nAt all.\""));
    assert!(built.contains("  f() -> ()  // Does nothing.\n  g() -> ()  // x\n"), "{built}");
}

/// A module whose function `f` returns the constant LIMIT, with imports from a dependency and from the host.
const READS_LIMIT: &str = r#"(module
    (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
    (import "wpc:stemmer" "stem" (func (param i32 i32 i32 i32) (result i64)))
    (import "wpc-host" "price" (func (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 16) "LIMIT")
    (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
    (func (export "f") (param i32 i32) (result i64)
        ;; A reply at 64 (the upper half) of at least one byte (the lower half): its kind, then the constant.
        (i64.add (i64.const 0x00000040_00000001)
            (call $constant (i32.const 16) (i32.const 5) (i32.const 65) (i32.const 512)))))"#;

#[test]
fn declared_types_of_constants_and_imports_are_added_to_the_module() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("main.wat"), READS_LIMIT).unwrap();
    let build = |declared: &str| {
        std::fs::write(folder.join("wpc.toml"), declared).unwrap();
        wpc_from(folder, &["build", "main.wat"])
    };
    for (declared, expected) in [
        (
            "[build.constants]\nLIMIT = \"u9\"",
            "wpc.toml:2: the type of constant \"LIMIT\": at byte 0",
        ),
        (
            "[build.dependencies.stemmer]\nstm = \"()\"",
            "wpc.toml:2: the module does not have an import from \"stemmer\" named \"stm\"; it has stem",
        ),
        (
            "[build.dependencies.other]\nstem = \"()\"",
            "wpc.toml:2: the module does not have an import from \"other\" named \"stem\"; it does not have any",
        ),
        (
            "[build.host_functions]\nlookup = \"()\"",
            "wpc.toml:2: the module does not have an import from the host named \"lookup\"; it has price",
        ),
    ] {
        let message = fails_with(2, &build(declared));
        assert!(message.contains(expected), "{message}");
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
    let output = out(&wpc_from(folder, &["inspect", "main.wasm"]));
    for line in [
        "constants       LIMIT: u32\n",
        "dependencies    stemmer (stem(word: String) -> String)\n",
        "host functions  price(item: String) -> u32\n",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let output: serde_json::Value =
        serde_json::from_str(&out(&wpc_from(folder, &["--json", "inspect", "main.wasm"]))).unwrap();
    assert_eq!(output["constant_types"]["LIMIT"][0]["text"], "u32");
    let stem = &output["required_dependencies"][0]["signatures"]["stem"][0];
    assert_eq!(stem["text"], "(word: String) -> String");
    assert_eq!(stem["parameters"][0]["type"]["ty"], "String");
}

#[test]
fn the_types_of_called_functions_are_added_to_the_module() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = r#"(module (import "wpc-functions" "greet" (func (param i32 i32 i32 i32) (result i64)))
        (import "wpc" "wpc_call" (func (param i32 i32 i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1) (func (export "f")))"#;
    std::fs::write(folder.join("main.wat"), text).unwrap();
    let build = |declared: &str| {
        std::fs::write(folder.join("wpc.toml"), format!("[build.functions]\n{declared}")).unwrap();
        wpc_from(folder, &["build", "main.wat"])
    };
    let message = fails_with(2, &build("other = \"()\""));
    let expected =
        "the module does not have an import from other functions named \"other\"; it has greet";
    assert!(message.contains(expected), "{message}");
    out(&build("greet = \"(name: String) -> String\""));
    let output = out(&wpc_from(folder, &["inspect", "main.wasm"]));
    for line in [
        "calls           greet(name: String) -> String, names that it computes\n",
        "can suspend     while it calls function greet\n",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let refused = fails_with(3, &wpc_from(folder, &["call", "main.wasm", "f"]));
    assert!(refused.contains("grant it with `--grant function=greet`"), "{refused}");
    let granted = ["call", "main.wasm", "f", "--grant", "function=greet"];
    assert_eq!(out(&wpc_from(folder, &granted)), "null\n");
}

#[test]
fn a_constant_gets_the_type_that_its_module_declares() {
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
    // A constant of a manifest does not need a type either.
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
    let message = fails_with(3, &call(&[]));
    assert!(
        message.contains("wpc.toml:3: function \"f\"") && message.contains(differs),
        "{message}"
    );
}
