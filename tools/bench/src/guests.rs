//! The measured modules, and pools with them.

use crate::workspace;
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use wpc_host::{Function, Options, WorkerProcedureCall};

/// The measured modules.
pub(crate) struct Guests {
    /// A guest of the SDK with `add` and `echo_bytes`.
    pub(crate) sdk: Vec<u8>,
    /// A guest without the SDK, for the baselines.
    pub(crate) bare: Vec<u8>,
}

const BARE: &str = r#"(module
    (memory (export "memory") 64)
    (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 65536)
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "nothing"))
    (func (export "hand_back") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))
            (i64.extend_i32_u (local.get 1))))
    (func (export "traps") unreachable)
    (func (export "spins") (loop br 0)))"#;

impl Guests {
    pub(crate) fn read() -> Result<Self> {
        let path = workspace::root()?.join("fixtures/wasm/sdk.wasm");
        let sdk = std::fs::read(&path)
            .with_context(|| format!("{}; `cargo xtask guests` builds it", path.display()))?;
        Ok(Self { sdk, bare: wat::parse_str(BARE)? })
    }

    pub(crate) fn pool(&self, workers: usize) -> Result<WorkerProcedureCall> {
        let wpc = WorkerProcedureCall::new(
            Options::default()
                .restart_base_delay(Duration::from_nanos(1))
                .restart_jitter(Duration::ZERO),
        )?;
        for function in ["add", "echo_bytes"] {
            wpc.define_worker_function(function, self.sdk.as_slice())?;
        }
        for function in ["traps", "spins"] {
            wpc.define_worker_function(function, self.bare.as_slice())?;
        }
        if workers > 0 {
            wpc.start_workers(workers)?;
        }
        Ok(wpc)
    }
}

/// A module with the same behaviour that was never compiled: it has a custom section with this number.
pub(crate) fn never_seen(wasm: &[u8], number: u64) -> Vec<u8> {
    let mut other = wasm.to_vec();
    // A custom section of 13 bytes with a name of 4 bytes.
    other.extend([0, 13, 4]);
    other.extend(b"copy");
    other.extend(number.to_le_bytes());
    other
}

pub(crate) type Add = Function<(i32, i32), i32>;

/// A handle of the function `add`.
pub(crate) fn add(wpc: &WorkerProcedureCall) -> Result<Add> {
    Ok(wpc.function("add")?)
}

/// Checks an answer of `add`.
pub(crate) fn check(sum: i32) -> Result<()> {
    ensure!(sum == 42, "40 and 2 are {sum}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_another_module_with_the_same_behaviour() {
        let bare = wat::parse_str(BARE).unwrap();
        let (one, other) = (never_seen(&bare, 1), never_seen(&bare, 2));
        let inspect = |wasm: &[u8]| wpc_host::WasmModule::new(wasm).inspect().unwrap();
        assert_ne!(inspect(&one).hash_sha256, inspect(&other).hash_sha256);
        assert_eq!(
            (&inspect(&one).refused, inspect(&one).functions),
            (&None, inspect(&other).functions)
        );
    }
}
