//! The exports by which a module declares that it implements the contract of `wpc_abi`.

use super::wasm_type::{Scalar, describe, is_type};
use crate::error::Error;
use wasmtime::ExternType;
use wpc_abi::names;

/// Whether the module implements the contract. Refuses modules that implement another version.
pub(super) fn check_version(what: &str, wasm: &wasmtime::Module) -> Result<bool, Error> {
    let mut has_buffer = false;
    for export in wasm.exports() {
        let Some(version) = export.name().strip_prefix(names::BUFFER_EXPORT_PREFIX) else {
            continue;
        };
        if export.name() != names::BUFFER_EXPORT {
            return Err(Error::AbiVersion {
                what: what.to_owned(),
                expected: wpc_abi::VERSION,
                found: version.to_owned(),
            });
        }
        let fits = matches!(export.ty(), ExternType::Func(ty)
            if is_type(&ty, &[Scalar::I32], &[Scalar::I32]));
        if !fits {
            return Err(Error::ExportType {
                what: what.to_owned(),
                export: names::BUFFER_EXPORT.to_owned(),
                found: describe(&export.ty()),
            });
        }
        has_buffer = true;
    }
    if has_buffer && !matches!(wasm.get_export("memory"), Some(ExternType::Memory(_))) {
        return Err(Error::MissingExport {
            what: what.to_owned(),
            wanted: "memory".to_owned(),
            offered: vec![names::BUFFER_EXPORT.to_owned()],
        });
    }
    Ok(has_buffer)
}

/// Whether the module has an init hook. Refuses hooks of another type.
pub(super) fn check_init(what: &str, wasm: &wasmtime::Module) -> Result<bool, Error> {
    match wasm.get_export(names::INIT_EXPORT) {
        None => Ok(false),
        Some(ExternType::Func(ty)) if is_type(&ty, &[], &[Scalar::I64]) => Ok(true),
        Some(other) => Err(Error::ExportType {
            what: what.to_owned(),
            export: names::INIT_EXPORT.to_owned(),
            found: describe(&other),
        }),
    }
}
