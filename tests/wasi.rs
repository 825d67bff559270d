//! WASI preview 1: granted piece by piece, confined, and as mortal as everything else.

use crate::support::*;
use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use wpc_host::{
    CallOptions, Capability, Error, ErrorCode, EventDetails, Limits, Options, Output, Wasi,
    WasmModule, WorkerProcedureCall,
};

/// A folder of this test's own, gone with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wpc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whatever is left there is no test's failure.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The guest `tool`, which imports every piece.
fn tool(wasi: Wasi) -> WasmModule {
    guest("tool").grant_wasi(wasi).grant(Capability::Clock).grant(Capability::Random)
}

fn everything(folder: &Folder) -> Wasi {
    Wasi::minimal().read_directory(&folder.0, "/data")
}

fn pool_of_tools(wasi: Wasi) -> WorkerProcedureCall {
    let wpc = pool_with(1, hasty());
    wpc.define_worker_module(tool(wasi)).unwrap();
    wpc
}

/// A module that imports this of WASI, and a function `f` that does nothing.
fn imports(name: &str, ty: &str) -> WasmModule {
    wat(&format!(
        r#"(module (import "wasi_snapshot_preview1" "{name}" (func {ty}))
            (memory (export "memory") 1) (func (export "f")))"#
    ))
}

#[test]
fn each_import_is_refused_with_the_grant_it_lacks() {
    let wpc = stopped(Options::default());
    let two = "(param i32 i32) (result i32)";
    let four = "(param i32 i32 i32 i32) (result i32)";
    for (import, ty, lacks) in [
        ("proc_exit", "(param i32)", "grant_wasi(Wasi::new())"),
        ("args_get", two, "arguments"),
        ("environ_sizes_get", two, "environment"),
        ("fd_read", four, "stdin"),
        ("fd_write", four, "stdout"),
        ("fd_close", "(param i32) (result i32)", "minimal"),
        ("path_unlink_file", "(param i32 i32 i32) (result i32)", "read_directory"),
        ("clock_time_get", "(param i32 i64 i32) (result i32)", "Capability::Clock"),
        ("poll_oneoff", four, "Capability::Clock"),
        ("random_get", two, "Capability::Random"),
    ] {
        let error = wpc.define_worker_function("f", imports(import, ty)).unwrap_err();
        let Error::NotGranted { name, grant, .. } = &error else { panic!("{error}") };
        assert_eq!(name, import);
        assert!(grant.to_string().contains(lacks), "{import}: {grant}");
    }
}

#[test]
fn a_granted_import_is_told_and_other_pieces_stay_refused() {
    let wpc = pool(1);
    let two = "(param i32 i32) (result i32)";
    let module = imports("args_get", two).grant_wasi(Wasi::new().arguments(["f"]));
    let told = wpc.define_worker_function("f", module).unwrap();
    assert_eq!(told.required_wasi_imports, ["args_get"]);
    wpc.call::<()>("f", ()).unwrap();
    let module = imports("environ_get", two).grant_wasi(Wasi::new().arguments(["f"]));
    assert_eq!(code(wpc.define_worker_function("f", module)), "not_granted");
    let random = imports("random_get", two).grant(Capability::Random);
    let told = wpc.define_worker_function("f", random).unwrap();
    assert_eq!(told.required_capabilities, [Capability::Random]);
    wpc.call::<()>("f", ()).unwrap();
}

#[test]
fn there_are_no_sockets_and_no_other_wasi() {
    let wpc = stopped(Options::default());
    let module =
        imports("sock_shutdown", "(param i32 i32) (result i32)").grant_wasi(Wasi::minimal());
    let error = wpc.define_worker_function("f", module).unwrap_err();
    assert!(
        error.code().as_str() == "unknown_import" && error.to_string().contains("sockets"),
        "{error}"
    );
    let module = wat(
        r#"(module (import "wasi_unstable" "fd_close" (func (param i32) (result i32))) (func (export "f")))"#,
    );
    let error = wpc.define_worker_function("f", module).unwrap_err();
    assert!(error.to_string().contains("wasm32-wasip1"), "{error}");
    let wrong = imports("random_get", "(param i64)").grant(Capability::Random);
    assert_eq!(code(wpc.define_worker_function("f", wrong)), "invalid_module");
}

#[test]
fn grants_that_cannot_be_are_refused_all_at_once() {
    let wpc = stopped(Options::default());
    let wasi = Wasi::new()
        .arguments(["a\0b"])
        .environment([("A=B", "c")])
        .read_directory("/nowhere/at/all", "/data")
        .read_directory(file!(), "/file");
    let error =
        wpc.define_worker_function("f", imports("proc_exit", "(param i32)").grant_wasi(wasi));
    let Err(Error::InvalidOptions { problems }) = error else { panic!("{error:?}") };
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[2].contains("/nowhere/at/all"), "{problems:?}");
}

#[test]
fn arguments_environment_and_input_are_what_was_granted_and_nothing_else() {
    let folder = Folder::new("granted");
    let wpc = pool_of_tools(
        everything(&folder)
            .arguments(["tool", "--fast"])
            .environment([("COLOUR", "green")])
            .stdin(b"one two".to_vec()),
    );
    assert_eq!(wpc.call::<Vec<String>>("given_arguments", ()).unwrap(), ["tool", "--fast"]);
    assert_eq!(wpc.call::<Option<String>>("variable", ("COLOUR",)).unwrap().unwrap(), "green");
    assert_eq!(wpc.call::<Option<String>>("variable", ("PATH",)).unwrap(), None);
    assert_eq!(wpc.call::<String>("read_input", (3_u32,)).unwrap(), "one");
    assert_eq!(
        wpc.call::<String>("read_input", (100_u32,)).unwrap(),
        " two",
        "a kept sandbox reads on"
    );
    assert_eq!(wpc.call::<String>("read_input", (100_u32,)).unwrap(), "");
}

#[test]
fn output_becomes_lines_with_their_call() {
    let folder = Folder::new("lines");
    let wpc = pool_of_tools(everything(&folder));
    let events = Recorder::new(&wpc);
    let call = wpc.submit::<()>("print_text", ("one\ntwo\nthr",)).unwrap();
    let id = call.id();
    call.wait().unwrap();
    for text in ["one", "two", "thr"] {
        let line = events.wait_for_log(text);
        assert_eq!(line.correlation_id, Some(id));
        assert!(matches!(&line.details, EventDetails::GuestLog { level, .. } if level == "stdout"));
    }
    wpc.call::<()>("complain", ("ee\n",)).unwrap();
    let line = events.wait_for_log("ee");
    assert!(matches!(&line.details, EventDetails::GuestLog { level, .. } if level == "stderr"));
}

#[test]
fn a_line_without_an_end_is_told_in_pieces() {
    let folder = Folder::new("long");
    let wpc = pool_of_tools(everything(&folder));
    let events = Recorder::new(&wpc);
    wpc.call::<()>("print_text", ("x".repeat(40_000),)).unwrap();
    let mut total = 0;
    while total < 40_000 {
        let line = events.wait_for_name("guest_log");
        let EventDetails::GuestLog { message, .. } = line.details else { panic!("it is a line") };
        assert!(message.len() <= 16 * 1024);
        total += message.len();
    }
    assert_eq!(total, 40_000);
}

struct Channel(Sender<Vec<u8>>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match bytes {
            b"panic" => panic!("a writer that panics, as a test wants it to"),
            b"fail" => return Err(std::io::Error::other("it fails")),
            bytes => self.0.send(bytes.to_vec()).unwrap(),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_reaches_a_writer_whose_errors_and_panics_reach_the_guest() {
    let folder = Folder::new("writer");
    let (sender, written) = channel();
    let wasi =
        everything(&folder).stdout(Output::discard()).stderr(Output::writer(Channel(sender)));
    let wpc = pool_of_tools(wasi);
    wpc.call::<()>("print_text", ("nobody hears",)).unwrap();
    wpc.call::<()>("complain", ("exactly \u{e9} this",)).unwrap();
    assert_eq!(written.recv_timeout(PATIENCE).unwrap(), "exactly \u{e9} this".as_bytes());
    for word in ["fail", "panic"] {
        assert_eq!(code(wpc.call::<()>("complain", (word,))), "guest_error");
    }
    wpc.call::<()>("complain", ("and on",)).unwrap();
    assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"and on");
}

#[test]
fn output_counts_as_log_lines_do() {
    let folder = Folder::new("flood");
    let (sender, _written) = channel();
    for output in [Output::events(), Output::writer(Channel(sender))] {
        let limits = Limits { log: 10_000, ..Limits::default() };
        let wpc = pool_with(1, hasty());
        wpc.define_worker_module(tool(everything(&folder).stdout(output)).limits(limits)).unwrap();
        let error = wpc.call::<()>("print_text", ("x".repeat(20_000),)).unwrap_err();
        let Error::LogLimit { limit: 10_000, used, .. } = error else { panic!("{error}") };
        assert!(used > 10_000);
        wpc.call::<()>("print_text", ("x",)).unwrap();
    }
}

#[test]
fn directories_are_read_or_written_as_granted() {
    let (read, write) = (Folder::new("read"), Folder::new("write"));
    read.put("a.txt", "alpha").put("b.txt", "beta");
    let wasi = Wasi::minimal().read_directory(&read.0, "/in").write_directory(&write.0, "/out");
    let wpc = pool_of_tools(wasi);
    assert_eq!(wpc.call::<Vec<String>>("list_folder", ("/in",)).unwrap(), ["a.txt", "b.txt"]);
    assert_eq!(wpc.call::<String>("read_file", ("/in/a.txt",)).unwrap(), "alpha");
    assert_eq!(code(wpc.call::<()>("write_file", ("/in/a.txt", "changed"))), "guest_error");
    assert_eq!(code(wpc.call::<()>("write_file", ("/in/c.txt", "new"))), "guest_error");
    wpc.call::<()>("write_file", ("/out/c.txt", "gamma")).unwrap();
    assert_eq!(std::fs::read_to_string(write.0.join("c.txt")).unwrap(), "gamma");
    assert_eq!(std::fs::read_to_string(read.0.join("a.txt")).unwrap(), "alpha");
    assert_eq!(std::fs::read_dir(&read.0).unwrap().count(), 2);
}

#[test]
fn no_path_and_no_link_leads_out_of_a_directory() {
    let (outer, wpc_dir) = (Folder::new("outer"), "inner");
    outer.put("secret.txt", "secret");
    let inner = outer.0.join(wpc_dir);
    std::fs::create_dir_all(&inner).unwrap();
    #[cfg(unix)]
    {
        let _ = std::os::unix::fs::symlink("../secret.txt", inner.join("link"));
        let _ = std::os::unix::fs::symlink(outer.0.join("secret.txt"), inner.join("absolute"));
        let _ = std::os::unix::fs::symlink("..", inner.join("up"));
    }
    let wpc = pool_of_tools(Wasi::minimal().write_directory(&inner, "/data"));
    for path in [
        "/data/../secret.txt",
        "/data/link",
        "/data/absolute",
        "/data/up/secret.txt",
        "/etc/passwd",
        "secret.txt",
    ] {
        assert_eq!(code(wpc.call::<String>("read_file", (path,))), "guest_error", "{path}");
        assert_eq!(code(wpc.call::<()>("write_file", (path, "gone"))), "guest_error", "{path}");
    }
    assert_eq!(std::fs::read_to_string(outer.0.join("secret.txt")).unwrap(), "secret");
}

#[test]
fn a_guest_holds_so_many_files_and_no_more() {
    let folder = Folder::new("hoard");
    folder.put("a.txt", "");
    let wpc = pool_with(1, hasty());
    let limits = Limits { open_files: 5, ..Limits::default() };
    wpc.define_worker_module(tool(everything(&folder)).limits(limits)).unwrap();
    let error = wpc.call::<u32>("hoard", ("/data/a.txt",)).unwrap_err();
    assert!(matches!(error, Error::TooManyOpenFiles { limit: 5, .. }), "{error}");
    wpc.call::<Vec<String>>("list_folder", ("/data",)).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_directory_is_the_one_that_was_granted_whatever_takes_its_place() {
    let outer = Folder::new("outer-of-replaced");
    let (inner, elsewhere) = (outer.0.join("inner"), Folder::new("elsewhere"));
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("mine.txt"), "mine").unwrap();
    elsewhere.put("secret.txt", "secret");
    let wpc = pool_with(1, hasty());
    let module = tool(Wasi::minimal().read_directory(&inner, "/data")).isolate_calls();
    wpc.define_worker_module(module).unwrap();
    std::fs::rename(&inner, outer.0.join("moved")).unwrap();
    std::os::unix::fs::symlink(&elsewhere.0, &inner).unwrap();
    assert_eq!(wpc.call::<Vec<String>>("list_folder", ("/data",)).unwrap(), ["mine.txt"]);
}

/// A writer that blocks until it is told to go on.
struct Blocked(std::sync::mpsc::Receiver<()>, Sender<Vec<u8>>);

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.send(bytes.to_vec()).unwrap();
        // Either word will do.
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn who_waits_for_a_writer_waits_no_longer_than_its_call() {
    let folder = Folder::new("blocked");
    let (go_on, word) = channel();
    let (sender, written) = channel();
    let wpc = pool_with(2, hasty());
    let output = Output::writer(Blocked(word, sender));
    wpc.define_worker_module(tool(everything(&folder).stderr(output))).unwrap();
    let blocked = wpc.submit::<()>("complain", ("first",)).unwrap();
    assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"first");
    let limit = CallOptions::new().time_limit(Duration::from_millis(30));
    let error = wpc.call_with::<()>("complain", ("second",), &limit).unwrap_err();
    assert_eq!(error.code().as_str(), "timeout", "{error}");
    go_on.send(()).unwrap();
    drop(go_on);
    blocked.wait().unwrap();
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0, "no worker was lost");
    }
}

#[test]
fn a_host_function_does_not_find_the_runtime_that_wasi_needs() {
    let wpc = pool(1);
    let inside = |_: &_, (): ()| Ok::<_, String>(tokio::runtime::Handle::try_current().is_ok());
    wpc.define_host_function("inside", inside).unwrap();
    let module = wat(r#"(module
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (import "wpc-host" "inside" (func $inside (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 2)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            (func (export "f") (param i32 i32) (result i64) (local i64)
                (drop (call $yield))
                (local.set 2 (call $inside (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 8)))
                (drop (call $yield))
                (i64.or (i64.const 68719476736) (local.get 2))))"#);
    let module = module.grant_wasi(Wasi::new()).grant_host_function("inside");
    wpc.define_worker_function("f", module).unwrap();
    assert!(!wpc.call::<bool>("f", ()).unwrap());
}

#[test]
fn sleeping_ends_with_the_call() {
    let folder = Folder::new("sleep");
    let wpc = pool_of_tools(everything(&folder));
    assert!(wpc.call::<u64>("sleep_for", (5_u64,)).unwrap() >= 5);
    let options = CallOptions::new().time_limit(Duration::from_millis(50));
    let error = wpc.call_with::<u64>("sleep_for", (u64::from(u32::MAX),), &options).unwrap_err();
    assert_eq!(error.code().as_str(), "timeout");
    let call = wpc.submit::<u64>("sleep_for", (u64::from(u32::MAX),)).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    let health = &wpc.get_worker_health_states()[0];
    assert_eq!(health.restart_attempt, 0, "the worker was not lost");
    assert!(wpc.call::<u64>("seconds_now", ()).unwrap() > 1_700_000_000);
    assert_ne!(
        wpc.call::<u64>("random_number", ()).unwrap(),
        wpc.call::<u64>("random_number", ()).unwrap()
    );
}

#[test]
fn subscriptions_are_answered_and_bad_ones_end_the_guest() {
    // At 64 a relative wait of 1 ns, at 112 standard input, at 160 a clock that does not exist; the
    // events go to 1024, their number to 512.
    let module = |call: &str, result: &str| {
        wat(&format!(
            r#"(module
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "\07\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\01")
            (data (i32.const 112) "\08\00\00\00\00\00\00\00\01")
            (data (i32.const 160) "\09\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\63")
            (func (export "f") (result i32) (local $errno i32)
                (local.set $errno (call $poll {call})) {result}))"#
        ))
        .grant(Capability::Clock)
    };
    let wpc = pool_with(1, hasty());
    let answer = |call: &str, result: &str| {
        wpc.define_worker_function("f", module(call, result)).unwrap();
        wpc.call::<i32>("f", ())
    };
    let (errno, count) = ("(local.get $errno)", "(i32.load (i32.const 512))");
    let all = "(i32.const 64) (i32.const 1024) (i32.const 3) (i32.const 512)";
    assert_eq!(
        answer("(i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 512)", count).unwrap(),
        1
    );
    assert_eq!(answer(all, errno).unwrap(), 0);
    assert!((2..=3).contains(&answer(all, count).unwrap()), "the wait may be over as well");
    let one = "(i32.const 112) (i32.const 1024) (i32.const 1) (i32.const 512)";
    assert_eq!(answer(one, "(i32.load (i32.const 1024))").unwrap(), 8);
    assert_eq!(answer(one, "(i32.load8_u (i32.const 1034))").unwrap(), 1);
    let none = "(i32.const 160) (i32.const 1024) (i32.const 1) (i32.const 512)";
    assert_eq!(answer(none, "(i32.load16_u (i32.const 1032))").unwrap(), 28);
    assert_eq!(
        answer("(i32.const 64) (i32.const 1024) (i32.const 0) (i32.const 512)", errno).unwrap(),
        28
    );
    assert_eq!(
        answer("(i32.const 64) (i32.const 1024) (i32.const -1) (i32.const 512)", errno).unwrap(),
        28
    );
    for outside in [
        "(i32.const 65535) (i32.const 1024) (i32.const 1) (i32.const 512)",
        "(i32.const 64) (i32.const 65535) (i32.const 1) (i32.const 512)",
        "(i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 65535)",
        "(i32.const -1) (i32.const -1) (i32.const 1) (i32.const -1)",
    ] {
        assert_eq!(code(answer(outside, errno)), "bad_reply");
    }
}

#[test]
fn exiting_is_a_failure_with_a_status() {
    let folder = Folder::new("exit");
    let wpc = pool_of_tools(everything(&folder));
    for status in [0, 3, 255, -1] {
        let error = wpc.call::<()>("exit_with", (status,)).unwrap_err();
        assert!(matches!(error, Error::Exited { status: found, .. } if found == status), "{error}");
        wpc.call::<Vec<String>>("given_arguments", ()).unwrap();
    }
}

#[test]
fn a_whole_program_runs_once_a_call_from_its_start() {
    let (sender, written) = channel();
    let program = |arguments: &[&str]| {
        let wasi = Wasi::minimal()
            .arguments(arguments.iter().copied())
            .stdin(b"some words".to_vec())
            .stdout(Output::writer(Channel(sender.clone())));
        guest("program").grant_wasi(wasi)
    };
    let wpc = pool_with(1, hasty());
    let told = wpc.define_worker_function("shout", program(&["shout"])).unwrap();
    assert_eq!(told.parameter_signature.as_deref(), Some("() -> ()"));
    for _ in 0..2 {
        wpc.call::<()>("shout", ()).unwrap();
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"SOME WORDS");
    }
    wpc.define_worker_function("shout", program(&["shout", "0"])).unwrap();
    wpc.call::<()>("shout", ()).unwrap();
    wpc.define_worker_function("shout", program(&["shout", "4"])).unwrap();
    let error = wpc.call::<()>("shout", ()).unwrap_err();
    assert!(matches!(error, Error::Exited { status: 4, .. }), "{error}");
}

#[test]
fn the_exit_of_a_dependency_is_not_the_programs() {
    let wpc = pool_with(1, hasty());
    let exits =
        wat(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "leave") (call $exit (i32.const 0))))"#);
    wpc.define_worker_dependency("exits", exits.grant_wasi(Wasi::new())).unwrap();
    let program =
        wat(r#"(module (import "exits" "leave" (func $leave)) (memory (export "memory") 1)
            (func (export "_start") (call $leave)))"#);
    wpc.define_worker_function("program", program.clone()).unwrap();
    let error = wpc.call::<()>("program", ()).unwrap_err();
    assert!(matches!(error, Error::Exited { status: 0, .. }), "{error}");

    wpc.define_worker_dependency("program", program).unwrap();
    let imports = wat(
        r#"(module (import "wpc:program" "_start" (func (param i32 i32 i32 i32) (result i64))) (func (export "f")))"#,
    );
    let error = wpc.define_worker_function("f", imports).unwrap_err();
    assert!(error.to_string().contains("it is a WASI command"), "{error}");
}

/// A program with the exports that toolchains add to one.
fn program_with_exports() -> WasmModule {
    wat(r#"(module
        (global $ready (mut i32) (i32.const 0))
        (memory (export "memory") 1)
        (func (export "_start")
            (if (global.get $ready) (then unreachable))
            (global.set $ready (i32.const 1)))
        (func (export "stackSave") (result i32) global.get $ready)
        (func (export "malloc") (param i32) (result i32) global.get $ready))"#)
}

#[test]
fn a_command_offers_itself_whatever_else_it_exports() {
    let wpc = pool(1);
    for (name, module) in [
        ("_start", program_with_exports()),
        ("_start", program_with_exports().export("_start")),
        ("program", program_with_exports()),
    ] {
        let defined = wpc.define_worker_function(name, module).unwrap();
        assert_eq!(defined.parameter_signature.as_deref(), Some("() -> ()"));
        // Each call has a fresh sandbox.
        for _ in 0..2 {
            wpc.call::<()>(name, ()).unwrap();
        }
    }
    let defined = wpc.define_worker_module(program_with_exports()).unwrap();
    let names: Vec<_> = defined.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["_start"]);
}

#[test]
fn no_other_export_of_a_command_is_reached_before_its_start() {
    let wpc = pool(1);
    for chosen in ["stackSave", "malloc"] {
        for result in [
            wpc.define_worker_function(chosen, program_with_exports()),
            wpc.define_worker_function("f", program_with_exports().export(chosen)),
        ] {
            let error = result.unwrap_err();
            assert!(
                matches!(&error, Error::ExportOfCommand { export, .. } if export == chosen),
                "{error}"
            );
        }
    }
    // Neither linked nor with bytes.
    wpc.define_worker_dependency("program", program_with_exports()).unwrap();
    for imports in [
        r#"(module (import "program" "stackSave" (func (result i32))) (func (export "f")))"#,
        r#"(module (import "program" "memory" (memory 1)) (func (export "f")))"#,
        r#"(module (import "wpc:program" "malloc" (func (param i32 i32 i32 i32) (result i64))) (func (export "f")))"#,
    ] {
        let error = wpc.define_worker_function("f", wat(imports)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DependencyExport, "{error}");
        assert!(error.to_string().contains("WASI command"), "{error}");
    }
    let told = program_with_exports().inspect().unwrap();
    let names: Vec<_> = told.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["_start"]);
    assert!(told.other_exports.iter().any(|export| export.starts_with("malloc: ")));
}

#[test]
fn the_exports_of_a_reactor_are_initialised_first() {
    let wpc = pool(1);
    let reactor = wat(r#"(module
        (global $ready (mut i32) (i32.const 0))
        (memory (export "memory") 1)
        (func (export "_initialize") (global.set $ready (i32.const 1)))
        (func (export "_start") unreachable)
        (func (export "ready") (result i32) global.get $ready))"#);
    wpc.define_worker_function("ready", reactor).unwrap();
    assert_eq!(wpc.call::<i32>("ready", ()).unwrap(), 1);
}

#[test]
fn a_dependency_has_its_own_grants() {
    let wpc = pool(1);
    let dependency = wat(
        r#"(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "count") (result i32)
                (drop (call $sizes (i32.const 0) (i32.const 4))) (i32.load (i32.const 0))))"#,
    );
    let function = wat(
        r#"(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "counter" "count" (func $count (result i32)))
            (memory (export "memory") 1)
            (func (export "f") (result i32)
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (i32.add (i32.mul (i32.const 10) (i32.load (i32.const 0))) (call $count))))"#,
    );
    let arguments = |count| Wasi::new().arguments(vec!["x"; count]);
    wpc.define_worker_dependency("counter", dependency.grant_wasi(arguments(3))).unwrap();
    wpc.define_worker_function("f", function.grant_wasi(arguments(2))).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 23);
}

#[test]
fn threads_of_its_own_are_none() {
    let folder = Folder::new("threads");
    folder.put("a.txt", "alpha");
    let wpc = pool_of_tools(everything(&folder));
    assert_eq!(wpc.call::<String>("read_file", ("/data/a.txt",)).unwrap(), "alpha");
    wpc.call::<u64>("sleep_for", (1_u64,)).unwrap();
    let names = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let foreign: Vec<_> = names.filter(|name| name.contains("tokio")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

/// A writer that uses its pool as it goes, and panics.
struct Parting(WorkerProcedureCall);

impl Write for Parting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        self.0.undefine_worker_constant("word");
        panic!("as a test wants it to");
    }
}

#[test]
fn a_replaced_writer_may_use_the_pool_as_it_goes_and_panic() {
    let wpc = pool(1);
    let module = |wpc: &WorkerProcedureCall| {
        let output = Output::writer(Parting(wpc.clone()));
        imports("sched_yield", "(result i32)").grant_wasi(Wasi::new().stdout(output))
    };
    wpc.define_worker_constant("word", &1_u8).unwrap();
    wpc.define_worker_function("f", module(&wpc)).unwrap();
    wpc.call::<()>("f", ()).unwrap();
    wpc.define_worker_function("f", module(&wpc)).unwrap();
    wpc.call::<()>("f", ()).unwrap();
    wpc.undefine_worker_function("f");
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0, "no worker was lost");
    }
    wpc.define_worker_function("f", imports("sched_yield", "(result i32)").grant_wasi(Wasi::new()))
        .unwrap();
    wpc.call::<()>("f", ()).unwrap();
}

#[test]
fn what_is_written_while_a_sandbox_is_made_counts_for_its_first_call() {
    let wpc = pool_with(1, hasty());
    let module = contract(
        r#"(func $start (call $log (i32.const 2) (i32.const 0) (i32.const 500)))
        (start $start)
        (func (export "f") (param i32 i32) (result i64)
            (call $log (i32.const 2) (i32.const 0) (i32.const 500)) i64.const 68719476737)"#,
    );
    let limits = Limits { log: 1_000, ..Limits::default() };
    wpc.define_worker_function("f", module.limits(limits)).unwrap();
    let error = wpc.call::<()>("f", ()).unwrap_err();
    assert!(matches!(error, Error::LogLimit { limit: 1_000, .. }), "{error}");
}
