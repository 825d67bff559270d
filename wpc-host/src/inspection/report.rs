//! Builds the report on a module from its declarations.

use crate::definition::wasi::Piece;
use crate::error::Error;
use crate::id::{FunctionHash, Sha256Hash};
use crate::information::{
    DeclaredType, ExportInformation, ModuleInformation, RequiredDependency, SuspensionCause,
};
use crate::inspection::declarations::Declarations;
use crate::inspection::description::describe;
use crate::inspection::list::shown;
use crate::inspection::types::{collect_types, documented, parts};
use crate::module::signature;
use crate::module::{DeclaredImports, Export, MAX_EXPORTS, offered_exports, read_constants};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;
use wasmparser::MemoryType;
use wpc_abi::names;

impl Declarations<'_> {
    pub(super) fn information(
        mut self,
        bytes: &[u8],
        refused: Option<&Error>,
    ) -> ModuleInformation {
        let abi_version = self.abi_version();
        let own_memories = self.memories.get(self.imported_memories..).unwrap_or_default();
        let initial = own_memories.iter().map(|memory| in_bytes(memory, memory.initial));
        let initial_memory = initial.fold(0, u64::saturating_add);
        let maxima = own_memories.iter().map(|memory| Some(in_bytes(memory, memory.maximum?)));
        let maximum_memory = maxima.reduce(|sum, next| Some(sum?.saturating_add(next?))).flatten();
        let own_tables = self.tables.get(self.imported_tables..).unwrap_or_default();
        let maxima = own_tables.iter().map(|table| table.maximum);
        let maximum_table_elements = maxima.reduce(|most, next| Some(most?.max(next?))).flatten();

        let mut documentation = std::mem::take(&mut self.documentation);
        let callable = self.callable(std::mem::take(&mut documentation.functions));
        let offered = offered_exports(&callable);
        let offered = || offered.iter().take(MAX_EXPORTS).map(|(_, export)| *export);
        let functions = offered().map(|export| ExportInformation {
            name: export.name.clone(),
            signature: signature::known(export).map(|signature| (&*signature).into()),
            how_to_call: how_to_call(&export.name),
            documentation: export.documentation.clone(),
        });
        let functions: Vec<_> = functions.collect();
        let listed: HashSet<_> = offered().map(Export::item).collect();
        let mut other_exports = std::mem::take(&mut self.component_exports);
        for export in self.exports().filter(|export| !listed.contains(export.name)) {
            other_exports.push(|| {
                let what = self.exported(&export).map(|ty| describe(&self.types, ty));
                let what = what.unwrap_or_else(|| "an item that does not exist".to_owned());
                format!("{}: {what}", shown(export.name))
            });
        }
        let mut types = BTreeMap::new();
        for signature in callable.iter().take(MAX_EXPORTS).filter_map(signature::known) {
            collect_types(parts(&signature), &mut types);
        }
        let (constants, constant_types) =
            read_constants(std::mem::take(&mut self.section.constants));
        collect_types(constant_types.values().flatten(), &mut types);
        let constant_types = constant_types
            .into_iter()
            .map(|(name, declared)| (name, distinct(declared.into_iter().map(DeclaredType))));
        let mut declared = DeclaredImports::new(std::mem::take(&mut self.section.imports));
        let mut signatures = |module: &str, names: &BTreeSet<&str>| {
            let mut of_module = BTreeMap::new();
            for name in names {
                let declared = declared.take(module, name);
                for signature in &declared {
                    collect_types(parts(signature), &mut types);
                }
                if !declared.is_empty() {
                    of_module.insert((*name).to_owned(), distinct(declared.iter().map(Into::into)));
                }
            }
            of_module
        };
        let host_function_signatures =
            signatures(names::HOST_FUNCTIONS_MODULE, &self.host_functions);
        let called_signatures = signatures(names::CALLED_FUNCTIONS_MODULE, &self.called_functions);
        let dependencies = self.dependencies.into_iter().map(|(alias, imports)| {
            let module = format!("{}{alias}", names::TYPED_DEPENDENCY_PREFIX);
            let signatures = signatures(&module, &imports);
            RequiredDependency { alias: alias.to_owned(), imports: owned(imports), signatures }
        });
        let dependencies = dependencies.collect();
        let types = documented(types, documentation.types);
        ModuleInformation {
            hash_sha1: FunctionHash::of(bytes),
            hash_sha256: Sha256Hash::of(bytes),
            size: bytes.len(),
            abi_version,
            refused: refused.map(ToString::to_string),
            remedy: refused.and_then(Error::remedy),
            functions,
            other_exports: other_exports.finish(),
            imports: self.imports.finish(),
            required_constants: constants,
            constant_types: constant_types.collect(),
            required_dependencies: dependencies,
            suspension_causes: owned(self.host_functions.clone())
                .into_iter()
                .map(SuspensionCause::HostFunction)
                .collect(),
            required_host_functions: owned(self.host_functions),
            host_function_signatures,
            required_functions: owned(self.called_functions),
            required_function_signatures: called_signatures,
            calls_functions_by_name: self.calls_by_name,
            required_capabilities: self.capabilities.into_iter().collect(),
            required_wasi_imports: owned(self.wasi),
            required_wasi_grants: grants(self.pieces),
            types,
            initial_memory,
            maximum_memory,
            maximum_table_elements,
        }
    }
}

/// What parts of the module declare for one item, without repetitions.
fn distinct<T: Clone + Eq + Hash>(declared: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    declared.filter(|declaration| seen.insert(declaration.clone())).collect()
}

fn owned(names: BTreeSet<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// Converts a number of pages of this memory to bytes. A module can choose the page size.
fn in_bytes(memory: &MemoryType, pages: u64) -> u64 {
    let bytes = u128::from(pages) << memory.page_size_log2().min(64);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The grants that provide these pieces, without those that other grants imply.
fn grants(mut pieces: BTreeSet<Piece>) -> Vec<String> {
    if pieces.len() > 1 {
        pieces.remove(&Piece::Process);
    }
    if [Piece::Input, Piece::Output, Piece::Directories].iter().any(|piece| pieces.contains(piece))
    {
        pieces.remove(&Piece::Descriptors);
    }
    pieces.into_iter().map(|piece| piece.method().to_owned()).collect()
}

/// How to call a function whose export name is not a valid definition name; `None` if it is valid.
fn how_to_call(name: &str) -> Option<String> {
    let name_rule = names::NAME_RULE;
    if names::is_valid(name) {
        None
    } else if names::is_export_name(name) {
        Some(format!(
            "define the whole module and call it by this name, or define it alone with `export` set to this name, under another name, which must {name_rule}"
        ))
    } else {
        Some(format!(
            "define it alone with `export` set to this name, under another name, which must {name_rule}"
        ))
    }
}
