//! Compiles the host's sources, this crate's library, with the cfg `wpc_model` and without the host's Cargo features.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(wpc_model)");
    println!(
        "cargo::rustc-check-cfg=cfg(feature, values(\"compile-cache\", \"json\", \"tokio\", \"wasi\"))"
    );
    println!("cargo::rustc-cfg=wpc_model");
    println!("cargo::rerun-if-changed=build.rs");
}
