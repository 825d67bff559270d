//! `call`, `bench`, `inspect`, `build --all` and `test` with a manifest.

use crate::running::write;
use crate::support::{err, fails_with, out, root, sdk, wpc, wpc_from};
use std::path::Path;

fn manifest(folder: &Path) -> String {
    let guests = root("examples/guests/wasm").display().to_string();
    let text = format!(
        r#"
        [constants]
        SERVICE_PREFIX = "demo"
        [dependencies.path_dep]
        file = "{guests}/path.wasm"
        [functions.label]
        file = "{guests}/function1.wasm"
        export = "WPCFunction1"
        [functions.unbuilt]
        file = "unbuilt.wasm"
        [modules.tools]
        file = "{}"
        "#,
        sdk()
    );
    write(folder, &text)
}

#[test]
fn a_call_uses_the_definitions_of_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let manifest = manifest(folder);
    let called = wpc_from(folder, &["call", ".", "label", "/a/b.txt"]);
    assert_eq!(out(&called), "\"demo:b.txt\"\n", "{}", err(&called));
    let prefix = ["--const", "SERVICE_PREFIX=\"other\""];
    let called =
        wpc(&[&["call", "--manifest", &manifest, "label", "/a/b.txt"], &prefix[..]].concat());
    assert_eq!(out(&called), "\"other:b.txt\"\n", "{}", err(&called));
    let called = wpc_from(folder, &["call", "--manifest", ".", "label"]);
    assert!(fails_with(2, &called).contains("bad_arguments"));
    for (arguments, code, expected) in [
        (vec!["call", ".", "lable", "x"], 3, "add it under [functions] or [modules]"),
        (vec!["call", ".", "ad", "1", "2"], 3, "did you mean \"add\"?"),
        (vec!["call", ".", "unbuilt"], 1, "has it been built?"),
        (
            vec!["call", ".", "label", "x", "--grant", "clock"],
            2,
            "--grant cannot be combined with a manifest; set `grants` in ",
        ),
        (
            vec!["call", ".", "label", "x", "--arguments-limit", "1MiB"],
            2,
            "--arguments-limit cannot be combined with a manifest; set `arguments` in `limits` in ",
        ),
        (
            vec!["call", ".", "add", "1", "2", "--fuel", "9"],
            2,
            "`--fuel` needs a function with a fuel limit; leave it out, or define the function with `fuel` in its limits",
        ),
        (vec!["call", "wpc.wasm"], 2, "<FUNCTION>"),
    ] {
        let message = fails_with(code, &wpc_from(folder, &arguments));
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    let sum = wpc_from(folder, &["--json", "bench", ".", "add", "1", "2", "--seconds", "1"]);
    assert!(out(&sum).contains("calls_per_second"), "{}", err(&sum));
}

#[test]
fn inspect_lists_every_module_of_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = std::fs::read_to_string(manifest(folder)).unwrap();
    write(folder, &text.replace("[functions.unbuilt]", "").replace("file = \"unbuilt.wasm\"", ""));
    let output = wpc_from(folder, &["inspect", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let files = out(&output).lines().filter(|line| line.starts_with("file ")).count();
    assert_eq!(files, 3, "{}", out(&output));
    let output = out(&wpc_from(folder, &["--json", "inspect", "--manifest", "wpc.toml"]));
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["modules"].as_array().unwrap().len(), 3, "{output}");
    assert!(output["modules"][0]["module"]["functions"].is_array(), "{output}");
}

#[test]
fn inspect_uses_the_limits_of_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let entry = |name: &str, limits: &str| {
        format!("[functions.{name}]\nfile = \"{}\"\nexport = \"add\"\nlimits = {limits}\n", sdk())
    };
    let small = entry("small", "{ module_size = \"1kB\" }");
    let path = write(folder, &small);
    let message = fails_with(3, &wpc_from(folder, &["inspect", "."]));
    assert!(message.contains("1000 bytes"), "{message}");
    let (sliced, plain) = (entry("sliced", "{ time_slice = \"5ms\" }"), entry("plain", "{}"));
    write(folder, &(sliced + &plain));
    let output = out(&wpc_from(folder, &["inspect", "."]));
    let lines: Vec<_> = output.lines().filter(|line| line.starts_with("can suspend")).collect();
    assert_eq!(lines, ["can suspend     after a time slice of 5ms"], "{output}");
    let output = wpc_from(folder, &["inspect", &path, "--timeout", "1s"]);
    let message = fails_with(2, &output);
    assert!(message.contains("set `timeout` in `limits`"), "{message}");
}

#[test]
fn projects_are_built_after_their_dependencies() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let project = |name: &str, wat: &str, manifest: &str| {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("main.wat"), wat).unwrap();
        std::fs::write(folder.join(name).join("wpc.toml"), manifest).unwrap();
    };
    let export =
        |name: &str| format!(r#"(module (func (export "{name}") (result i32) i32.const 7))"#);
    project("base", &export("seven"), "[functions.seven]\nfile = \"base.wasm\"\n");
    project("middle", &export("middle"), "[dependencies.base]\nfile = \"../base/base.wasm\"\n");
    project(
        "app",
        r#"(module (import "base" "seven" (func $seven (result i32))) (func (export "f") (result i32) call $seven))"#,
        "[dependencies.middle]\nfile = \"../middle/middle.wasm\"\n[dependencies.base]\nfile = \"../base/base.wasm\"\n\
         [functions.f]\nfile = \"app.wasm\"\n[[tests]]\nfunction = \"f\"\nvalue = 7\n",
    );
    let built = wpc_from(folder, &["--json", "build", "app", "--all"]);
    assert_eq!(built.status.code(), Some(0), "{}", err(&built));
    let names: Vec<_> = out(&built)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| Path::new(line["file"].as_str().unwrap()).file_stem().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["base", "middle", "app"]);
    let tested = wpc_from(folder, &["test", "app"]);
    assert_eq!(out(&tested), "1 test passed\n", "{}", err(&tested));
    assert_eq!(out(&wpc_from(folder, &["call", "app", "f"])), "7\n");
    let cycle = "[dependencies.app]\nfile = \"../app/app.wasm\"\n";
    std::fs::write(folder.join("base/wpc.toml"), cycle).unwrap();
    let message = fails_with(2, &wpc_from(folder, &["build", "app", "--all"]));
    assert!(message.contains("dependency cycle of projects"), "{message}");
}

#[test]
fn tests_may_replace_constants_and_host_functions() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let hosted = root("fixtures/wasm/hosted.wasm");
    let text = format!(
        r#"
        [constants]
        WORD = "usual"
        [functions.copy]
        file = {hosted:?}
        [functions.error_of_lookup]
        file = {hosted:?}
        [functions.constant]
        file = {:?}

        [[tests]]
        function = "copy"
        arguments = ["tea", "cup"]
        value = true
        [tests.host_functions.lookup]
        signature = "(key: String) -> Option<String>"
        value = "green"
        [tests.host_functions.store]
        signature = "(key: String, value: String) -> ()"

        [[tests]]
        function = "error_of_lookup"
        arguments = ["tea"]
        value = "Broken"
        host_functions.lookup = {{ signature = "(key: String) -> Option<String>", error = "Broken" }}
        host_functions.store = {{ signature = "(key: String, value: String) -> ()" }}

        [[tests]]
        function = "constant"
        arguments = ["WORD"]
        value = "usual"

        [[tests]]
        function = "constant"
        arguments = ["WORD"]
        value = "another"
        constants = {{ WORD = "another" }}
        "#,
        sdk()
    );
    write(folder, &text);
    let tested = wpc_from(folder, &["test"]);
    assert_eq!(out(&tested), "4 tests passed\n", "{}", err(&tested));
    // A wrong answer and an invalid signature fail only their own tests.
    let wrong =
        text.replace("value = \"green\"", "value = 7").replacen("-> ()\"", "-> nothing\"", 2);
    write(folder, &wrong);
    let message = fails_with(7, &wpc_from(folder, &["test"]));
    assert_eq!(message.lines().count(), 2, "{message}");
    assert!(message.contains("the signature of host function \"store\""), "{message}");
}

#[test]
fn a_missing_constant_is_reported_once_for_a_module() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let needy = root("fixtures/wasm/needy.wasm").display().to_string();
    let manifest = write(
        folder,
        &format!("[dependencies.dep]\nfile = {:?}\n[modules.needy]\nfile = {needy:?}\n", sdk()),
    );
    let message = fails_with(3, &wpc(&["run", &manifest, "--check"]));
    assert!(
        message.contains("wpc.toml:3: module \"needy\" needs constant \"PREFIX\""),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_test_may_expect_an_error_by_type_or_variant() {
    let folder = tempfile::tempdir().unwrap();
    let types = root("fixtures/wasm/types.wasm").display().to_string();
    let test = |error: &str| {
        format!("[[tests]]\nfunction = \"check\"\narguments = [\"\", 3]\nerror = \"{error}\"\n")
    };
    let module = format!("[modules.types]\nfile = {types:?}\n");
    let right = ["Why", "Empty", "Why::Empty"].map(test).concat();
    let manifest = write(folder.path(), &(module.clone() + &right));
    let ran = wpc(&["test", &manifest]);
    assert_eq!(out(&ran), "3 tests passed\n", "{}", err(&ran));
    let manifest = write(folder.path(), &(module + &test("TooLong")));
    let message = fails_with(7, &wpc(&["test", &manifest]));
    assert!(message.contains("Why::Empty: the text is empty"), "{message}");
}
