//! Built guests.

use std::path::PathBuf;
use wpc_host::WasmModule;

/// A built guest of `fixtures` or of the examples. If `WPC_GUESTS` is set, it is read from there.
pub(crate) fn guest(name: &str) -> WasmModule {
    WasmModule::new(guest_bytes(name))
}

/// The bytes of such a guest.
pub(crate) fn guest_bytes(name: &str) -> Vec<u8> {
    let root = std::env::var_os("WPC_GUESTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from);
    let folders = ["fixtures/wasm", "examples/guests/wasm"];
    let path = folders.iter().map(|folder| root.join(folder).join(format!("{name}.wasm")));
    let path = path.into_iter().find(|path| path.exists());
    std::fs::read(path.expect("the guest is built")).unwrap()
}
