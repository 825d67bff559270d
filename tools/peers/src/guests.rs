//! The guest modules: that of wpc is committed, those of the peers are built when the run starts.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of this package.
pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) struct Guests {
    pub(crate) wpc: Vec<u8>,
    pub(crate) extism: Vec<u8>,
    pub(crate) wapc: Vec<u8>,
    /// A module of which `wasmtime serve` runs the component.
    pub(crate) hello: Vec<u8>,
}

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

impl Guests {
    /// Builds the guests that are not built yet, optimised and without unwinding.
    pub(crate) fn build() -> Result<()> {
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--release", "--locked", "--target", TARGET])
            .arg("--manifest-path")
            .arg(here().join("guests/Cargo.toml"))
            .status()
            .context("failed to run cargo")?;
        ensure!(
            built.success(),
            "failed to build the guests; if the target is missing: rustup target add {TARGET}"
        );
        Ok(())
    }

    pub(crate) fn read() -> Result<Self> {
        let built = here().join("guests/target").join(TARGET).join("release");
        Ok(Self {
            wpc: read(here().join("../../fixtures/wasm/sdk.wasm"))?,
            extism: read(built.join("extism_guest.wasm"))?,
            wapc: read(built.join("wapc_guest_functions.wasm"))?,
            hello: read(built.join("hello_component.wasm"))?,
        })
    }
}

fn read(path: PathBuf) -> Result<Vec<u8>> {
    std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
}
