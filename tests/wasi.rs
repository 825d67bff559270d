//! WASI preview 1: granted by parts, confined to what was granted, and interrupted like any other code.

mod commands;
mod directories;
#[cfg(unix)]
mod files;
mod grants;
mod input;
mod output;
mod waiting;

use crate::support::*;
use std::io::Write;
use std::sync::mpsc::Sender;
use wpc_host::{Capability, Wasi, WasmModule, WorkerProcedureCall};

/// A temporary folder for one test. It is removed on drop.
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
        // A folder that cannot be removed fails no test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The guest `tool`, which imports all of WASI.
fn tool(wasi: Wasi) -> WasmModule {
    guest("tool").grant_wasi(wasi).grant(Capability::Clock).grant(Capability::Random)
}

fn everything(folder: &Folder) -> Wasi {
    Wasi::minimal().read_directory(&folder.0, "/data")
}

fn pool_of_tools(wasi: Wasi) -> WorkerProcedureCall {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_module(tool(wasi)).unwrap();
    wpc
}

/// A module with an import of WASI and a function `f` that does nothing.
fn imports(name: &str, ty: &str) -> WasmModule {
    wat(&format!(
        r#"(module (import "wasi_snapshot_preview1" "{name}" (func {ty}))
            (memory (export "memory") 1) (func (export "f")))"#
    ))
}

struct Channel(Sender<Vec<u8>>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match bytes {
            b"panic" => panic!("intended by the test"),
            b"fail" => return Err(std::io::Error::other("the write fails")),
            bytes => self.0.send(bytes.to_vec()).unwrap(),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
