//! WebAssembly proposals that are not supported: how a module that uses one is recognised, and why it is refused.
//! `docs/webassembly.md` lists the proposals; a test compares that list with what the host accepts.

use wasmparser::{Validator, WasmFeatures};

/// A proposal that is not supported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Its name in the overview of proposals.
    pub(crate) name: &'static str,
    /// The features of the validator that enable it.
    features: WasmFeatures,
    /// Features that it requires, and which are therefore not reported in addition.
    implied: WasmFeatures,
    /// Why it is not supported, and what to do.
    pub(crate) reason: &'static str,
}

const fn refused(name: &'static str, features: WasmFeatures, reason: &'static str) -> Proposal {
    Proposal { name, features, implied: WasmFeatures::empty(), reason }
}

impl Proposal {
    const fn implies(mut self, implied: WasmFeatures) -> Self {
        self.implied = implied;
        self
    }
}

const UNFINISHED: &str =
    "the proposal is not finished and Wasmtime disables it by default; build without it";

/// All unsupported proposals. A proposal that implies others precedes them.
const REFUSED: &[Proposal] = &[
    refused(
        "custom descriptors",
        WasmFeatures::CUSTOM_DESCRIPTORS,
        "it needs the garbage collection proposal; use linear memory",
    )
    .implies(WasmFeatures::GC),
    refused(
        "shared-everything threads",
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "a guest that waits for another thread cannot be interrupted; build for a single thread",
    )
    .implies(WasmFeatures::THREADS),
    refused(
        "stack switching",
        WasmFeatures::STACK_SWITCHING,
        "the stacks that a guest creates would not be bounded by its limits; build without it",
    ),
    refused(
        "garbage collection",
        WasmFeatures::GC,
        "a collection cannot be interrupted, so the collector is used for exceptions only; use linear memory",
    ),
    refused(
        "exception handling (legacy)",
        WasmFeatures::LEGACY_EXCEPTIONS,
        "Wasmtime does not implement the legacy encoding; build for the standard one, from Clang 20 on with `-mllvm -wasm-use-legacy-eh=false`, or convert the module with `wasm-opt --translate-to-exnref`",
    ),
    refused(
        "threads and atomics",
        WasmFeatures::THREADS,
        "a guest that waits for another thread cannot be interrupted; build for a single thread, without `-pthread` and `+atomics`",
    ),
    refused(
        "64-bit memory",
        WasmFeatures::MEMORY64,
        "pointers of the contract have 32 bits; build for wasm32",
    ),
    refused(
        "multiple memories",
        WasmFeatures::MULTI_MEMORY,
        "the contract has one memory; merge them into one",
    ),
    refused("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES, UNFINISHED),
    refused("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC, UNFINISHED),
    refused("memory control", WasmFeatures::MEMORY_CONTROL, UNFINISHED),
    refused("compact import section", WasmFeatures::COMPACT_IMPORTS, UNFINISHED),
];

/// The proposals of [`REFUSED`] that a module uses; empty if it is invalid for another reason. It validates the module
/// once for each proposal, so it is meant for modules that the compiler has refused.
pub(crate) fn refused_in(bytes: &[u8]) -> Vec<&'static Proposal> {
    let is_valid = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    let mut features = WasmFeatures::all();
    if !is_valid(features) {
        return Vec::new();
    }
    let mut implied = WasmFeatures::empty();
    let mut used = Vec::new();
    for proposal in REFUSED {
        if implied.contains(proposal.features) {
            continue;
        }
        let without = features.difference(proposal.features);
        if is_valid(without) {
            features = without;
        } else {
            implied |= proposal.implied;
            used.push(proposal);
        }
    }
    used
}
