//! The types under `[build]` of a manifest: those that a module's language cannot record in the module by itself.

use crate::manifest::{Build, Source};
use crate::problem::{MANIFEST, Problem};
use std::collections::BTreeMap;
use toml::Spanned;
use wpc_abi::names::{HOST_FUNCTIONS_MODULE, TYPED_DEPENDENCY_PREFIX};
use wpc_abi::section::{Constant, Import};
use wpc_abi::text::{NotAType, parse_signature, parse_type};
use wpc_host::ModuleInformation;

/// Types by name, as they are written.
type Texts = BTreeMap<String, Spanned<String>>;

/// Makes the record of a name and its text.
type Record<'a> = &'a dyn Fn(&str, &str) -> Result<Vec<u8>, NotAType>;

/// The records of the module's section.
///
/// # Errors
///
/// Everything that is not a type or a signature.
pub(crate) fn records(source: &Source, build: &Build) -> Result<Vec<u8>, Vec<Problem>> {
    let mut records = Vec::new();
    let mut problems = Vec::new();
    let mut add = |what: &str, texts: &Texts, record: Record<'_>| {
        for (name, text) in texts {
            match record(name, text.get_ref()) {
                Ok(record) => records.extend(record),
                Err(error) => {
                    let message = format!("{what} \"{name}\": {error}");
                    problems.push(source.problem(text.span().start, MANIFEST, &message));
                }
            }
        }
    };
    let import = |module: &str, name: &str, text: &str| {
        Ok(Import::new(module, parse_signature(name, text)?).record())
    };
    add("the signature of", &build.signatures, &|name, text| {
        Ok(parse_signature(name, text)?.record())
    });
    add("the type of constant", &build.constants, &|name, text| {
        Ok(Constant::new(name, Some(parse_type(text)?)).record())
    });
    for (alias, functions) in &build.dependencies {
        let module = format!("{TYPED_DEPENDENCY_PREFIX}{alias}");
        let what = format!("the signature of dependency \"{alias}\",");
        add(&what, functions, &|name, text| import(&module, name, text));
    }
    add("the signature of host function", &build.host_functions, &|name, text| {
        import(HOST_FUNCTIONS_MODULE, name, text)
    });
    if problems.is_empty() { Ok(records) } else { Err(problems) }
}

/// What is declared for something that the module does not have, or that records its types by itself: functions of
/// numbers do.
pub(crate) fn wrong(told: &ModuleInformation, source: &Source, build: &Build) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut check = |texts: &Texts, found: &dyn Fn(&str) -> Found| {
        for (name, text) in texts {
            let message = match found(name) {
                Found::Untyped => continue,
                Found::Typed(own) => {
                    format!("\"{name}\" tells its types itself: {own}; take its line out")
                }
                Found::Missing(what, there) if there.is_empty() => {
                    format!("the module has no {what} \"{name}\"; it has none")
                }
                Found::Missing(what, there) => {
                    format!("the module has no {what} \"{name}\"; it has: {}", there.join(", "))
                }
            };
            problems.push(source.problem(text.span().start, MANIFEST, &message));
        }
    };
    check(&build.signatures, &|name| match told
        .functions
        .iter()
        .find(|function| function.name == name)
    {
        Some(function) => Found::typed(function.signature.as_ref()),
        None => {
            let functions = told.functions.iter();
            let there = functions.map(|function| function.name.clone()).collect();
            Found::Missing("function".to_owned(), there)
        }
    });
    check(&build.constants, &|name| Found::typed(told.constant_types.get(name)));
    for (alias, functions) in &build.dependencies {
        let needed = told.required_dependencies.iter().find(|needed| needed.alias == *alias);
        let (imports, signatures) = match needed {
            Some(needed) => (needed.imports.as_slice(), Some(&needed.signatures)),
            None => (&[][..], None),
        };
        let what = format!("import from \"{alias}\",");
        check(functions, &|name| {
            Found::import(&what, name, imports, signatures.and_then(|known| known.get(name)))
        });
    }
    check(&build.host_functions, &|name| {
        let imports = told.required_host_functions.as_slice();
        let known = told.host_function_signatures.get(name);
        Found::import("import from the host,", name, imports, known)
    });
    problems
}

/// What the module has of a name.
enum Found {
    Untyped,
    Typed(String),
    /// What it is not, and what there is.
    Missing(String, Vec<String>),
}

impl Found {
    fn typed(own: Option<&String>) -> Self {
        own.map_or(Self::Untyped, |own| Self::Typed(own.clone()))
    }

    fn import(what: &str, name: &str, imports: &[String], own: Option<&String>) -> Self {
        if imports.iter().any(|import| import == name) {
            Self::typed(own)
        } else {
            Self::Missing(what.to_owned(), imports.to_vec())
        }
    }
}
