//! A compiled module and what it tells about itself: what can be called, what it needs, what its
//! types are. Nothing of the guest runs here.

pub(crate) mod compile_cache;
pub(crate) mod compiler;
pub(crate) mod declared_type;
pub(crate) mod engine;
pub(crate) mod gc_heap;
pub(crate) mod metering;
pub(crate) mod proposal;
pub(crate) mod signature;

use crate::capability::Capability;
use crate::definition::grants::Grants;
use crate::definition::limits::{Limits, MAX_TABLE_ELEMENTS};
use crate::definition::wasi::{Need, WASI_MODULE, need};
use crate::error::Error;
use crate::error::payload_type::PayloadType;
use crate::error::remedy::Grant;
use crate::id::FunctionHash;
use crate::module::compile_cache::CompileCache;
use crate::module::engine::{MAX_TABLES, Profile};
use crate::module::proposal::{Proposal, refused_in};
use postcard_schema::schema::owned::OwnedNamedType;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use wasmtime::{ExternType, FuncType, ValType};
use wpc_abi::names;
use wpc_abi::section::{Constant, Import, SECTION, Section, Signature};

/// How an export wants to be called. Other guests' contracts would be further variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Convention {
    /// The contract of `wpc_abi`: bytes in, bytes out.
    Wpc,
    /// A plain export of numbers.
    Scalars { parameters: Vec<Scalar>, result: Option<Scalar> },
    /// A whole program of WASI's, which runs once in a sandbox.
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    I32,
    I64,
    F32,
    F64,
}

impl Scalar {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    fn of(ty: &ValType) -> Option<Self> {
        match ty {
            ValType::I32 => Some(Self::I32),
            ValType::I64 => Some(Self::I64),
            ValType::F32 => Some(Self::F32),
            ValType::F64 => Some(Self::F64),
            _ => None,
        }
    }
}

/// An export that can be called.
#[derive(Debug)]
pub(crate) struct Export {
    /// The function's name, without [`names::FUNCTION_EXPORT_PREFIX`].
    pub(crate) name: String,
    /// Whether the module exports it with that prefix.
    pub(crate) is_prefixed: bool,
    pub(crate) convention: Convention,
    /// What the module tells of its types, if it does.
    pub(crate) signature: Option<Signature>,
    /// The type of its errors, as the signature has it.
    pub(crate) payload_type: Option<PayloadType>,
}

impl Export {
    /// One of which no types are known.
    fn new(name: String, is_prefixed: bool, convention: Convention) -> Self {
        Self { name, is_prefixed, convention, signature: None, payload_type: None }
    }

    /// The name by which the module exports it.
    pub(crate) fn item(&self) -> Cow<'_, str> {
        if self.is_prefixed { prefixed(&self.name).into() } else { self.name.as_str().into() }
    }
}

fn prefixed(function: &str) -> String {
    format!("{}{function}", names::FUNCTION_EXPORT_PREFIX)
}

/// What a module imports from dependencies, by alias.
#[derive(Debug, Default)]
pub(crate) struct DependencyImports {
    /// Functions called through the host, with bytes; each with the types that the module declares for it.
    pub(crate) typed: BTreeMap<String, Vec<Signature>>,
    /// Items linked directly, by name.
    pub(crate) linked: Vec<(String, ExternType)>,
}

/// What a module needs from its host, as it tells by itself.
#[derive(Debug, Default)]
pub(crate) struct Requirements {
    pub(crate) constants: Vec<String>,
    /// The types that it reads constants as. One module may be built of parts that do not agree.
    pub(crate) constant_types: BTreeMap<String, Vec<OwnedNamedType>>,
    pub(crate) dependencies: BTreeMap<String, DependencyImports>,
    pub(crate) host_functions: BTreeSet<String>,
    /// The types that it declares for host functions.
    pub(crate) host_function_types: BTreeMap<String, Vec<Signature>>,
    /// Each with the import that needs it: its module and its name.
    pub(crate) capabilities: Vec<(Capability, &'static str, String)>,
    /// What is imported of WASI, each once.
    pub(crate) wasi: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) wasm: wasmtime::Module,
    /// What it is compiled for. It has a heap for exceptions where the module, or one that it is linked with, needs it.
    pub(crate) profile: Profile,
    /// Whether the module itself needs a heap for exceptions.
    pub(crate) needs_gc_heap: bool,
    pub(crate) hash: FunctionHash,
    pub(crate) exports: Vec<Export>,
    pub(crate) requirements: Requirements,
    /// Whether it exports the contract's buffer.
    pub(crate) has_buffer: bool,
    /// Whether it exports the contract's init hook.
    pub(crate) has_init: bool,
    /// Whether it exports WASI's reactor initialiser.
    pub(crate) has_initialize: bool,
    initial_memory: u64,
    initial_table: u64,
}

impl Module {
    /// The capabilities it needs, each once.
    pub(crate) fn capabilities(&self) -> Vec<Capability> {
        let needed = self.requirements.capabilities.iter().map(|(capability, ..)| *capability);
        let needed: BTreeSet<_> = needed.collect();
        needed.into_iter().collect()
    }

    /// The export called `name`, if it can be called.
    pub(crate) fn export(&self, name: &str) -> Option<&Export> {
        self.exports.iter().find(|export| export.name == name)
    }

    /// Whether it is a WASI command: a program that only its `_start` initialises.
    pub(crate) fn is_command(&self) -> bool {
        matches!(self.exports.as_slice(), [only] if only.convention == Convention::Command)
    }

    /// What a direct import of `name` is linked to: the export of that name, else the function of that name.
    pub(crate) fn linked<'a>(&self, name: &'a str) -> Option<(Cow<'a, str>, ExternType)> {
        if let Some(found) = self.wasm.get_export(name) {
            return Some((name.into(), found));
        }
        let item = prefixed(name);
        let found = self.wasm.get_export(&item)?;
        Some((item.into(), found))
    }

    /// What it offers as a whole, each with its place among the exports.
    pub(crate) fn offers(&self) -> Vec<(usize, &Export)> {
        offers(&self.exports)
    }

    /// The names of what it offers, for messages: the first few, and how many more there are.
    pub(crate) fn offered_names(&self) -> Vec<String> {
        const MOST: usize = 10;
        let offers = self.offers();
        let first = offers.iter().take(MOST).map(|(_, export)| export.name.clone());
        let more = offers.len().checked_sub(MOST).filter(|more| *more > 0);
        first.chain(more.map(|more| format!("and {more} more"))).collect()
    }

    /// The export a function means: the chosen one, else its namesake, else the only one.
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
        match (chosen, self.offers().as_slice()) {
            (None, [(_, only)]) => Ok(only),
            (None, [_, _, ..]) => Err(Error::AmbiguousExport { what: what.to_owned(), offered }),
            _ => Err(Error::MissingExport {
                what: what.to_owned(),
                wanted: wanted.to_owned(),
                offered,
            }),
        }
    }

    /// Whether a definition with these grants and limits may use the module.
    pub(crate) fn permit(&self, what: &str, grants: &Grants, limits: &Limits) -> Result<(), Error> {
        let refuse = |module: &str, name: &str, grant: Grant| {
            let (what, module, name) = (what.to_owned(), module.to_owned(), name.to_owned());
            Err(Error::NotGranted { what, module, name, grant })
        };
        for (capability, module, import) in &self.requirements.capabilities {
            if !grants.has(*capability) {
                return refuse(module, import, Grant::Capability(*capability));
            }
        }
        for import in &self.requirements.wasi {
            if let Some(Need::Piece(piece)) = need(import)
                && !grants.wasi.as_ref().is_some_and(|wasi| wasi.has(piece))
            {
                return refuse(WASI_MODULE, import, Grant::Wasi(piece.method()));
            }
        }
        for name in &self.requirements.host_functions {
            if !grants.has_host_function(name) {
                let grant = Grant::HostFunction(name.clone());
                return refuse(names::HOST_FUNCTIONS_MODULE, name, grant);
            }
        }
        self.check_sizes(what, limits)
    }

    /// Whether what it starts with is within the limits.
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

/// What a module with these exports offers as a whole, each with its place among them: what it tells the
/// types of, where it tells any. Beside those a linker may have exported what nobody meant to be called;
/// by its name it still can be.
pub(crate) fn offers(exports: &[Export]) -> Vec<(usize, &Export)> {
    let tells = exports.iter().any(|export| export.signature.is_some());
    let exports = exports.iter().enumerate();
    exports.filter(|(_, export)| !tells || export.signature.is_some()).collect()
}

/// Compiles `bytes` for the engine of `profile`, and reads what they tell; `what` names them in errors.
pub(crate) fn compile(
    what: &str,
    bytes: &[u8],
    engine: &wasmtime::Engine,
    cache: Option<&CompileCache>,
    profile: Profile,
) -> Result<Module, Error> {
    let section = read_bytes(what, bytes)?;
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
    let exports = callable(exports, section.functions);
    if exports.len() > MAX_EXPORTS {
        return Err(Error::InvalidModule {
            what: what.to_owned(),
            reason: format!("it exports more than {MAX_EXPORTS} functions that could be called"),
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

/// Why the compiler refused the bytes: the proposal that they use and that is not accepted, else what it reports.
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

/// Whether the module keeps the contract; refuses it where it keeps another version.
fn check_version(what: &str, wasm: &wasmtime::Module) -> Result<bool, Error> {
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

/// Whether there is an init hook; refuses one of another type.
fn check_init(what: &str, wasm: &wasmtime::Module) -> Result<bool, Error> {
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

/// The most bytes a module may use to tell about itself: read, they take some tens of times as much.
/// A function of the SDK takes about a hundred.
pub(crate) const MAX_SECTION: usize = 1 << 20;

/// The most exports that can be called, and the most parameters of one: the host keeps a few dozen
/// bytes for each, whatever a module says in one.
pub(crate) const MAX_EXPORTS: usize = 50_000;
pub(crate) const MAX_PARAMETERS: usize = 64;

/// What the module tells about itself. Tables that no limit allows are refused here, since the engine would
/// do so without a word of limits.
pub(crate) fn read_bytes(what: &str, bytes: &[u8]) -> Result<Section, Error> {
    let mut section = Section::default();
    let mut total = 0;
    let malformed = |reason: String| Error::MalformedSection { what: what.to_owned(), reason };
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(wasmparser::Payload::CustomSection(custom)) if custom.name() == SECTION => {
                total += custom.data().len();
                if total > MAX_SECTION {
                    return Err(malformed(format!("it has more than {MAX_SECTION} bytes")));
                }
                section.read(custom.data()).map_err(|error| malformed(error.to_string()))?;
            }
            Ok(wasmparser::Payload::TableSection(tables)) => {
                for table in tables.into_iter().flatten() {
                    if table.ty.initial > MAX_TABLE_ELEMENTS as u64 {
                        let (what, limit) = (what.to_owned(), MAX_TABLE_ELEMENTS);
                        let found = table.ty.initial;
                        return Err(Error::TableTooLarge { what, limit, found });
                    }
                }
            }
            Ok(_) => {}
            // The engine says it better.
            Err(_) => break,
        }
    }
    Ok(section)
}

/// The export that runs a WASI command, and initialises it.
const COMMAND: &str = "_start";

/// The export that initialises a WASI reactor, whose other exports may be called after it.
const REACTOR: &str = "_initialize";

/// The exports that can be called, of all that there are, each with how it could be called by its type.
/// One more than there may be is enough to be refused.
///
/// A WASI command offers nothing but itself: its other exports, such as the allocator that linkers add, find
/// memory that only `_start` initialises, and `_start` ends the program.
pub(crate) fn callable<'a>(
    exports: impl Iterator<Item = (&'a str, Option<Convention>)>,
    signatures: Vec<Signature>,
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
            // The contract's own exports and those of the toolchains are not the author's.
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
    // Beside the author's function `log` there may be the export of a C library's.
    let prefixed = callable.iter().filter(|export| export.is_prefixed);
    let prefixed: HashSet<_> = prefixed.map(|export| export.name.clone()).collect();
    if !prefixed.is_empty() {
        callable.retain(|export| export.is_prefixed || !prefixed.contains(&export.name));
    }
    for export in &mut callable {
        export.signature = signatures.remove(&export.name);
        let error = export.signature.as_ref().and_then(|signature| signature.error.clone());
        export.payload_type = error.map(PayloadType::new);
    }
    if is_program && (!is_reactor || callable.is_empty()) {
        let (name, convention) = (COMMAND.to_owned(), Convention::Command);
        return vec![Export::new(name, false, convention)];
    }
    callable
}

/// How a function of these types can be called, if it can; `None` is a type that cannot be passed.
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

fn is_type(ty: &FuncType, parameters: &[Scalar], results: &[Scalar]) -> bool {
    let equal = |found: &mut dyn Iterator<Item = ValType>, wanted: &[Scalar]| {
        found.map(|ty| Scalar::of(&ty)).eq(wanted.iter().map(|scalar| Some(*scalar)))
    };
    equal(&mut ty.params(), parameters) && equal(&mut ty.results(), results)
}

/// The types that a module declares for what it imports: by import module and name.
pub(crate) struct DeclaredImports(HashMap<(String, String), Vec<Signature>>);

impl DeclaredImports {
    pub(crate) fn new(imports: Vec<Import>) -> Self {
        let mut by_name = HashMap::<_, Vec<_>>::new();
        for Import { module, signature, .. } in imports {
            by_name.entry((module, signature.name.clone())).or_default().push(signature);
        }
        Self(by_name)
    }

    /// What is declared for an import.
    pub(crate) fn take(&mut self, module: &str, name: &str) -> Vec<Signature> {
        self.0.remove(&(module.to_owned(), name.to_owned())).unwrap_or_default()
    }
}

/// The names of constants, and the types that are declared for them.
pub(crate) fn read_constants(
    constants: Vec<Constant>,
) -> (Vec<String>, BTreeMap<String, Vec<OwnedNamedType>>) {
    let mut names = BTreeSet::new();
    let mut types = BTreeMap::<String, Vec<_>>::new();
    for Constant { name, ty, .. } in constants {
        if let Some(ty) = ty {
            types.entry(name.clone()).or_default().push(ty);
        }
        names.insert(name);
    }
    (names.into_iter().collect(), types)
}

fn read_imports(
    what: &str,
    wasm: &wasmtime::Module,
    constants: Vec<Constant>,
    imports: Vec<Import>,
) -> Result<Requirements, Error> {
    let (constants, constant_types) = read_constants(constants);
    let mut declared = DeclaredImports::new(imports);
    let mut requirements = Requirements { constants, constant_types, ..Requirements::default() };
    for import in wasm.imports() {
        let (module, name) = (import.module(), import.name());
        let unknown = |reason: String| Error::UnknownImport {
            what: what.to_owned(),
            module: module.to_owned(),
            name: name.to_owned(),
            reason,
        };
        match origin(module, name).map_err(&unknown)? {
            Origin::Host(offered) => {
                let fits = matches!(import.ty(), ExternType::Func(ty) if is_type(&ty, offered.parameters, offered.results));
                if !fits {
                    return Err(unknown(format!(
                        "the host's is ({}) -> ({}), and this is {}",
                        scalars(offered.parameters),
                        scalars(offered.results),
                        describe(&import.ty())
                    )));
                }
                if let Some(capability) = offered.capability {
                    let import = (capability, names::HOST_MODULE, name.to_owned());
                    requirements.capabilities.push(import);
                }
            }
            Origin::Typed(alias) => {
                check_carried(&import.ty()).map_err(&unknown)?;
                let imports = requirements.dependencies.entry(alias.to_owned()).or_default();
                let types = imports.typed.entry(name.to_owned()).or_default();
                types.extend(declared.take(module, name));
            }
            Origin::HostFunction => {
                check_carried(&import.ty()).map_err(&unknown)?;
                requirements.host_functions.insert(name.to_owned());
                let types = declared.take(module, name);
                if !types.is_empty() {
                    requirements.host_function_types.insert(name.to_owned(), types);
                }
            }
            Origin::Wasi(need) => {
                if let Need::Capability(capability) = need {
                    requirements.capabilities.push((capability, WASI_MODULE, name.to_owned()));
                }
                requirements.wasi.insert(name.to_owned());
            }
            Origin::Linked(alias) => {
                let imports = requirements.dependencies.entry(alias.to_owned()).or_default();
                imports.linked.push((name.to_owned(), import.ty()));
            }
        }
    }
    Ok(requirements)
}

/// Where an import comes from, by its names; what it must be there is checked besides.
pub(crate) enum Origin<'a> {
    Host(&'static HostImport),
    /// A dependency by its alias, through the host and with bytes.
    Typed(&'a str),
    HostFunction,
    Wasi(Need),
    /// A dependency by its alias, linked directly.
    Linked(&'a str),
}

/// Where an import comes from, or why from nowhere.
pub(crate) fn origin<'a>(module: &'a str, name: &str) -> Result<Origin<'a>, String> {
    if module == names::HOST_MODULE {
        let offered = host_import(name).ok_or_else(|| {
            format!("\"{module}\" has {}", HOST_IMPORTS.map(|import| import.name).join(", "))
        })?;
        Ok(Origin::Host(offered))
    } else if let Some(alias) = module.strip_prefix(names::TYPED_DEPENDENCY_PREFIX) {
        check_alias(alias)?;
        Ok(Origin::Typed(alias))
    } else if module == names::HOST_FUNCTIONS_MODULE {
        check_alias(name).map_err(|_| format!("a host function's name is {}", names::NAME_RULE))?;
        Ok(Origin::HostFunction)
    } else if module == WASI_MODULE {
        let need = need(name)
            .ok_or_else(|| "there are no sockets, and nothing beside WASI preview 1".to_owned())?;
        Ok(Origin::Wasi(need))
    } else if module.starts_with("wasi_") {
        Err(format!("of WASI there is preview 1, \"{WASI_MODULE}\"; build for wasm32-wasip1"))
    } else {
        check_alias(module)?;
        Ok(Origin::Linked(module))
    }
}

/// The type of functions to which the host carries bytes: typed dependencies and host functions.
fn check_carried(ty: &ExternType) -> Result<(), String> {
    match ty {
        ExternType::Func(ty) if is_type(ty, &[Scalar::I32; 4], &[Scalar::I64]) => Ok(()),
        other => Err(format!(
            "a function that is called with bytes is (i32, i32, i32, i32) -> i64, and this is {}",
            describe(other)
        )),
    }
}

fn check_alias(alias: &str) -> Result<(), String> {
    if names::is_valid(alias) {
        Ok(())
    } else {
        Err(format!("{alias:?} cannot be a dependency's alias, which is {}", names::NAME_RULE))
    }
}

/// A function the host offers to guests.
pub(crate) struct HostImport {
    name: &'static str,
    parameters: &'static [Scalar],
    results: &'static [Scalar],
    pub(crate) capability: Option<Capability>,
}

const fn offer(
    name: &'static str,
    parameters: &'static [Scalar],
    results: &'static [Scalar],
    capability: Option<Capability>,
) -> HostImport {
    HostImport { name, parameters, results, capability }
}

/// All that the import module `wpc` has. `imports` implements them.
const HOST_IMPORTS: [HostImport; 6] = [
    offer(names::CONSTANT_IMPORT, &[Scalar::I32; 4], &[Scalar::I64], None),
    offer(names::TAKE_IMPORT, &[Scalar::I32; 2], &[Scalar::I64], None),
    offer(names::LOG_IMPORT, &[Scalar::I32; 3], &[], None),
    offer(names::PANIC_IMPORT, &[Scalar::I32; 2], &[], None),
    offer(names::RANDOM_IMPORT, &[Scalar::I32; 2], &[], Some(Capability::Random)),
    offer(names::CLOCK_IMPORT, &[Scalar::I32], &[Scalar::I64], Some(Capability::Clock)),
];

fn host_import(name: &str) -> Option<&'static HostImport> {
    HOST_IMPORTS.iter().find(|import| import.name == name)
}

/// What a memory grows by.
const PAGE: u64 = 64 * 1024;

fn initial_memory(wasm: &wasmtime::Module) -> u64 {
    let resources = wasm.resources_required();
    resources.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE)
}

fn scalars(types: &[Scalar]) -> String {
    types.iter().map(|scalar| scalar.name()).collect::<Vec<_>>().join(", ")
}

/// A type in words.
pub(crate) fn describe(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) => {
            let list = |types: &mut dyn Iterator<Item = ValType>| {
                types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ")
            };
            format!("a function ({}) -> ({})", list(&mut ty.params()), list(&mut ty.results()))
        }
        ExternType::Memory(_) => "a memory".to_owned(),
        ExternType::Global(ty) => format!("a global of {}", ty.content()),
        ExternType::Table(_) => "a table".to_owned(),
        ExternType::Tag(_) => "a tag".to_owned(),
    }
}
