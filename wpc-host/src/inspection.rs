//! What a module tells about itself, without a pool and without running any of it.

use crate::capability::Capability;
use crate::compiler::Compiler;
use crate::config::Options;
use crate::engine::Engines;
use crate::error::Error;
use crate::id::{FunctionHash, Sha256Hash};
use crate::module::Module;
use crate::signature;
use crate::wasm_module::WasmModule;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use wpc_abi::section::Signature;
use wpc_abi::text;

/// What a module tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModuleInformation {
    /// Its name for callers and logs; `sha1sum` prints the same.
    pub hash_sha1: FunctionHash,
    /// What a definition can be sealed with.
    pub hash_sha256: Sha256Hash,
    /// In bytes.
    pub size: usize,
    /// The version of the contract it keeps; `None` where it keeps none, and offers numbers only.
    pub abi_version: Option<u32>,
    /// What it offers: the functions whose types it tells, or where it tells none, every export that can
    /// be called.
    pub functions: Vec<ExportInformation>,
    /// The constants it cannot do without.
    pub required_constants: Vec<String>,
    /// The aliases it imports from, each with what.
    pub required_dependencies: Vec<RequiredDependency>,
    /// The host functions it imports.
    pub required_host_functions: Vec<String>,
    /// The capabilities it must be granted.
    pub required_capabilities: Vec<Capability>,
    /// What it imports of WASI preview 1.
    pub required_wasi_imports: Vec<String>,
    /// The structures and enums that the signatures name, by name.
    pub types: Vec<TypeInformation>,
    /// How many bytes of memory it starts with.
    pub initial_memory: u64,
    /// How many bytes of memory it says it will never go past; `None` where it does not say.
    pub maximum_memory: Option<u64>,
    /// How many elements it says that no table of its will go past; `None` where it does not say.
    pub maximum_table_elements: Option<u64>,
}

/// A structure or an enum of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeInformation {
    /// Its name.
    pub name: String,
    /// What it is made of, such as `Point { x: f64, y: f64 }` or `Colour = Red | Other(String)`.
    pub definition: String,
}

/// An export that can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportInformation {
    /// Its name.
    pub name: String,
    /// Its types, such as `(path: String) -> String`; `None` where the module does not tell them.
    pub signature: Option<String>,
}

/// What a module imports from one alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequiredDependency {
    /// The alias.
    pub alias: String,
    /// The imports' names.
    pub imports: Vec<String>,
}

impl WasmModule {
    /// Compiles the module and reads what it tells. Grants and dependencies need not be there.
    ///
    /// # Errors
    ///
    /// What is wrong with the module itself, as a definition would tell it.
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
    /// What is wrong with the options, or with the module itself, as a definition would tell it.
    pub fn inspect_with(&self, options: &Options) -> Result<ModuleInformation, Error> {
        options.validate()?;
        let engines = Arc::new(Engines::new(options)?);
        let profile = engines.profile(&self.limits, self.has_canonical_nans);
        let module = Compiler::new(engines).compile_ungranted("it", self, profile)?;
        Ok(information(&module, &self.bytes))
    }
}

fn information(module: &Module, bytes: &[u8]) -> ModuleInformation {
    let requirements = &module.requirements;
    let functions = module.offers().into_iter().map(|(_, export)| ExportInformation {
        name: export.name.clone(),
        signature: signature::known(export).map(|signature| text::signature_text(&signature)),
    });
    let dependencies = requirements.dependencies.iter().map(|(alias, imports)| {
        let linked = imports.linked.iter().map(|(name, _)| name.clone());
        RequiredDependency {
            alias: alias.clone(),
            imports: imports.typed.iter().cloned().chain(linked).collect(),
        }
    });
    let mut types = BTreeMap::new();
    for signature in module.exports.iter().filter_map(signature::known) {
        collect_types(&signature, &mut types);
    }
    ModuleInformation {
        hash_sha1: module.hash,
        hash_sha256: Sha256Hash::of(bytes),
        size: bytes.len(),
        abi_version: module.has_buffer.then_some(wpc_abi::VERSION),
        functions: functions.collect(),
        required_constants: requirements.constants.clone(),
        required_dependencies: dependencies.collect(),
        required_host_functions: requirements.host_functions.iter().cloned().collect(),
        required_capabilities: module.capabilities(),
        required_wasi_imports: requirements.wasi.iter().cloned().collect(),
        types: types
            .into_iter()
            .map(|(definition, name)| TypeInformation { name, definition })
            .collect(),
        initial_memory: module.initial_memory,
        maximum_memory: module.declared.maximum_memory,
        maximum_table_elements: module.declared.maximum_table,
    }
}

/// The structures and enums of a signature, by their definitions: two modules of one guest may each have
/// a `Point`.
fn collect_types(signature: &Signature, types: &mut BTreeMap<String, String>) {
    let arguments = signature.arguments.iter().filter_map(|argument| argument.ty.as_ref());
    // How deep types nest is bounded where they are read.
    let mut open: Vec<&OwnedNamedType> = arguments.chain(&signature.result).collect();
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
