//! Compiles the host's sources, this crate's library, with the cfg `wpc_model`.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(wpc_model)");
    println!("cargo::rustc-cfg=wpc_model");
    println!("cargo::rerun-if-changed=build.rs");
}
