//! What a module declares.

use crate::capability::Capability;
use crate::error::Remedy;
use crate::id::{FunctionHash, Sha256Hash};
use crate::information::{DeclaredType, FunctionSignature, SuspensionCause};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Information about a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleInformation {
    /// Its identifier for callers and logs; `sha1sum` prints the same.
    pub hash_sha1: FunctionHash,
    /// The hash that a definition can require.
    pub hash_sha256: Sha256Hash,
    /// In bytes.
    pub size: usize,
    /// The version of the guest contract that it implements; `None` for a module that only exports functions of numbers.
    pub abi_version: Option<u32>,
    /// Why a definition of this module would be refused under the module's limits, whatever is granted; `None` if it would not
    /// be refused. The other fields of a refused module are not verified.
    pub refused: Option<String>,
    /// What to do about that, if there is a known remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// The functions whose types it declares; if it declares none, every export that can be called.
    pub functions: Vec<ExportInformation>,
    /// The other exports, each as `name: kind`: memories, tables, globals, and functions that cannot be called or belong to
    /// a toolchain. Only the first thousand are listed; if there are more, the last item states how many.
    pub other_exports: Vec<String>,
    /// All imports, each as `module.name: kind`. The fields below list them by subject. Only the first thousand are listed;
    /// if there are more, the last item states how many.
    pub imports: Vec<String>,
    /// The constants that it requires.
    pub required_constants: Vec<String>,
    /// The types that it declares for constants, by name. Parts of a module may declare different ones.
    pub constant_types: BTreeMap<String, Vec<DeclaredType>>,
    /// The dependencies that it imports from, each with its imports.
    pub required_dependencies: Vec<RequiredDependency>,
    /// The host functions that it imports.
    pub required_host_functions: Vec<String>,
    /// The signatures that it declares for host functions, by name. Parts of a module may declare different ones.
    pub host_function_signatures: BTreeMap<String, Vec<FunctionSignature>>,
    /// The functions of the pool that it calls, and that it must be granted.
    #[serde(default)]
    pub required_functions: Vec<String>,
    /// The signatures that it declares for functions of the pool, by name. Parts of a module may declare different ones.
    #[serde(default)]
    pub required_function_signatures: BTreeMap<String, Vec<FunctionSignature>>,
    /// Whether it calls functions of the pool by names that it computes. It must be granted at least one.
    #[serde(default)]
    pub calls_functions_by_name: bool,
    /// The capabilities that it must be granted.
    pub required_capabilities: Vec<Capability>,
    /// The functions of WASI preview 1 that it imports.
    pub required_wasi_imports: Vec<String>,
    /// The grants that those require besides capabilities: the names of methods of [`Wasi`](crate::Wasi), such as
    /// `arguments` or `read_directory`.
    pub required_wasi_grants: Vec<String>,
    /// What could let calls to its functions be suspended: each host function that it imports, if that is async or blocking,
    /// imports of WASI that wait, and the time slice of its limits. Dependencies may add others.
    #[serde(default)]
    pub suspension_causes: Vec<SuspensionCause>,
    /// The structures and enums in the signatures, sorted by name.
    pub types: Vec<TypeInformation>,
    /// The initial size of its memory, in bytes.
    pub initial_memory: u64,
    /// The declared maximum of its memory, in bytes; `None` if it declares none.
    pub maximum_memory: Option<u64>,
    /// The declared maximum of its largest table, in elements; `None` if it declares none.
    pub maximum_table_elements: Option<u64>,
}

impl ModuleInformation {
    /// A module of these bytes that declares nothing and is not refused. The bytes are hashed, not read. The other fields
    /// can be set.
    #[must_use]
    pub fn new(wasm: &[u8]) -> Self {
        Self {
            hash_sha1: FunctionHash::of(wasm),
            hash_sha256: Sha256Hash::of(wasm),
            size: wasm.len(),
            abi_version: None,
            refused: None,
            remedy: None,
            functions: Vec::new(),
            other_exports: Vec::new(),
            imports: Vec::new(),
            required_constants: Vec::new(),
            constant_types: BTreeMap::new(),
            required_dependencies: Vec::new(),
            required_host_functions: Vec::new(),
            host_function_signatures: BTreeMap::new(),
            required_functions: Vec::new(),
            required_function_signatures: BTreeMap::new(),
            calls_functions_by_name: false,
            required_capabilities: Vec::new(),
            required_wasi_imports: Vec::new(),
            required_wasi_grants: Vec::new(),
            suspension_causes: Vec::new(),
            types: Vec::new(),
            initial_memory: 0,
            maximum_memory: None,
            maximum_table_elements: None,
        }
    }
}

/// A structure or an enum of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TypeInformation {
    /// Its name.
    pub name: String,
    /// Its definition, such as `Point { x: f64, y: f64 }` or `Colour = Red | Other(String)`.
    pub definition: String,
    /// Its documentation, as its author wrote it; `None` if the module has none, or has another type of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// The documentation of its fields and variants by name; a field of a variant is `Variant.field`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub item_documentation: BTreeMap<String, String>,
}

impl TypeInformation {
    /// A type with this name and definition, without documentation. The other fields can be set.
    #[must_use]
    pub fn new(name: impl Into<String>, definition: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            definition: definition.into(),
            documentation: None,
            item_documentation: BTreeMap::new(),
        }
    }
}

/// An export that can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportInformation {
    /// Its name.
    pub name: String,
    /// The types of its parameters, result and errors; `None` if the module does not declare them.
    pub signature: Option<FunctionSignature>,
    /// How to call an export whose name is not allowed for a definition; `None` if the name is allowed.
    /// [`define_worker_module`](crate::WorkerProcedureCall::define_worker_module) defines such exports under their own names,
    /// and [`WasmModule::export`](crate::WasmModule::export) selects one for a definition under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how_to_call: Option<String>,
    /// Its documentation, as its author wrote it; `None` if the module has none. At most 4,096 bytes; may contain Markdown
    /// and any character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

impl ExportInformation {
    /// An export without declared types, whose name is allowed for a definition. The other fields can be set.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), signature: None, how_to_call: None, documentation: None }
    }
}

/// The imports of a module from one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequiredDependency {
    /// The alias.
    pub alias: String,
    /// The names of the imports.
    pub imports: Vec<String>,
    /// The signatures that the module declares for functions among them, by name. Parts of a module may declare different
    /// ones.
    pub signatures: BTreeMap<String, Vec<FunctionSignature>>,
}

impl RequiredDependency {
    /// A dependency from which nothing is imported. The other fields can be set.
    #[must_use]
    pub fn new(alias: impl Into<String>) -> Self {
        Self { alias: alias.into(), imports: Vec::new(), signatures: BTreeMap::new() }
    }
}
