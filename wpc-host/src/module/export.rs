//! Exports that can be called, and the convention that each of them is called by.

use super::wasm_type::Scalar;
use crate::error::PayloadType;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use wpc_abi::names;
use wpc_abi::section::Signature;

/// How an export is called. Contracts of other kinds of guests would be further variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Convention {
    /// The contract of `wpc_abi`: encoded arguments, encoded reply.
    Wpc,
    /// A plain export whose parameters and result are numbers.
    Scalars { parameters: Vec<Scalar>, result: Option<Scalar> },
    /// A WASI command, which can run once in a sandbox.
    Command,
}

/// An export that can be called.
#[derive(Debug)]
pub(crate) struct Export {
    /// The function's name, without [`names::FUNCTION_EXPORT_PREFIX`].
    pub(crate) name: String,
    /// Whether the module exports it with that prefix.
    pub(crate) is_prefixed: bool,
    pub(crate) convention: Convention,
    /// The types that the module declares for it, if it declares any.
    pub(crate) signature: Option<Signature>,
    /// The error type of the signature.
    pub(crate) payload_type: Option<PayloadType>,
    /// Its documentation. Calls do not read it.
    pub(crate) documentation: Option<String>,
}

impl Export {
    /// An export without declared types.
    fn new(name: String, is_prefixed: bool, convention: Convention) -> Self {
        Self {
            name,
            is_prefixed,
            convention,
            signature: None,
            payload_type: None,
            documentation: None,
        }
    }

    /// The name of the item that the module exports.
    pub(crate) fn item(&self) -> Cow<'_, str> {
        if self.is_prefixed { prefixed(&self.name).into() } else { self.name.as_str().into() }
    }
}

pub(super) fn prefixed(function: &str) -> String {
    format!("{}{function}", names::FUNCTION_EXPORT_PREFIX)
}

/// The maximum number of callable exports, and of parameters of one. The host keeps a few dozen bytes for each, whereas a
/// module can declare one in a single byte.
pub(crate) const MAX_EXPORTS: usize = 50_000;
pub(crate) const MAX_PARAMETERS: usize = 64;

/// The export that initialises and runs a WASI command.
const COMMAND: &str = "_start";

/// The export that initialises a WASI reactor. Its other exports may be called afterwards.
pub(super) const REACTOR: &str = "_initialize";

/// The exports that a module offers when it is defined as a whole, each with its index: those with declared types if
/// there are any, else all. Linkers export further functions that the author did not mean to be called; they can still be
/// called by name.
pub(crate) fn offered_exports(exports: &[Export]) -> Vec<(usize, &Export)> {
    let declares = exports.iter().any(|export| export.signature.is_some());
    let exports = exports.iter().enumerate();
    exports.filter(|(_, export)| !declares || export.signature.is_some()).collect()
}

/// The callable exports among `exports`, which are pairs of a name and the convention that its type allows. The result
/// has at most one more than [`MAX_EXPORTS`], which is enough for the module to be refused.
///
/// A WASI command offers only itself. Its other exports, such as the allocator that linkers add, use memory that only
/// `_start` initialises, and `_start` ends the program.
pub(crate) fn callable<'a>(
    exports: impl Iterator<Item = (&'a str, Option<Convention>)>,
    signatures: Vec<Signature>,
    mut documentation: BTreeMap<String, String>,
) -> Vec<Export> {
    let mut signatures: HashMap<_, _> =
        signatures.into_iter().map(|signature| (signature.name.clone(), signature)).collect();
    let (mut is_program, mut is_reactor) = (false, false);
    let nothing = Convention::Scalars { parameters: Vec::new(), result: None };
    let mut callable = Vec::new();
    for (item, convention) in exports {
        let (name, is_prefixed) = match item.strip_prefix(names::FUNCTION_EXPORT_PREFIX) {
            Some(function) => (function, true),
            None => (item, false),
        };
        match item {
            COMMAND => is_program = convention.as_ref() == Some(&nothing),
            REACTOR => is_reactor = convention.is_some(),
            // Exports of the contract and of toolchains are not functions of the author.
            _ if name.starts_with("wpc_") || item.starts_with("__") => {}
            _ => {
                let Some(convention) = convention.filter(|_| callable.len() <= MAX_EXPORTS) else {
                    continue;
                };
                let name = name.to_owned();
                callable.push(Export::new(name, is_prefixed, convention));
            }
        }
    }
    // A C library may export a function of the same name as the author's, for example `log`.
    let prefixed = callable.iter().filter(|export| export.is_prefixed);
    let prefixed: HashSet<_> = prefixed.map(|export| export.name.clone()).collect();
    if !prefixed.is_empty() {
        callable.retain(|export| export.is_prefixed || !prefixed.contains(&export.name));
    }
    for export in &mut callable {
        export.signature = signatures.remove(&export.name);
        let error = export.signature.as_ref().and_then(|signature| signature.error.clone());
        export.payload_type = error.map(PayloadType::new);
        export.documentation = documentation.remove(&export.name);
    }
    if is_program && (!is_reactor || callable.is_empty()) {
        let (name, convention) = (COMMAND.to_owned(), Convention::Command);
        let documentation = documentation.remove(COMMAND);
        return vec![Export { documentation, ..Export::new(name, false, convention) }];
    }
    callable
}

/// How a function of these types can be called, if it can. `None` stands for a type that cannot be passed.
pub(crate) fn convention(
    parameters: impl ExactSizeIterator<Item = Option<Scalar>>,
    results: impl ExactSizeIterator<Item = Option<Scalar>>,
    has_buffer: bool,
) -> Option<Convention> {
    if parameters.len() > MAX_PARAMETERS || results.len() > 1 {
        return None;
    }
    let parameters: Vec<_> = parameters.collect::<Option<_>>()?;
    let result = results.collect::<Option<Vec<_>>>()?.first().copied();
    if has_buffer && parameters == [Scalar::I32; 2] && result == Some(Scalar::I64) {
        return Some(Convention::Wpc);
    }
    Some(Convention::Scalars { parameters, result })
}
