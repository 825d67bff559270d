//! Which modules import a function of the contract that suspends its guest, and so run on fibers.

use wasmparser::{Parser, Payload};
use wpc_abi::names;

/// Whether the module can yield items. The result is false for malformed modules.
pub(crate) fn yields_items(bytes: &[u8]) -> bool {
    imports_any(bytes, |module, name| module == names::HOST_MODULE && name == names::YIELD_IMPORT)
}

/// Whether the module can yield items or call other functions. The result is false for malformed modules.
pub(crate) fn is_declared(bytes: &[u8]) -> bool {
    imports_any(bytes, |module, name| match module {
        names::CALLED_FUNCTIONS_MODULE => true,
        names::HOST_MODULE => [names::YIELD_IMPORT, names::CALL_IMPORT].contains(&name),
        _ => false,
    })
}

fn imports_any(bytes: &[u8], suspends: impl Fn(&str, &str) -> bool) -> bool {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let mut before_code =
        payloads.take_while(|payload| !matches!(payload, Payload::CodeSectionStart { .. }));
    before_code.any(|payload| match payload {
        Payload::ImportSection(imports) => {
            imports.into_imports().flatten().any(|import| suspends(import.module, import.name))
        }
        _ => false,
    })
}
