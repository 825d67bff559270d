//! The types and the documentation under `[build]` of a manifest, for languages whose compilers do not record them in the
//! module.

use crate::text::joined;
use std::collections::BTreeMap;
use wpc_abi::documentation::{MAX_TEXT, function_record};
use wpc_abi::names::{CALLED_FUNCTIONS_MODULE, HOST_FUNCTIONS_MODULE, TYPED_DEPENDENCY_PREFIX};
use wpc_abi::section::{Constant, Import};
use wpc_abi::text::{NotAType, parse_signature, parse_type};
use wpc_deploy::{Build, MANIFEST, Problem, Source, Spanned};
use wpc_host::ModuleInformation;

/// The text of each type by name.
type Texts = BTreeMap<String, Spanned<String>>;

/// Encodes the record for a name and the text of its type.
type Record<'a> = &'a dyn Fn(&str, &str) -> Result<Vec<u8>, NotAType>;

/// The records of the module's section.
///
/// # Errors
///
/// Reports every text that is not a valid type or signature.
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
    add("the signature of the called function", &build.functions, &|name, text| {
        import(CALLED_FUNCTIONS_MODULE, name, text)
    });
    if problems.is_empty() { Ok(records) } else { Err(problems) }
}

/// The records of the module's section for documentation.
///
/// # Errors
///
/// Reports every function that the module does not have or documents itself, and every text that is too long.
pub(crate) fn documentation(
    module: &ModuleInformation,
    source: &Source,
    build: &Build,
) -> Result<Vec<u8>, Vec<Problem>> {
    let mut records = Vec::new();
    let mut problems = Vec::new();
    for (name, text) in &build.documentation {
        let message = match module.functions.iter().find(|function| function.name == *name) {
            None => format!("the module does not have a function \"{name}\""),
            Some(function) if function.documentation.is_some() => {
                format!("the module already has documentation of \"{name}\"; remove this line")
            }
            Some(_) if text.get_ref().len() > MAX_TEXT => format!(
                "the documentation of \"{name}\" has {} bytes; the maximum is {MAX_TEXT}",
                text.get_ref().len()
            ),
            Some(_) => {
                records.extend(function_record(name, text.get_ref()));
                continue;
            }
        };
        problems.push(source.problem(text.span().start, MANIFEST, &message));
    }
    if problems.is_empty() { Ok(records) } else { Err(problems) }
}

/// Checks the declarations against the module. A declaration is a problem if the module does not
/// have the item, or already declares its types, as plain exports do.
pub(crate) fn check(module: &ModuleInformation, source: &Source, build: &Build) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut compare = |texts: &Texts, found: &dyn Fn(&str) -> Found| {
        for (name, text) in texts {
            let message = match found(name) {
                Found::Untyped => continue,
                Found::Typed(own) => {
                    format!(
                        "the module already declares the types of \"{name}\": {own}; remove this line"
                    )
                }
                Found::Missing(what, there) if there.is_empty() => {
                    format!("the module does not have {what} \"{name}\"; it does not have any")
                }
                Found::Missing(what, there) => {
                    format!(
                        "the module does not have {what} \"{name}\"; it has {}",
                        there.join(", ")
                    )
                }
            };
            problems.push(source.problem(text.span().start, MANIFEST, &message));
        }
    };
    compare(&build.signatures, &|name| match module
        .functions
        .iter()
        .find(|function| function.name == name)
    {
        Some(function) => Found::typed(function.signature.as_slice()),
        None => {
            let functions = module.functions.iter();
            let there = functions.map(|function| function.name.clone()).collect();
            Found::Missing("a function".to_owned(), there)
        }
    });
    compare(&build.constants, &|name| {
        Found::typed(module.constant_types.get(name).map(Vec::as_slice).unwrap_or_default())
    });
    for (alias, functions) in &build.dependencies {
        let needed = module.required_dependencies.iter().find(|needed| needed.alias == *alias);
        let (imports, signatures) = match needed {
            Some(needed) => (needed.imports.as_slice(), Some(&needed.signatures)),
            None => (&[][..], None),
        };
        let what = format!("an import from \"{alias}\" named");
        compare(functions, &|name| {
            Found::import(&what, name, imports, signatures.and_then(|known| known.get(name)))
        });
    }
    compare(&build.host_functions, &|name| {
        let imports = module.required_host_functions.as_slice();
        let known = module.host_function_signatures.get(name);
        Found::import("an import from the host named", name, imports, known)
    });
    compare(&build.functions, &|name| {
        let imports = module.required_functions.as_slice();
        let known = module.required_function_signatures.get(name);
        Found::import("an import from other functions named", name, imports, known)
    });
    problems
}

/// What the module declares for a name.
enum Found {
    Untyped,
    Typed(String),
    /// The kind of item that is missing, and the names that exist.
    Missing(String, Vec<String>),
}

impl Found {
    fn typed<T: ToString>(own: &[T]) -> Self {
        if own.is_empty() { Self::Untyped } else { Self::Typed(joined(own)) }
    }

    fn import<T: ToString>(
        what: &str,
        name: &str,
        imports: &[String],
        own: Option<&Vec<T>>,
    ) -> Self {
        if imports.iter().any(|import| import == name) {
            Self::typed(own.map(Vec::as_slice).unwrap_or_default())
        } else {
            Self::Missing(what.to_owned(), imports.to_vec())
        }
    }
}
