//! Which modules import a function of the contract that suspends its guest, and so run on fibers.

use wasmparser::{Parser, Payload};
use wpc_abi::names;

/// Whether the module can yield items. The result is false for malformed modules.
pub(crate) fn yields_items(bytes: &[u8]) -> bool {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let mut before_code =
        payloads.take_while(|payload| !matches!(payload, Payload::CodeSectionStart { .. }));
    before_code.any(|payload| match payload {
        Payload::ImportSection(imports) => imports.into_imports().flatten().any(|import| {
            import.module == names::HOST_MODULE && import.name == names::YIELD_IMPORT
        }),
        _ => false,
    })
}
