//! Granted directories: confined, read-only or writable, with a bounded number of open files.

use super::{Folder, everything, pool_of_tools, tool};
use crate::support::{code, immediate_restarts, pool_with};
use wpc_host::{Error, Limits, Wasi};

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
fn neither_paths_nor_links_lead_out_of_a_directory() {
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
fn open_files_are_limited() {
    let folder = Folder::new("hoard");
    folder.put("a.txt", "");
    let wpc = pool_with(1, immediate_restarts());
    let limits = Limits::default().open_files(5);
    wpc.define_worker_module(tool(everything(&folder)).limits(limits)).unwrap();
    let error = wpc.call::<u32>("hoard", ("/data/a.txt",)).unwrap_err();
    assert!(matches!(error, Error::TooManyOpenFiles { limit: 5, .. }), "{error}");
    wpc.call::<Vec<String>>("list_folder", ("/data",)).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_granted_directory_is_not_replaced_by_another_at_its_path() {
    let outer = Folder::new("outer-of-replaced");
    let (inner, elsewhere) = (outer.0.join("inner"), Folder::new("elsewhere"));
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("mine.txt"), "mine").unwrap();
    elsewhere.put("secret.txt", "secret");
    let wpc = pool_with(1, immediate_restarts());
    let module = tool(Wasi::minimal().read_directory(&inner, "/data")).isolate_calls();
    wpc.define_worker_module(module).unwrap();
    std::fs::rename(&inner, outer.0.join("moved")).unwrap();
    std::os::unix::fs::symlink(&elsewhere.0, &inner).unwrap();
    assert_eq!(wpc.call::<Vec<String>>("list_folder", ("/data",)).unwrap(), ["mine.txt"]);
}
