//! Compiled modules and what they declare: what can be called, what they require, and their types. No guest code runs
//! here.

#[cfg_attr(not(feature = "compile-cache"), path = "without_compile_cache.rs")]
pub(crate) mod compile_cache;
pub(crate) mod compiler;
mod constant_types;
mod contract;
pub(crate) mod engine;
mod export;
pub(crate) mod gc_heap;
mod import;
pub(crate) mod metering;
pub(crate) mod proposal;
mod section;
pub(crate) mod signature;
pub(crate) mod suspending;
mod wasm_type;

pub(crate) use export::{
    Convention, Export, MAX_EXPORTS, MAX_PARAMETERS, callable, convention, offered_exports,
};
#[cfg(all(test, feature = "wasi"))]
pub(crate) use import::DependencyImports;
pub(crate) use import::{DeclaredImports, Origin, Requirements, may_wait, origin};
pub(crate) use section::{MAX_SECTION, Sections, read_bytes, read_constants};
pub(crate) use wasm_type::{Scalar, describe};

use crate::capability::Capability;
use crate::definition::grants::Grants;
use crate::definition::limits::Limits;
use crate::definition::wasi::{Need, Piece, WASI_MODULE, need};
use crate::error::{Error, Grant};
use crate::id::FunctionHash;
use crate::module::compile_cache::CompileCache;
use crate::module::engine::{MAX_TABLES, Profile};
use crate::module::proposal::{Proposal, refused_in};
use contract::{check_init, check_version};
use export::{REACTOR, prefixed};
use import::read_imports;
use std::borrow::Cow;
use std::collections::BTreeSet;
use wasmtime::ExternType;
use wpc_abi::names;

#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) wasm: wasmtime::Module,
    /// What it was compiled for. The profile has a GC heap if the module, or one that it is linked with, needs it.
    pub(crate) profile: Profile,
    /// Whether the module itself needs a GC heap.
    pub(crate) needs_gc_heap: bool,
    pub(crate) hash: FunctionHash,
    pub(crate) exports: Vec<Export>,
    pub(crate) requirements: Requirements,
    /// Whether it exports the contract's argument buffer.
    pub(crate) has_buffer: bool,
    /// Whether it exports the contract's init hook.
    pub(crate) has_init: bool,
    /// Whether it exports WASI's reactor initialiser.
    pub(crate) has_initialize: bool,
    initial_memory: u64,
    initial_table: u64,
}

impl Module {
    /// The capabilities that it requires, without duplicates.
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        let needed = self.requirements.capabilities.iter().map(|(capability, ..)| *capability);
        let needed: BTreeSet<_> = needed.collect();
        needed.into_iter().collect()
    }

    /// The callable export of this name.
    pub(crate) fn export(&self, name: &str) -> Option<&Export> {
        self.exports.iter().find(|export| export.name == name)
    }

    /// Whether it is a WASI command, which only its `_start` initialises.
    pub(crate) fn is_command(&self) -> bool {
        matches!(self.exports.as_slice(), [only] if only.convention == Convention::Command)
    }

    /// The item that a direct import of `name` is linked to: the export of that name, else the function of that name.
    pub(crate) fn linked<'a>(&self, name: &'a str) -> Option<(Cow<'a, str>, ExternType)> {
        if let Some(found) = self.wasm.get_export(name) {
            return Some((name.into(), found));
        }
        let item = prefixed(name);
        let found = self.wasm.get_export(&item)?;
        Some((item.into(), found))
    }

    /// The exports that it offers when it is defined as a whole, each with its index.
    pub(crate) fn offered_exports(&self) -> Vec<(usize, &Export)> {
        offered_exports(&self.exports)
    }

    /// The names of the exports that it offers, for messages: the first ten, and the number of further ones.
    pub(crate) fn offered_names(&self) -> Vec<String> {
        const MAX: usize = 10;
        let exports = self.offered_exports();
        let first = exports.iter().take(MAX).map(|(_, export)| export.name.clone());
        let more = exports.len().checked_sub(MAX).filter(|more| *more > 0);
        first.chain(more.map(|more| format!("and {more} more"))).collect()
    }

    /// The export of a function: the chosen one, else the one of the same name, else the only one.
    pub(crate) fn export_for(
        &self,
        what: &str,
        function: &str,
        chosen: Option<&str>,
    ) -> Result<&Export, Error> {
        let wanted = chosen.unwrap_or(function);
        if let Some(export) = self.export(wanted) {
            return Ok(export);
        }
        if let Some(found) = self.wasm.get_export(wanted) {
            if self.is_command() && matches!(found, ExternType::Func(_)) {
                let (what, export) = (what.to_owned(), wanted.to_owned());
                return Err(Error::ExportOfCommand { what, export });
            }
            return Err(Error::ExportType {
                what: what.to_owned(),
                export: wanted.to_owned(),
                found: describe(&found),
            });
        }
        let offered = self.offered_names();
        match (chosen, self.offered_exports().as_slice()) {
            (None, [(_, only)]) => Ok(only),
            (None, [_, _, ..]) => Err(Error::AmbiguousExport { what: what.to_owned(), offered }),
            _ => Err(Error::MissingExport {
                what: what.to_owned(),
                wanted: wanted.to_owned(),
                offered,
            }),
        }
    }

    /// Checks that a definition with these grants and limits may use the module.
    pub(crate) fn permit(&self, what: &str, grants: &Grants, limits: &Limits) -> Result<(), Error> {
        let refuse = |module: &str, name: &str, grant: Grant| {
            let (what, module, name) = (what.to_owned(), module.to_owned(), name.to_owned());
            Err(Error::NotGranted { what, module, name, grant })
        };
        if !cfg!(feature = "wasi")
            && let Some(import) = self.requirements.wasi.first()
        {
            return refuse(WASI_MODULE, import, Grant::Wasi(Piece::Process.method().into()));
        }
        for (capability, module, import) in &self.requirements.capabilities {
            if !grants.has(*capability) {
                return refuse(module, import, Grant::Capability(*capability));
            }
        }
        for import in &self.requirements.wasi {
            if let Some(Need::Piece(piece)) = need(import)
                && !grants.wasi.as_ref().is_some_and(|wasi| wasi.has(piece))
            {
                return refuse(WASI_MODULE, import, Grant::Wasi(piece.method().into()));
            }
        }
        for name in &self.requirements.host_functions {
            if !grants.has_host_function(name) {
                let grant = Grant::HostFunction(name.clone());
                return refuse(names::HOST_FUNCTIONS_MODULE, name, grant);
            }
        }
        for name in self.requirements.functions.keys() {
            if !grants.functions.contains(name) {
                let grant = Grant::Function(name.clone());
                return refuse(names::CALLED_FUNCTIONS_MODULE, name, grant);
            }
        }
        if self.requirements.calls_by_name && grants.functions.is_empty() {
            return refuse(names::HOST_MODULE, names::CALL_IMPORT, Grant::Function("…".to_owned()));
        }
        self.check_sizes(what, limits)
    }

    /// Checks the initial sizes of its memory and tables against the limits.
    pub(crate) fn check_sizes(&self, what: &str, limits: &Limits) -> Result<(), Error> {
        if self.initial_memory > limits.memory as u64 {
            return Err(Error::MemoryTooLarge {
                what: what.to_owned(),
                limit: limits.memory,
                found: self.initial_memory,
            });
        }
        if self.initial_table > limits.table_elements as u64 {
            return Err(Error::TableTooLarge {
                what: what.to_owned(),
                limit: limits.table_elements,
                found: self.initial_table,
            });
        }
        Ok(())
    }
}

/// Compiles `bytes` for the engine of `profile`, and reads what the module declares. Errors name it by `what`.
pub(crate) fn compile(
    what: &str,
    bytes: &[u8],
    engine: &wasmtime::Engine,
    cache: Option<&CompileCache>,
    profile: Profile,
) -> Result<Module, Error> {
    let Sections { declared: section, documentation } = read_bytes(what, bytes)?;
    if profile.has_gc_heap {
        gc_heap::check_sizes(what, bytes, MAX_TABLES)?;
    }
    let code = if profile.is_metered {
        wasmtime::Module::validate(engine, bytes).map_err(|error| invalid(what, bytes, &error))?;
        let rewritten = metering::rewrite(bytes).map_err(|reason| Error::InvalidModule {
            what: what.to_owned(),
            reason: format!("its fuel cannot be counted: {reason}"),
        })?;
        Cow::Owned(rewritten)
    } else {
        Cow::Borrowed(bytes)
    };
    let compiled = match cache {
        Some(cache) => cache.compile(engine, &code),
        None => wasmtime::Module::from_binary(engine, &code),
    };
    let wasm = compiled.map_err(|error| invalid(what, bytes, &error))?;
    let has_buffer = check_version(what, &wasm)?;
    let exports = wasm.exports().map(|export| {
        let ExternType::Func(ty) = export.ty() else { return (export.name(), None) };
        let parameters = ty.params().map(|ty| Scalar::of(&ty));
        let results = ty.results().map(|ty| Scalar::of(&ty));
        (export.name(), convention(parameters, results, has_buffer))
    });
    let exports = callable(exports, section.functions, documentation.functions);
    if exports.len() > MAX_EXPORTS {
        return Err(Error::InvalidModule {
            what: what.to_owned(),
            reason: format!("it exports more than {MAX_EXPORTS} callable functions"),
        });
    }
    let requirements = read_imports(what, &wasm, section.constants, section.imports)?;
    Ok(Module {
        hash: FunctionHash::of(bytes),
        exports,
        requirements,
        has_buffer,
        has_init: has_buffer && check_init(what, &wasm)?,
        has_initialize: matches!(wasm.get_export(REACTOR), Some(ExternType::Func(_))),
        initial_memory: initial_memory(&wasm),
        initial_table: wasm.resources_required().max_initial_table_size.unwrap_or(0),
        profile,
        needs_gc_heap: profile.has_gc_heap
            && (gc_heap::is_declared(bytes) || gc_heap::is_needed(bytes)),
        wasm,
    })
}

/// The error of a module that the compiler refused: an unsupported proposal that it uses, else what the compiler reports.
fn invalid(what: &str, bytes: &[u8], error: &wasmtime::Error) -> Error {
    let what = what.to_owned();
    match refused_in(bytes).first() {
        Some(Proposal { name, reason, .. }) => {
            Error::UnsupportedProposal { what, proposal: name, reason }
        }
        None => Error::InvalidModule { what, reason: causes(error) },
    }
}

/// An error and its causes on one line.
fn causes(error: &wasmtime::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

/// The size of a page of memory, in bytes.
const PAGE: u64 = 64 * 1024;

fn initial_memory(wasm: &wasmtime::Module) -> u64 {
    let resources = wasm.resources_required();
    resources.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE)
}
