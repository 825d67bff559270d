//! Files that are not regular ones. Guests that wait for them are suspended.

use super::{Folder, pool_of_tools};
use crate::support::{code, eventually};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_host::{CallOptions, PendingCall, Wasi, WorkerProcedureCall};

fn named_pipe(folder: &Folder) -> PathBuf {
    let path = folder.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

/// Opens both ends, which does not wait.
fn both_ends(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// A pool with one worker.
fn tools(folder: &Folder) -> WorkerProcedureCall {
    pool_of_tools(Wasi::minimal().write_directory(&folder.0, "/data"))
}

fn read(wpc: &WorkerProcedureCall) -> PendingCall<String> {
    wpc.submit("read_file", ("/data/pipe",)).unwrap()
}

/// Waits until a call is suspended. The worker runs others meanwhile.
fn is_suspended(wpc: &WorkerProcedureCall) {
    eventually(|| wpc.metrics().suspended_calls == 1);
    assert_eq!(wpc.call::<Vec<String>>("list_folder", ("/data",)).unwrap(), ["pipe"]);
}

/// Waits until no helper thread is abandoned, and checks that the worker was not replaced.
fn no_worker_was_replaced(wpc: &WorkerProcedureCall) {
    eventually(|| wpc.metrics().abandoned_helper_threads == 0);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

#[test]
fn a_guest_is_suspended_while_it_opens_a_named_pipe() {
    let folder = Folder::new("opened-pipe");
    let path = named_pipe(&folder);
    let wpc = tools(&folder);
    let call = read(&wpc);
    is_suspended(&wpc);
    std::fs::write(&path, "from outside").unwrap();
    assert_eq!(call.wait().unwrap(), "from outside");
    let call = wpc.submit::<()>("write_file", ("/data/pipe", "from a guest")).unwrap();
    is_suspended(&wpc);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "from a guest");
    call.wait().unwrap();
    no_worker_was_replaced(&wpc);
}

#[test]
fn a_guest_is_suspended_while_it_reads_a_named_pipe() {
    let folder = Folder::new("read-pipe");
    let mut pipe = both_ends(&named_pipe(&folder));
    let wpc = tools(&folder);
    let call = read(&wpc);
    is_suspended(&wpc);
    // More than a pipe holds: it is written only once the guest has opened the pipe and reads.
    let text = "0123456789".repeat(20_000);
    pipe.write_all(b"one ").unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    assert!(call.wait().unwrap() == format!("one {text}"));
    no_worker_was_replaced(&wpc);
}

#[test]
fn a_guest_is_suspended_while_a_named_pipe_is_full() {
    let folder = Folder::new("full-pipe");
    let mut pipe = both_ends(&named_pipe(&folder));
    let wpc = tools(&folder);
    let text = "0123456789".repeat(50_000);
    let call = wpc.submit::<()>("write_file", ("/data/pipe", text.as_str())).unwrap();
    is_suspended(&wpc);
    let mut read = vec![0; text.len()];
    pipe.read_exact(&mut read).unwrap();
    call.wait().unwrap();
    assert!(read == text.as_bytes());
    no_worker_was_replaced(&wpc);
}

#[test]
fn a_call_that_waits_for_a_named_pipe_ends_at_its_limit_or_when_it_is_cancelled() {
    let folder = Folder::new("left-pipe");
    let path = named_pipe(&folder);
    let wpc = tools(&folder);
    let limit = CallOptions::new().timeout(Duration::from_millis(50));
    // The helper thread may have begun what the call waited for; it returns when the other end is opened or closed.
    let cancelled = |text: &str, begun: &mut dyn FnMut()| {
        let call = wpc.submit::<()>("write_file", ("/data/pipe", text)).unwrap();
        begun();
        is_suspended(&wpc);
        call.cancel();
        assert_eq!(code(call.wait()), "cancelled");
    };
    cancelled("opening waits", &mut || {});
    // The helper thread may open the pipe only now, so both ends stay open until it has returned.
    let mut pipe = both_ends(&path);
    no_worker_was_replaced(&wpc);
    // The guest has opened the pipe when a byte of it arrives.
    cancelled(&"writing waits".repeat(100_000), &mut || pipe.read_exact(&mut [0]).unwrap());
    drop(pipe);
    no_worker_was_replaced(&wpc);

    // Another pipe: the helper thread may still write to the first one, and would fill it if it were opened again.
    let folder = Folder::new("left-pipe-read");
    let mut pipe = both_ends(&named_pipe(&folder));
    let wpc = tools(&folder);
    let error = wpc.call_with::<String>("read_file", ("/data/pipe",), &limit).unwrap_err();
    assert_eq!(error.code().as_str(), "timeout");
    // Both ends are open and a byte arrives, whichever of these the helper thread waits for.
    pipe.write_all(b"x").unwrap();
    no_worker_was_replaced(&wpc);
    folder.put("regular", "a regular file");
    assert_eq!(wpc.call::<String>("read_file", ("/data/regular",)).unwrap(), "a regular file");
}

#[test]
fn errors_of_special_files_reach_the_guest() {
    let folder = Folder::new("socket");
    let _listener = std::os::unix::net::UnixListener::bind(folder.0.join("socket")).unwrap();
    let wpc = tools(&folder);
    assert_eq!(code(wpc.call::<String>("read_file", ("/data/socket",))), "guest_error");
    no_worker_was_replaced(&wpc);
}
