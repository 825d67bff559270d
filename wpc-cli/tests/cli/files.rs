//! Files given by path: only regular files of a bounded size, and links to them, are read.

use crate::manifests::returns;
#[cfg(target_os = "linux")]
use crate::process::{command, finish};
use crate::running::{Running, write};
use crate::support::{err, fails_with, out, root, sdk, wat, wpc, wpc_with};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

fn pipe(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.display().to_string()
}

#[test]
fn pipes_and_devices_are_rejected_as_paths() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sdk = sdk();
    for name in ["main.c", "main.zig", "main.wat"] {
        let source = pipe(folder, name);
        let message = fails_with(1, &wpc(&["build", &source]));
        assert!(message.contains(name) && message.contains("regular file"), "{message}");
    }
    let pipe = pipe(folder, "pipe");
    for (path, kind) in [(pipe.as_str(), "a pipe"), ("/dev/zero", "a character device")] {
        let manifest = write(folder, &format!("[functions.f]\nfile = {path:?}\n"));
        for arguments in [
            &["call", path, "f"][..],
            &["bench", path, "f"],
            &["inspect", path],
            &["call", &sdk, "nothing", "--dep", &format!("alias={path}")],
            &["call", &sdk, "echo_bytes", &format!("@{path}")],
            &["call", &sdk, "order", &format!("@{path}"), "{}"],
            &["run", path],
            &["test", path],
            &["run", &manifest, "--check"],
        ] {
            let message = fails_with(1, &wpc(arguments));
            assert!(message.contains(path) && message.contains(kind), "{arguments:?} {message}");
        }
    }
}

#[test]
fn a_hyphen_reads_standard_input() {
    let module = std::fs::read(sdk()).unwrap();
    let ran = wpc_with(&module, &["call", "-", "add", "40", "2"]);
    assert_eq!(out(&ran), "42\n", "{}", err(&ran));
    assert!(out(&wpc_with(&module, &["inspect", "-"])).contains("  add(a: i32, b: i32)"));
    let ran = wpc_with(&[1, 2], &["call", &sdk(), "echo_bytes", "@-"]);
    assert_eq!(out(&ran), "[1,2]\n", "{}", err(&ran));
    let message = fails_with(2, &wpc(&["call", "-", "echo_bytes", "@-"]));
    assert!(message.contains("the module `-` and @- both read standard input"), "{message}");
    let ran = wpc_with(&module, &["call", "-", "add", "1", "2", "--module-size", "100B"]);
    let message = fails_with(3, &ran);
    assert!(message.contains("standard input is larger than the limit of 100 bytes"), "{message}");
}

#[test]
fn a_file_larger_than_its_limit_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    // A sparse file of 1 TiB.
    let path = folder.path().join("sparse.wasm");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let path = path.display().to_string();
    let message = fails_with(3, &wpc(&["call", &path, "f"]));
    assert!(message.contains("raise `--module-size` (module_too_large)"), "{message}");
    let manifest = write(folder.path(), &format!("[modules.all]\nfile = {path:?}\n"));
    let message = fails_with(3, &wpc(&["run", &manifest, "--check"]));
    assert!(message.contains("raise `module_size` in its limits (module_too_large)"), "{message}");
    fails_with(1, &wpc(&["run", &path, "--check"]));
    for function in ["echo_bytes", "order"] {
        fails_with(1, &wpc(&["call", &sdk(), function, &format!("@{path}"), "{}"]));
    }
}

#[test]
fn a_changed_link_in_the_middle_of_a_path_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (release, number) in [("v1", 1), ("v2", 2), ("v3", 3)] {
        let release = folder.join("releases").join(release).join("app/modules");
        std::fs::create_dir_all(&release).unwrap();
        returns(&release, "f.wasm", number);
    }
    // The path contains two links, neither in the folder of the file.
    let swap = |name: &str, target: &Path| {
        symlink(target, folder.join("new-link")).unwrap();
        std::fs::rename(folder.join("new-link"), folder.join(name)).unwrap();
    };
    swap("current", Path::new("releases/v1"));
    swap("live", &folder.join("current"));
    let etc = folder.join("etc");
    std::fs::create_dir(&etc).unwrap();
    let module = folder.join("live/app/modules/f.wasm");
    let manifest = write(&etc, &format!("[functions.f]\nfile = {module:?}\n"));
    let mut running = Running::watch(&manifest);
    assert_eq!(running.call("f"), 1);
    swap("current", Path::new("releases/v2"));
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 2);
    swap("live", Path::new("releases/v3"));
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 3);
    // The new file is watched now.
    returns(&folder.join("releases/v3/app/modules"), "f.wasm", 4);
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 4);
}

#[test]
fn a_manifest_behind_a_changed_link_is_watched_although_it_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (release, number) in [("v1", 1), ("v2", 2)] {
        let release = folder.join("releases").join(release);
        std::fs::create_dir_all(&release).unwrap();
        returns(&release, "f.wasm", number);
        write(&release, "[functions.f]\nfile = \"f.wasm\"\n");
    }
    write(&folder.join("releases/v2"), "[functions.f");
    symlink("releases/v1", folder.join("current")).unwrap();
    let mut running = Running::watch(&folder.join("current").display().to_string());
    assert_eq!(running.call("f"), 1);
    symlink("releases/v2", folder.join("new-link")).unwrap();
    std::fs::rename(folder.join("new-link"), folder.join("current")).unwrap();
    running.wait_for("refused", "wpc.toml");
    write(&folder.join("releases/v2"), "[functions.f]\nfile = \"f.wasm\"\n");
    // The function may be defined already, if the link changed between reading the manifest and the module.
    running.wait_for("recovered", "wpc.toml");
    assert_eq!(running.call("f"), 2);
}

#[test]
fn a_file_reloads_after_another_kind_of_file_replaced_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("f.wasm");
    returns(folder, "f.wasm", 1);
    let mut running = Running::watch(&write(folder, "[functions.f]\nfile = \"f.wasm\"\n"));
    assert_eq!(running.call("f"), 1);

    pipe(folder, "pipe");
    std::fs::rename(folder.join("pipe"), &file).unwrap();
    running.wait_for("refused", "a pipe");
    assert_eq!(running.call("f"), 1);
    returns(folder, "f.wasm", 2);
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 2);

    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    running.wait_for("refused", "a directory");
    std::fs::remove_dir(&file).unwrap();
    symlink("/dev/zero", &file).unwrap();
    running.wait_for("refused", "a character device");
    assert_eq!(running.call("f"), 2);
    returns(folder, "f.wasm", 3);
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 3);
}

#[test]
fn a_line_that_is_too_long_and_a_closed_output_are_failures() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = write(folder.path(), &format!("[modules.tools]\nfile = {:?}\n", sdk()));
    let call = "{\"function\": \"add\", \"arguments\": [1, 2]}\n";
    let long = format!("{call}{{\"function\": \"{}\"}}\n{call}", "f".repeat(200));
    let ran = wpc_with(long.as_bytes(), &["run", &manifest, "--max-line", "100B", "--ordered"]);
    assert_eq!(ran.status.code(), Some(1), "{}", err(&ran));
    let (answers, message) = (out(&ran), err(&ran));
    assert!(answers.lines().count() == 2 && answers.contains("\"value\":3"), "{answers}");
    assert!(
        message.contains("failed to read standard input: line 2: longer than 100 bytes"),
        "{message}"
    );
    // A line of the maximum length, without a line terminator.
    let exact = format!("{}{}", " ".repeat(101 - call.len()), call.trim_end());
    let ran = wpc_with(exact.as_bytes(), &["run", &manifest, "--max-line", "100B"]);
    assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));

    let mut running = Running::start_unread(&["run", &manifest]);
    drop(running.child.stdout.take());
    running.send("add", serde_json::json!([1, 2]));
    assert!(running.notice().starts_with("ready: "));
    assert!(running.notice().contains("standard output: Broken pipe"));
    assert_eq!(running.exit_code(), Some(1));
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_cannot_be_written_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = write(folder.path(), &format!("[modules.tools]\nfile = {:?}\n", sdk()));
    let input = folder.path().join("calls.jsonl");
    std::fs::write(&input, "{\"function\": \"add\", \"arguments\": [1, 2]}\n").unwrap();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let read_only = || std::fs::File::open("/dev/null").unwrap();
    // A program writes its output itself.
    let program = root("fixtures/wasi/wasm/program.wasm").display().to_string();
    let program =
        ["call", &program, "_start", "--grant", "wasi", "--grant", "stdin", "--grant", "arg=shout"];
    for arguments in [&["run", &manifest][..], &["call", &sdk(), "add", "1", "2"], &program] {
        for output in [full(), read_only()] {
            let mut command = command(arguments);
            command.stdin(std::fs::File::open(&input).unwrap()).stdout(output);
            let ran = finish(command.stderr(std::process::Stdio::piped()).spawn().unwrap());
            assert!(fails_with(1, &ran).contains("standard output: "), "{arguments:?}");
        }
        let closes = command(arguments);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(closes.get_program());
        shell.args(closes.get_args()).stdin(std::fs::File::open(&input).unwrap());
        let ran = finish(shell.stderr(std::process::Stdio::piped()).spawn().unwrap());
        assert!(fails_with(1, &ran).contains("standard output: it was closed"), "{arguments:?}");
    }
}

#[test]
fn an_error_in_a_wat_file_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main.wat");
    std::fs::write(&path, "(module\n  (func (export \"f\") nonsense))").unwrap();
    let message = fails_with(7, &wpc(&["build", &path.display().to_string()]));
    assert!(message.contains("main.wat:2:") && message.contains("(project)"), "{message}");
    wat(folder.path(), "unused.wasm", "(module)");
}
