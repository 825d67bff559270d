//! What a module tells about itself, without a pool and without running any of it.
//!
//! Whether a definition would be refused, the compiler says. All else is read from the bytes, so that it is
//! told of every module, those among them that wpc cannot run.

use crate::capability::Capability;
use crate::definition::WasmModule;
use crate::definition::wasi::{Need, Piece};
use crate::error::Error;
use crate::id::{FunctionHash, Sha256Hash};
use crate::information::{
    ExportInformation, ModuleInformation, RequiredDependency, TypeInformation,
};
use crate::module::compiler::Compiler;
use crate::module::engine::Engines;
use crate::module::signature;
use crate::module::{
    Convention, DeclaredImports, Export, MAX_EXPORTS, MAX_PARAMETERS, MAX_SECTION, Origin, Scalar,
    callable, convention, offers, origin, read_constants,
};
use crate::options::Options;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use wasmparser::{
    BinaryReader, CompositeInnerType, ExportSectionReader, ExternalKind, GlobalType, MemoryType,
    Parser, Payload, SubType, TableType, TagKind, TagType, TypeRef, ValType,
};
use wpc_abi::names;
use wpc_abi::section::{SECTION, Section, Signature};
use wpc_abi::text;

impl WasmModule {
    /// Reads what the module tells, and compiles it to see whether it could be defined. Grants and
    /// dependencies need not be there. Any module can be read, and a little of any component, though it
    /// could not be defined: [`ModuleInformation::refused`] says why.
    ///
    /// # Errors
    ///
    /// [`Error::NotWasm`] where the bytes are neither a module nor a component.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    ///     local.get 0 f64.const 2 f64.div))"#)?;
    /// let told = wpc_host::WasmModule::new(wasm).inspect()?;
    /// assert_eq!(told.functions[0].signature.as_deref(), Some("(argument1: f64) -> f64"));
    /// # Ok(()) }
    /// ```
    pub fn inspect(&self) -> Result<ModuleInformation, Error> {
        self.inspect_with(&Options::default())
    }

    /// Like [`inspect`](Self::inspect), by the compiler of a pool with these options: one with a compile cache
    /// need not compile what a pool did.
    ///
    /// # Errors
    ///
    /// As of [`inspect`](Self::inspect), or what is wrong with the options or the module's limits, or with
    /// the machine: [`Error::StartFailed`], [`Error::OsLimit`].
    pub fn inspect_with(&self, options: &Options) -> Result<ModuleInformation, Error> {
        options.validate()?;
        // Nothing is instantiated, and address space is reserved for each instance that there may be.
        let options = Options { max_live_instances: 1, ..options.clone() };
        let engines = Arc::new(Engines::new(&options, None)?);
        let profile = engines.profile(&self.limits, self.has_canonical_nans);
        let title = self.title(|| NAME.to_owned());
        // Those are not modules.
        let what = || self.title(|| "this".to_owned());
        let compiled = Compiler::new(engines).compile_ungranted(&title, self, profile);
        match compiled.and_then(|module| module.check_sizes(&title, &self.limits)) {
            Ok(()) => Ok(information(&self.bytes, None)),
            Err(
                error @ (Error::InvalidOptions { .. }
                | Error::StartFailed { .. }
                | Error::OsLimit { .. }
                | Error::CompilerBusy { .. }),
            ) => Err(error),
            Err(Error::NotWasm { reason, .. }) => Err(Error::NotWasm { what: what(), reason }),
            Err(Error::Component { .. }) => {
                let error = Error::Component { what: what() };
                let mut told = Told::default();
                // What could be read before the component breaks off is told.
                let _ = told.read_component(&self.bytes);
                Ok(told.information(&self.bytes, Some(&error)))
            }
            Err(error) => Ok(information(&self.bytes, Some(&error))),
        }
    }
}

/// What an inspected module is called where it would be refused.
const NAME: &str = "this module";

/// How many imports and other exports are told one by one: a module may have a million of each.
const MAX_LISTED: usize = 1_000;

/// How many of anything are kept in mind; no module that could be used has more.
const MAX_ITEMS: usize = 1_000_000;

/// A list that is cut.
#[derive(Default)]
struct Listed {
    items: Vec<String>,
    more: usize,
}

impl Listed {
    fn push(&mut self, item: impl FnOnce() -> String) {
        if self.items.len() < MAX_LISTED {
            self.items.push(item());
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.items.push(format!("and {} more", self.more));
        }
        self.items
    }
}

/// Adds an item of an index space, unless it has too many already.
fn keep<T>(space: &mut Vec<T>, item: T) {
    if space.len() < MAX_ITEMS {
        space.push(item);
    }
}

/// A name in a list. Many imports may share one module's name in the bytes, so that a long one would
/// take its length many times.
fn shown(name: &str) -> String {
    match name.char_indices().nth(names::MAX_NAME_LEN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// A type of the module's.
enum Shape {
    Function {
        parameters: Box<[ValType]>,
        results: Box<[ValType]>,
    },
    /// A function of more parameters and results than are worth telling: how many of each.
    Wide(usize, usize),
    /// No function's.
    Other,
}

impl Shape {
    fn of(ty: &SubType) -> Self {
        let CompositeInnerType::Func(ty) = &ty.composite_type.inner else { return Self::Other };
        let (parameters, results) = (ty.params(), ty.results());
        if parameters.len() > MAX_PARAMETERS || results.len() > MAX_PARAMETERS {
            return Self::Wide(parameters.len(), results.len());
        }
        Self::Function { parameters: parameters.into(), results: results.into() }
    }

    fn convention(&self, has_buffer: bool) -> Option<Convention> {
        let Self::Function { parameters, results } = self else { return None };
        let [parameters, results] =
            [parameters, results].map(|types| types.iter().map(|ty| scalar(*ty)));
        convention(parameters, results, has_buffer)
    }
}

fn scalar(ty: ValType) -> Option<Scalar> {
    match ty {
        ValType::I32 => Some(Scalar::I32),
        ValType::I64 => Some(Scalar::I64),
        ValType::F32 => Some(Scalar::F32),
        ValType::F64 => Some(Scalar::F64),
        _ => None,
    }
}

/// What is imported or exported, in words.
fn describe(types: &[Shape], ty: TypeRef) -> String {
    let list =
        |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    match ty {
        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => match types.get(ty as usize) {
            Some(Shape::Function { parameters, results }) => {
                format!("a function ({}) -> ({})", list(parameters), list(results))
            }
            Some(Shape::Wide(parameters, results)) => {
                format!("a function of {parameters} parameters and {results} results")
            }
            Some(Shape::Other) | None => "a function".to_owned(),
        },
        TypeRef::Table(ty) => format!("a table of {}", ty.element_type),
        TypeRef::Memory(ty) => {
            let shared = if ty.shared { "shared " } else { "" };
            let wide = if ty.memory64 { "64-bit " } else { "" };
            format!("a {shared}{wide}memory")
        }
        TypeRef::Global(ty) => format!("a global of {}", ty.content_type),
        TypeRef::Tag(_) => "a tag".to_owned(),
    }
}

/// What a module's bytes tell. They need not be valid, and what comes after a mistake is not read.
#[derive(Default)]
struct Told<'a> {
    types: Vec<Shape>,
    /// The types of the functions, by their places. Imported ones come first, here and below.
    functions: Vec<u32>,
    tables: Vec<TableType>,
    memories: Vec<MemoryType>,
    globals: Vec<GlobalType>,
    /// How many tables and memories are not its own.
    imported_tables: usize,
    imported_memories: usize,
    exports: Option<ExportSectionReader<'a>>,
    section: Section,
    import_count: usize,
    imports: Listed,
    /// What a component exports.
    component_exports: Listed,
    dependencies: BTreeMap<&'a str, BTreeSet<&'a str>>,
    host_functions: BTreeSet<&'a str>,
    capabilities: BTreeSet<Capability>,
    wasi: BTreeSet<&'a str>,
    pieces: BTreeSet<Piece>,
}

fn information(bytes: &[u8], refused: Option<&Error>) -> ModuleInformation {
    let mut told = Told::default();
    told.read(bytes);
    told.information(bytes, refused)
}

impl<'a> Told<'a> {
    fn read(&mut self, bytes: &'a [u8]) {
        let mut section_size = 0_usize;
        for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
            match payload {
                Payload::CustomSection(custom) if custom.name() == SECTION => {
                    section_size = section_size.saturating_add(custom.data().len());
                    if section_size > MAX_SECTION || self.section.read(custom.data()).is_err() {
                        // Half of what it means to tell might be wrong.
                        self.section = Section::default();
                        section_size = usize::MAX;
                    }
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
        // So long a name is nobody's; looked through once for each import that shares it, it would take long.
        if self.import_count > MAX_ITEMS || module.len() > 2 * names::MAX_NAME_LEN {
            return;
        }
        match origin(module, name) {
            Ok(Origin::Host(offered)) => self.capabilities.extend(offered.capability),
            Ok(Origin::Typed(alias) | Origin::Linked(alias)) => {
                self.dependencies.entry(alias).or_default().insert(name);
            }
            Ok(Origin::HostFunction) => {
                self.host_functions.insert(name);
            }
            Ok(Origin::Wasi(need)) => {
                self.wasi.insert(name);
                match need {
                    Need::Piece(piece) => self.pieces.extend([piece]),
                    Need::Capability(capability) => self.capabilities.extend([capability]),
                }
            }
            // It is among the imports, and its like is why the module is refused.
            Err(_) => {}
        }
    }

    /// What an export is; `None` where its index leads nowhere.
    fn exported(&self, export: &wasmparser::Export<'_>) -> Option<TypeRef> {
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

    fn exports(&self) -> impl Iterator<Item = wasmparser::Export<'a>> + use<'a> {
        self.exports.clone().into_iter().flatten().map_while(Result::ok)
    }

    /// The version of the contract that its exports name.
    fn abi_version(&self) -> Option<u32> {
        let version = |export: wasmparser::Export<'a>| {
            export.name.strip_prefix(names::BUFFER_EXPORT_PREFIX)?.parse().ok()
        };
        self.exports().find_map(version)
    }

    /// Reads what a component imports and exports, as far as it can be read. It is decoded here, because
    /// `wasmparser` does so only with a feature that makes it much larger.
    fn read_component(&mut self, bytes: &'a [u8]) -> Option<()> {
        const IMPORTS: u8 = 10;
        const EXPORTS: u8 = 11;
        let mut rest = BinaryReader::new(bytes.get(HEADER..)?, HEADER);
        while !rest.eof() {
            let id = rest.read_u8().ok()?;
            let mut section = rest.read_reader().ok()?;
            let (list, is_export) = match id {
                IMPORTS => (&mut self.imports, false),
                EXPORTS => (&mut self.component_exports, true),
                _ => continue,
            };
            for _ in 0..section.read_var_u32().ok()? {
                let (name, what) = component_item(&mut section, is_export)?;
                list.push(|| format!("{}: {what}", shown(name)));
            }
        }
        Some(())
    }

    fn information(mut self, bytes: &[u8], refused: Option<&Error>) -> ModuleInformation {
        let abi_version = self.abi_version();
        let own_memories = self.memories.get(self.imported_memories..).unwrap_or_default();
        let initial = own_memories.iter().map(|memory| in_bytes(memory, memory.initial));
        let initial_memory = initial.fold(0, u64::saturating_add);
        let maxima = own_memories.iter().map(|memory| Some(in_bytes(memory, memory.maximum?)));
        let maximum_memory = maxima.reduce(|sum, next| Some(sum?.saturating_add(next?))).flatten();
        let own_tables = self.tables.get(self.imported_tables..).unwrap_or_default();
        let maxima = own_tables.iter().map(|table| table.maximum);
        let maximum_table_elements = maxima.reduce(|most, next| Some(most?.max(next?))).flatten();

        let signatures = std::mem::take(&mut self.section.functions);
        let exports = self.exports().map(|export| {
            let convention = match self.exported(&export) {
                Some(TypeRef::Func(ty)) => {
                    let shape = self.types.get(ty as usize);
                    shape.and_then(|shape| shape.convention(abi_version.is_some()))
                }
                _ => None,
            };
            (export.name, convention)
        });
        let callable = callable(exports, signatures);
        let offered = offers(&callable);
        let offered = || offered.iter().take(MAX_EXPORTS).map(|(_, export)| *export);
        let functions = offered().map(|export| ExportInformation {
            name: export.name.clone(),
            signature: signature::known(export).map(|signature| text::signature_text(&signature)),
            error_type: export.payload_type.as_ref().map(ToString::to_string),
            how_to_call: how_to_call(&export.name),
        });
        let functions: Vec<_> = functions.collect();
        let told: HashSet<_> = offered().map(Export::item).collect();
        let mut other_exports = std::mem::take(&mut self.component_exports);
        for export in self.exports().filter(|export| !told.contains(export.name)) {
            other_exports.push(|| {
                let what = self.exported(&export).map(|ty| describe(&self.types, ty));
                let what = what.unwrap_or_else(|| "nothing that there is".to_owned());
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
        let constant_types = constant_types.into_iter().map(|(name, declared)| {
            let declared = declared.iter().map(text::type_text).collect();
            (name, distinct(declared))
        });
        let mut declared = DeclaredImports::new(std::mem::take(&mut self.section.imports));
        let mut signatures = |module: &str, names: &BTreeSet<&str>| {
            let mut of_module = BTreeMap::new();
            for name in names {
                let declared = declared.take(module, name);
                for signature in &declared {
                    collect_types(parts(signature), &mut types);
                }
                if !declared.is_empty() {
                    let declared = declared.iter().map(text::signature_text).collect();
                    of_module.insert((*name).to_owned(), distinct(declared));
                }
            }
            of_module
        };
        let host_function_signatures =
            signatures(names::HOST_FUNCTIONS_MODULE, &self.host_functions);
        let dependencies = self.dependencies.into_iter().map(|(alias, imports)| {
            let module = format!("{}{alias}", names::TYPED_DEPENDENCY_PREFIX);
            let signatures = signatures(&module, &imports);
            RequiredDependency { alias: alias.to_owned(), imports: owned(imports), signatures }
        });
        let dependencies = dependencies.collect();
        let types =
            types.into_iter().map(|(definition, name)| TypeInformation { name, definition });
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
            required_host_functions: owned(self.host_functions),
            host_function_signatures,
            required_capabilities: self.capabilities.into_iter().collect(),
            required_wasi_imports: owned(self.wasi),
            required_wasi_grants: grants(self.pieces),
            types: types.collect(),
            initial_memory,
            maximum_memory,
            maximum_table_elements,
        }
    }
}

/// What is declared for one item. Parts of one module that do not agree are shown side by side.
fn distinct(declared: BTreeSet<String>) -> String {
    declared.into_iter().collect::<Vec<_>>().join(" and ")
}

/// The types of a signature, as far as they are declared.
fn parts(signature: &Signature) -> impl Iterator<Item = &OwnedNamedType> {
    let arguments = signature.arguments.iter().filter_map(|argument| argument.ty.as_ref());
    arguments.chain(&signature.result).chain(&signature.error)
}

fn owned(names: BTreeSet<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// So many pages of a memory in bytes. A page's size may be the module's own choice.
fn in_bytes(memory: &MemoryType, pages: u64) -> u64 {
    let bytes = u128::from(pages) << memory.page_size_log2().min(64);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What grants the pieces, without what the others bring along.
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

/// How a function is called whose name cannot be a definition's own; `None` for every other one.
fn how_to_call(name: &str) -> Option<String> {
    let name_rule = names::NAME_RULE;
    if names::is_valid(name) {
        None
    } else if names::is_export_name(name) {
        Some(format!(
            "define the whole module and call it by this name, or define it alone with `export` set to this name, under a name that is {name_rule}"
        ))
    } else {
        Some(format!(
            "define it alone with `export` set to this name, under a name that is {name_rule}"
        ))
    }
}

/// How long the header of a module or a component is.
const HEADER: usize = 8;

/// An import or an export of a component: its name and what it is.
fn component_item<'a>(
    reader: &mut BinaryReader<'a>,
    is_export: bool,
) -> Option<(&'a str, &'static str)> {
    let has_options = reader.read_u8().ok()? == 2;
    let name = reader.read_string().ok()?;
    if has_options {
        for _ in 0..reader.read_var_u32().ok()? {
            reader.read_u8().ok()?;
            reader.skip_string().ok()?;
        }
    }
    if !is_export {
        return Some((name, component_type(reader)?));
    }
    let (_, what) = component_sort(reader)?;
    reader.read_var_u32().ok()?;
    if reader.read_u8().ok()? == 1 {
        component_type(reader)?;
    }
    Some((name, what))
}

/// What is to be read of a component's item.
enum Sort {
    Value,
    Type,
    /// One of which a type's index tells all.
    Indexed,
}

fn component_sort(reader: &mut BinaryReader<'_>) -> Option<(Sort, &'static str)> {
    Some(match reader.read_u8().ok()? {
        0 => {
            reader.read_u8().ok()?;
            (Sort::Indexed, "a core module")
        }
        1 => (Sort::Indexed, "a function"),
        2 => (Sort::Value, "a value"),
        3 => (Sort::Type, "a type"),
        4 => (Sort::Indexed, "a component"),
        5 => (Sort::Indexed, "an instance"),
        _ => return None,
    })
}

/// What a type describes. Only as much of it is read as is needed to come past it.
fn component_type(reader: &mut BinaryReader<'_>) -> Option<&'static str> {
    let (sort, what) = component_sort(reader)?;
    match sort {
        Sort::Value => _ = reader.read_var_s33().ok()?,
        // The same as another type, or a resource of which no more is said.
        Sort::Type if reader.read_u8().ok()? == 1 => {}
        Sort::Type | Sort::Indexed => _ = reader.read_var_u32().ok()?,
    }
    Some(what)
}

/// The structures and enums in these types, by their definitions: two modules of one guest may each have
/// a `Point`.
fn collect_types<'a>(
    of: impl Iterator<Item = &'a OwnedNamedType>,
    types: &mut BTreeMap<String, String>,
) {
    // How deep types nest is bounded where they are read.
    let mut open: Vec<&OwnedNamedType> = of.collect();
    while let Some(named) = open.pop() {
        if let Some(definition) = text::definition(named) {
            types.insert(definition, named.name.clone());
        }
        match &named.ty {
            Type::Option(inner) | Type::NewtypeStruct(inner) | Type::Seq(inner) => open.push(inner),
            Type::Tuple(items) | Type::TupleStruct(items) => open.extend(items),
            Type::Map { key, val } => open.extend([&**key, &**val]),
            Type::Struct(fields) => open.extend(fields.iter().map(|field| &field.ty)),
            Type::Enum(variants) => {
                for variant in variants {
                    match &variant.ty {
                        Variant::UnitVariant => {}
                        Variant::NewtypeVariant(inner) => open.push(inner),
                        Variant::TupleVariant(items) => open.extend(items),
                        Variant::StructVariant(fields) => {
                            open.extend(fields.iter().map(|field| &field.ty));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}
