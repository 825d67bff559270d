//! Reads what the bytes of a module declare.

use crate::capability::Capability;
use crate::definition::wasi::{Need, Piece};
use crate::inspection::description::{Shape, describe};
use crate::inspection::list::{Listed, shown};
use crate::module::{Export, MAX_SECTION, Origin, callable, origin};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    ExportSectionReader, ExternalKind, GlobalType, MemoryType, Parser, Payload, TableType, TagKind,
    TagType, TypeRef,
};
use wpc_abi::documentation::{self, Documentation};
use wpc_abi::names;
use wpc_abi::section::{SECTION, Section};

/// How many items of one kind are kept; a module that could be defined has fewer.
const MAX_ITEMS: usize = 1_000_000;

/// Adds an item to an index space, unless it has [`MAX_ITEMS`] already.
fn keep<T>(space: &mut Vec<T>, item: T) {
    if space.len() < MAX_ITEMS {
        space.push(item);
    }
}

/// What the bytes of a module declare. They need not be valid; nothing is read after the first error.
#[derive(Default)]
pub(super) struct Declarations<'a> {
    pub(super) types: Vec<Shape>,
    /// The type index of each function. Imported items come first, here and below.
    pub(super) functions: Vec<u32>,
    pub(super) tables: Vec<TableType>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) globals: Vec<GlobalType>,
    /// How many of the tables are imported.
    pub(super) imported_tables: usize,
    /// How many of the memories are imported.
    pub(super) imported_memories: usize,
    pub(super) exports: Option<ExportSectionReader<'a>>,
    pub(super) section: Section,
    pub(super) documentation: Documentation,
    pub(super) import_count: usize,
    pub(super) imports: Listed,
    /// The exports of a component.
    pub(super) component_exports: Listed,
    pub(super) dependencies: BTreeMap<&'a str, BTreeSet<&'a str>>,
    pub(super) host_functions: BTreeSet<&'a str>,
    pub(super) called_functions: BTreeSet<&'a str>,
    pub(super) calls_by_name: bool,
    pub(super) capabilities: BTreeSet<Capability>,
    pub(super) wasi: BTreeSet<&'a str>,
    pub(super) pieces: BTreeSet<Piece>,
}

impl<'a> Declarations<'a> {
    /// Reads up to the first error. Returns whether everything was read.
    pub(super) fn read(&mut self, bytes: &'a [u8]) -> bool {
        let mut section_size = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let Ok(payload) = payload else { return false };
            match payload {
                Payload::CustomSection(custom) if custom.name() == SECTION => {
                    section_size = section_size.saturating_add(custom.data().len());
                    if section_size > MAX_SECTION || self.section.read(custom.data()).is_err() {
                        // A section that can be read only in part might be misleading.
                        self.section = Section::default();
                        section_size = usize::MAX;
                    }
                }
                Payload::CustomSection(custom) if custom.name() == documentation::SECTION => {
                    self.documentation.read(custom.data());
                }
                Payload::TypeSection(groups) => {
                    for group in groups.into_iter().map_while(Result::ok) {
                        group.types().for_each(|ty| keep(&mut self.types, Shape::of(ty)));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports().map_while(Result::ok) {
                        self.read_import(import);
                    }
                }
                Payload::FunctionSection(functions) => {
                    for ty in functions.into_iter().map_while(Result::ok) {
                        keep(&mut self.functions, ty);
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables.into_iter().map_while(Result::ok) {
                        keep(&mut self.tables, table.ty);
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories.into_iter().map_while(Result::ok) {
                        keep(&mut self.memories, memory);
                    }
                }
                Payload::GlobalSection(globals) => {
                    for global in globals.into_iter().map_while(Result::ok) {
                        keep(&mut self.globals, global.ty);
                    }
                }
                Payload::ExportSection(exports) => self.exports = Some(exports),
                _ => {}
            }
        }
        true
    }

    fn read_import(&mut self, import: wasmparser::Import<'a>) {
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => keep(&mut self.functions, ty),
            TypeRef::Table(ty) => keep(&mut self.tables, ty),
            TypeRef::Memory(ty) => keep(&mut self.memories, ty),
            TypeRef::Global(ty) => keep(&mut self.globals, ty),
            TypeRef::Tag(_) => {}
        }
        (self.imported_tables, self.imported_memories) = (self.tables.len(), self.memories.len());
        let (module, name) = (import.module, import.name);
        let what = || describe(&self.types, import.ty);
        self.imports.push(|| format!("{}.{}: {}", shown(module), shown(name), what()));
        self.import_count += 1;
        // No valid module name is this long. Many imports can share one name, and classifying each would take a long time.
        if self.import_count > MAX_ITEMS || module.len() > 2 * names::MAX_NAME_LEN {
            return;
        }
        match origin(module, name) {
            Ok(Origin::Host(offered)) => {
                self.capabilities.extend(offered.capability);
                self.calls_by_name |= offered.is_call();
            }
            Ok(Origin::Typed(alias) | Origin::Linked(alias)) => {
                self.dependencies.entry(alias).or_default().insert(name);
            }
            Ok(Origin::HostFunction) => {
                self.host_functions.insert(name);
            }
            Ok(Origin::CalledFunction) => {
                self.called_functions.insert(name);
            }
            Ok(Origin::Wasi(need)) => {
                self.wasi.insert(name);
                match need {
                    Need::Piece(piece) => self.pieces.extend([piece]),
                    Need::Capability(capability) => self.capabilities.extend([capability]),
                }
            }
            // It is in the list of imports, and the reason why the module is refused.
            Err(_) => {}
        }
    }

    /// The type of an export; `None` if its index is out of range.
    pub(super) fn exported(&self, export: &wasmparser::Export<'_>) -> Option<TypeRef> {
        let at = export.index as usize;
        match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                self.functions.get(at).map(|ty| TypeRef::Func(*ty))
            }
            ExternalKind::Table => self.tables.get(at).map(|ty| TypeRef::Table(*ty)),
            ExternalKind::Memory => self.memories.get(at).map(|ty| TypeRef::Memory(*ty)),
            ExternalKind::Global => self.globals.get(at).map(|ty| TypeRef::Global(*ty)),
            ExternalKind::Tag => {
                Some(TypeRef::Tag(TagType { kind: TagKind::Exception, func_type_idx: 0 }))
            }
        }
    }

    pub(super) fn exports(&self) -> impl Iterator<Item = wasmparser::Export<'a>> + use<'a> {
        self.exports.clone().into_iter().flatten().map_while(Result::ok)
    }

    /// The ABI version that its exports name.
    pub(super) fn abi_version(&self) -> Option<u32> {
        let version = |export: wasmparser::Export<'a>| {
            export.name.strip_prefix(names::BUFFER_EXPORT_PREFIX)?.parse().ok()
        };
        self.exports().find_map(version)
    }

    /// The exports that can be called, with their documentation.
    pub(super) fn callable(&mut self, documentation: BTreeMap<String, String>) -> Vec<Export> {
        let has_buffer = self.abi_version().is_some();
        let signatures = std::mem::take(&mut self.section.functions);
        let exports = self.exports().map(|export| {
            let convention = match self.exported(&export) {
                Some(TypeRef::Func(ty)) => {
                    let shape = self.types.get(ty as usize);
                    shape.and_then(|shape| shape.convention(has_buffer))
                }
                _ => None,
            };
            (export.name, convention)
        });
        callable(exports, signatures, documentation)
    }
}
