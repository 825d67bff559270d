//! `build`: what is added to modules, where they are written, and what is reported.

#[cfg(unix)]
use crate::process::{command, finish, run};
use crate::projects::project;
use crate::support::{err, fails_with, out, root, wat, wpc, wpc_from};
use std::path::Path;
#[cfg(unix)]
use std::process::{Command, Stdio};

#[test]
fn a_build_warns_about_types_without_schema_and_discarded_output() {
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
    assert!(argument.contains(
        "src/lib.rs:6: function \"mirror\": argument `point: Point` does not have a schema"
    ));
    assert!(
        result.contains("result `Point` does not have a schema")
            && result.contains("derive(wpc::Schema)")
    );
    assert!(printed.contains("src/lib.rs:7: `println!`") && printed.contains("wpc::info!"));
    let output: serde_json::Value =
        serde_json::from_str(&out(&wpc_from(&project, &["--json", "build"]))).unwrap();
    assert_eq!(output["warnings"].as_array().unwrap().len(), 3, "{output}");
    let module = project.join("shop.wasm").display().to_string();
    let overflowed = wpc(&["call", &module, "overflows", "100"]);
    assert!(fails_with(5, &overflowed).contains("overflow"));
}

#[test]
fn a_source_file_is_built_to_its_folder_or_to_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(
        folder.join("one.wat"),
        r#"(module (func (export "one") (result i32) i32.const 1))"#,
    )
    .unwrap();
    let output = wpc_from(folder, &["--json", "build", "one.wat"]);
    let output: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(output["module"]["functions"][0]["name"], "one", "{output}");
    assert!(folder.join("one.wasm").is_file());
    wpc_from(folder, &["build", "one.wat", "--output", "other.wasm"]);
    assert_eq!(out(&wpc_from(folder, &["call", "other.wasm", "one"])), "1\n");
}

#[test]
fn a_failed_build_keeps_the_previous_module() {
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
fn the_output_replaces_only_regular_files_and_follows_links() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = r#"(module (func (export "one") (result i32) i32.const 1))"#;
    std::fs::write(folder.join("-one.wat"), text).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    for (output, expected) in
        [("folder", "must be a regular file"), ("-one.wat", "overwrite the source")]
    {
        let built = wpc_from(folder, &["build", "./-one.wat", &format!("--output={output}")]);
        assert!(fails_with(2, &built).contains(expected), "{output}");
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

/// `wpc build` of a Rust project in the folder, with a shell script in place of cargo.
#[cfg(unix)]
fn build_with_cargo(folder: &Path, build: &str) -> Command {
    use std::os::unix::fs::PermissionsExt;

    std::fs::create_dir_all(folder.join("src")).unwrap();
    std::fs::write(folder.join("src/lib.rs"), "").unwrap();
    std::fs::write(folder.join("Cargo.toml"), "[package]\n").unwrap();
    let script = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    };
    let cargo = format!("[ \"$1\" = --version ] && echo cargo 1 && exit\n{build}");
    let mut command = command(&["build", &folder.display().to_string()]);
    command
        .env("CARGO", script("cargo", &cargo))
        .env("RUSTC", script("rustc", "echo /"))
        .stdin(Stdio::null());
    command
}

#[test]
#[cfg(unix)]
fn the_module_and_the_output_of_a_compiler_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = std::fs::canonicalize(folder.path()).unwrap();
    let large = std::fs::File::create(folder.join("large.wasm")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let artifact = serde_json::json!({
        "reason": "compiler-artifact",
        "manifest_path": folder.join("Cargo.toml"),
        "filenames": [folder.join("large.wasm")],
    });
    let build = |prints: &str| run(&mut build_with_cargo(&folder, prints));
    let message = fails_with(7, &build(&format!("echo '{artifact}'")));
    assert!(message.contains("larger than the limit of 67108864 bytes"), "{message}");
    // The command waits for the end of standard error, which the process in the background keeps open.
    let message = fails_with(1, &build("sleep 600 & exec yes"));
    assert!(message.contains("(cargo 1): it printed more than 67108864 bytes"), "{message}");
}

#[test]
#[cfg(unix)]
fn a_target_folder_is_passed_to_cargo() {
    let folder = tempfile::tempdir().unwrap();
    let folder = std::fs::canonicalize(folder.path()).unwrap();
    let mut build = build_with_cargo(&folder, "echo \"$@\" > arguments; false");
    fails_with(7, &run(build.args(["--target-dir", "chosen"]).current_dir(&folder)));
    let arguments = std::fs::read_to_string(folder.join("arguments")).unwrap();
    assert!(
        arguments.contains(&format!(" --target-dir {}/chosen ", folder.display())),
        "{arguments}"
    );
}

#[test]
#[cfg(unix)]
fn an_interrupted_build_ends_its_compilers() {
    use std::io::Read as _;

    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(folder.path()).unwrap();
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let compiler = format!("sleep 600 > {} &\nwait", pipe.display());
        let mut command = build_with_cargo(&folder, &compiler);
        let build = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Opening it waits for the compiler's own process, and reading it for the end of that process.
        let mut pipe = std::fs::File::open(pipe).unwrap();
        let kill = Command::new("kill").args(["-s", signal, &build.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let message = fails_with(130, &finish(build));
        assert!(message.contains("(interrupted)"), "{message}");
        assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
        let mut left = files.filter(|name| name.to_string_lossy().ends_with(".wasm"));
        assert_eq!(left.next(), None);
    }
}

#[test]
fn duplicate_functions_are_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), "rust");
    let code = r#"
mod one { #[wpc::function] fn greet() -> u8 { 1 } }
mod other { #[wpc::function] fn greet() -> u8 { 2 } }
"#;
    std::fs::write(Path::new(&project).join("src/lib.rs"), code).unwrap();
    let message = fails_with(7, &wpc(&["build", &project]));
    assert!(
        message.contains("two functions are named \"greet\": rename one of them with `#[wpc::function(name = \"…\")]`"),
        "{message}"
    );
}
