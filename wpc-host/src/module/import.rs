//! What a module imports: the source of each import, and the module's requirements.

use super::section::read_constants;
use super::wasm_type::{Scalar, describe, is_type, scalars};
use crate::capability::Capability;
use crate::definition::wasi::grant::Wasi;
use crate::definition::wasi::{self, Need, WASI_MODULE, need};
use crate::error::Error;
use postcard_schema::schema::owned::OwnedNamedType;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use wasmparser::{Parser, Payload};
use wasmtime::ExternType;
use wpc_abi::names;
use wpc_abi::section::{Constant, Import, Signature};

/// What a module imports from dependencies, by alias.
#[derive(Debug, Default)]
pub(crate) struct DependencyImports {
    /// Functions called through the host with encoded arguments, each with the types that the module declares for it.
    pub(crate) typed: BTreeMap<String, Vec<Signature>>,
    /// Items linked directly, by name.
    pub(crate) linked: Vec<(String, ExternType)>,
}

/// What a module declares that it requires from its host.
#[derive(Debug, Default)]
pub(crate) struct Requirements {
    pub(crate) constants: Vec<String>,
    /// The types that it reads constants as. The parts of a module may declare different types.
    pub(crate) constant_types: BTreeMap<String, Vec<OwnedNamedType>>,
    pub(crate) dependencies: BTreeMap<String, DependencyImports>,
    pub(crate) host_functions: BTreeSet<String>,
    /// The types that it declares for host functions.
    pub(crate) host_function_types: BTreeMap<String, Vec<Signature>>,
    /// The functions of the pool that it calls, each with the types that the module declares for it.
    pub(crate) functions: BTreeMap<String, Vec<Signature>>,
    /// Whether it calls functions of the pool by names that it computes.
    pub(crate) calls_by_name: bool,
    /// Each with the module and the name of the import that requires it.
    pub(crate) capabilities: Vec<(Capability, &'static str, String)>,
    /// The imported functions of WASI.
    pub(crate) wasi: BTreeSet<String>,
    /// Whether it imports the function by which guests yield items.
    pub(crate) yields_items: bool,
}

impl Requirements {
    /// Whether the module calls functions of the pool. It is suspended while it waits for them.
    pub(crate) fn calls_functions(&self) -> bool {
        self.calls_by_name || !self.functions.is_empty()
    }
}

/// The types that a module declares for its imports, by import module and name.
pub(crate) struct DeclaredImports(HashMap<(String, String), Vec<Signature>>);

impl DeclaredImports {
    pub(crate) fn new(imports: Vec<Import>) -> Self {
        let mut signatures = HashMap::<_, Vec<_>>::new();
        for Import { module, signature, .. } in imports {
            signatures.entry((module, signature.name.clone())).or_default().push(signature);
        }
        Self(signatures)
    }

    /// Removes and returns the types that are declared for an import.
    pub(crate) fn take(&mut self, module: &str, name: &str) -> Vec<Signature> {
        self.0.remove(&(module.to_owned(), name.to_owned())).unwrap_or_default()
    }
}

pub(super) fn read_imports(
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
                        "the host's function is ({}) -> ({}), but the module imports {}",
                        scalars(offered.parameters),
                        scalars(offered.results),
                        describe(&import.ty())
                    )));
                }
                requirements.yields_items |= name == names::YIELD_IMPORT;
                if let Some(capability) = offered.capability {
                    let import = (capability, names::HOST_MODULE, name.to_owned());
                    requirements.capabilities.push(import);
                }
                requirements.calls_by_name |= offered.is_call();
            }
            Origin::Typed(alias) => {
                check_encoded_call(&import.ty()).map_err(&unknown)?;
                let imports = requirements.dependencies.entry(alias.to_owned()).or_default();
                let types = imports.typed.entry(name.to_owned()).or_default();
                types.extend(declared.take(module, name));
            }
            Origin::HostFunction => {
                check_encoded_call(&import.ty()).map_err(&unknown)?;
                requirements.host_functions.insert(name.to_owned());
                let types = declared.take(module, name);
                if !types.is_empty() {
                    requirements.host_function_types.insert(name.to_owned(), types);
                }
            }
            Origin::CalledFunction => {
                check_encoded_call(&import.ty()).map_err(&unknown)?;
                let types = requirements.functions.entry(name.to_owned()).or_default();
                types.extend(declared.take(module, name));
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

/// Whether a guest of this module with this WASI grant may wait in an import of WASI. The result is false for malformed
/// modules.
pub(crate) fn may_wait(bytes: &[u8], granted: Option<&Wasi>) -> bool {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let mut before_code =
        payloads.take_while(|payload| !matches!(payload, Payload::CodeSectionStart { .. }));
    before_code.any(|payload| match payload {
        Payload::ImportSection(imports) => imports
            .into_imports()
            .flatten()
            .any(|import| import.module == WASI_MODULE && wasi::may_wait(import.name, granted)),
        _ => false,
    })
}

/// The source of an import, by its names. Its type is checked separately.
pub(crate) enum Origin<'a> {
    Host(&'static HostImport),
    /// A dependency, by its alias, called through the host with encoded arguments.
    Typed(&'a str),
    HostFunction,
    /// A function of the pool.
    CalledFunction,
    Wasi(Need),
    /// A dependency, by its alias, linked directly.
    Linked(&'a str),
}

/// The source of an import, or the reason why it cannot be linked.
pub(crate) fn origin<'a>(module: &'a str, name: &str) -> Result<Origin<'a>, String> {
    if module == names::HOST_MODULE {
        let offered = host_import(name).ok_or_else(|| {
            format!("\"{module}\" provides {}", HOST_IMPORTS.map(|import| import.name).join(", "))
        })?;
        Ok(Origin::Host(offered))
    } else if let Some(alias) = module.strip_prefix(names::TYPED_DEPENDENCY_PREFIX) {
        check_alias(alias)?;
        Ok(Origin::Typed(alias))
    } else if module == names::HOST_FUNCTIONS_MODULE {
        check_alias(name)
            .map_err(|_| format!("a host function's name must {}", names::NAME_RULE))?;
        Ok(Origin::HostFunction)
    } else if module == names::CALLED_FUNCTIONS_MODULE {
        if !names::is_export_name(name) {
            return Err(format!("a function's name must {}", names::EXPORT_NAME_RULE));
        }
        Ok(Origin::CalledFunction)
    } else if module == WASI_MODULE {
        let need = need(name)
            .ok_or_else(|| "only WASI preview 1 without sockets is supported".to_owned())?;
        Ok(Origin::Wasi(need))
    } else if module.starts_with("wasi_") {
        Err(format!(
            "only WASI preview 1, \"{WASI_MODULE}\", is supported; build for wasm32-wasip1"
        ))
    } else {
        check_alias(module)?;
        Ok(Origin::Linked(module))
    }
}

/// Checks the type of a function that is called with encoded arguments: of a typed dependency, the embedder or the pool.
fn check_encoded_call(ty: &ExternType) -> Result<(), String> {
    match ty {
        ExternType::Func(ty) if is_type(ty, &[Scalar::I32; 4], &[Scalar::I64]) => Ok(()),
        other => Err(format!(
            "a function that is called with encoded arguments must be (i32, i32, i32, i32) -> i64, but this is {}",
            describe(other)
        )),
    }
}

fn check_alias(alias: &str) -> Result<(), String> {
    if names::is_valid(alias) {
        Ok(())
    } else {
        Err(format!("{alias:?} cannot be a dependency's alias, which must {}", names::NAME_RULE))
    }
}

/// A function that the host offers to guests.
pub(crate) struct HostImport {
    name: &'static str,
    parameters: &'static [Scalar],
    results: &'static [Scalar],
    pub(crate) capability: Option<Capability>,
}

impl HostImport {
    /// Whether it calls functions of the pool.
    pub(crate) fn is_call(&self) -> bool {
        self.name == names::CALL_IMPORT
    }
}

const fn offer(
    name: &'static str,
    parameters: &'static [Scalar],
    results: &'static [Scalar],
    capability: Option<Capability>,
) -> HostImport {
    HostImport { name, parameters, results, capability }
}

/// All functions of the import module `wpc`. `sandbox::imports` implements them.
const HOST_IMPORTS: [HostImport; 8] = [
    offer(names::CONSTANT_IMPORT, &[Scalar::I32; 4], &[Scalar::I64], None),
    offer(names::TAKE_IMPORT, &[Scalar::I32; 2], &[Scalar::I64], None),
    offer(names::LOG_IMPORT, &[Scalar::I32; 3], &[], None),
    offer(names::PANIC_IMPORT, &[Scalar::I32; 2], &[], None),
    offer(names::RANDOM_IMPORT, &[Scalar::I32; 2], &[], Some(Capability::Random)),
    offer(names::YIELD_IMPORT, &[Scalar::I32; 2], &[], None),
    offer(names::CLOCK_IMPORT, &[Scalar::I32], &[Scalar::I64], Some(Capability::Clock)),
    offer(names::CALL_IMPORT, &[Scalar::I32; 6], &[Scalar::I64], None),
];

fn host_import(name: &str) -> Option<&'static HostImport> {
    HOST_IMPORTS.iter().find(|import| import.name == name)
}
