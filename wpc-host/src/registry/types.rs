//! The types of constants and host functions, as the embedder defines them and as modules declare them. They are compared
//! whenever either side is defined, so that a mismatch is refused before a call uses it.

use crate::error::Error;
use crate::module::Module;
use crate::module::signature;
use crate::registry::dependency::Importer;
use postcard_schema::schema::owned::OwnedNamedType;
use rpds::RedBlackTreeMapSync;
use std::collections::BTreeMap;
use std::sync::Arc;
use wpc_abi::compare::{Difference, compare, compare_value};
use wpc_abi::section::Signature;

/// The known type of a constant.
#[derive(Debug, Clone)]
pub(crate) enum ConstantType {
    /// The type that the embedder defined it with.
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only JSON needs a type"))]
    Declared(OwnedNamedType),
    /// The type inferred from its value.
    Shown(OwnedNamedType),
}

impl ConstantType {
    fn check(&self, expected: &OwnedNamedType) -> Result<(), Difference> {
        match self {
            Self::Declared(found) => compare(expected, found),
            Self::Shown(found) => compare_value(expected, found),
        }
    }
}

/// The modules that declare a type, each with its name for errors.
type Declarers = RedBlackTreeMapSync<Importer, (Arc<str>, Arc<Module>)>;

/// The defined types, and the modules that declare types, by name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Types {
    constants: RedBlackTreeMapSync<Arc<str>, ConstantType>,
    host_functions: RedBlackTreeMapSync<Arc<str>, Signature>,
    /// The modules that declare a type for a constant.
    constant_declarers: RedBlackTreeMapSync<Arc<str>, Declarers>,
    /// The modules that declare types for a host function.
    host_function_declarers: RedBlackTreeMapSync<Arc<str>, Declarers>,
}

impl Types {
    /// Adds the declarations of a module.
    pub(crate) fn add(&mut self, importer: &Importer, what: &Arc<str>, module: &Arc<Module>) {
        let requirements = &module.requirements;
        for (names, declarers) in [
            (keys(&requirements.constant_types), &mut self.constant_declarers),
            (keys(&requirements.host_function_types), &mut self.host_function_declarers),
        ] {
            for name in names {
                let declarer = (Arc::clone(what), Arc::clone(module));
                match declarers.get_mut(name) {
                    Some(of_name) => of_name.insert_mut(importer.clone(), declarer),
                    None => {
                        let of_name = Declarers::new_sync().insert(importer.clone(), declarer);
                        declarers.insert_mut(name.into(), of_name);
                    }
                }
            }
        }
    }

    /// Removes the declarations of a module.
    pub(crate) fn remove(&mut self, importer: &Importer, module: &Module) {
        let requirements = &module.requirements;
        for (names, declarers) in [
            (keys(&requirements.constant_types), &mut self.constant_declarers),
            (keys(&requirements.host_function_types), &mut self.host_function_declarers),
        ] {
            for name in names {
                if let Some(of_name) = declarers.get_mut(name) {
                    of_name.remove_mut(importer);
                    if of_name.is_empty() {
                        declarers.remove_mut(name);
                    }
                }
            }
        }
    }

    /// Compares the declarations of a module with the defined types.
    pub(crate) fn check_module(&self, what: &str, module: &Module) -> Result<(), Error> {
        for (name, expected) in &module.requirements.constant_types {
            if let Some(found) = self.constants.get(name.as_str()) {
                check_constant(what, name, expected, found)?;
            }
        }
        for (name, expected) in &module.requirements.host_function_types {
            if let Some(found) = self.host_functions.get(name.as_str()) {
                check_host_function(what, name, expected, found)?;
            }
        }
        Ok(())
    }

    /// Sets the type of a constant; `None` if it is not defined.
    pub(crate) fn set_constant(&mut self, name: &Arc<str>, ty: Option<ConstantType>) {
        match ty {
            Some(ty) => self.constants.insert_mut(Arc::clone(name), ty),
            None => drop(self.constants.remove_mut(name)),
        }
    }

    /// Sets the types of a host function; `None` if it is not defined or has no declared types.
    pub(crate) fn set_host_function(&mut self, name: &Arc<str>, signature: Option<Signature>) {
        match signature {
            Some(signature) => self.host_functions.insert_mut(Arc::clone(name), signature),
            None => drop(self.host_functions.remove_mut(name)),
        }
    }

    /// Compares a constant with the declarations of the modules that read it, except those of `skipped` importers.
    pub(crate) fn check_constant(
        &self,
        name: &str,
        skipped: impl Fn(&Importer) -> bool,
    ) -> Result<(), Error> {
        let Some(found) = self.constants.get(name) else { return Ok(()) };
        for (importer, (what, module)) in self.constant_declarers.get(name).into_iter().flatten() {
            if let Some(expected) = module.requirements.constant_types.get(name)
                && !skipped(importer)
            {
                check_constant(what, name, expected, found)?;
            }
        }
        Ok(())
    }

    /// Like [`check_constant`](Self::check_constant), for a host function.
    pub(crate) fn check_host_function(
        &self,
        name: &str,
        skipped: impl Fn(&Importer) -> bool,
    ) -> Result<(), Error> {
        let Some(found) = self.host_functions.get(name) else { return Ok(()) };
        let declarers = self.host_function_declarers.get(name);
        for (importer, (what, module)) in declarers.into_iter().flatten() {
            if let Some(expected) = module.requirements.host_function_types.get(name)
                && !skipped(importer)
            {
                check_host_function(what, name, expected, found)?;
            }
        }
        Ok(())
    }
}

fn keys<T>(of: &BTreeMap<String, T>) -> Vec<&str> {
    of.keys().map(String::as_str).collect()
}

fn check_constant(
    what: &str,
    name: &str,
    expected: &[OwnedNamedType],
    found: &ConstantType,
) -> Result<(), Error> {
    expected
        .iter()
        .try_for_each(|expected| found.check(expected))
        .map_err(|difference| signature::mismatch(what, format!("constant \"{name}\""), difference))
}

fn check_host_function(
    what: &str,
    name: &str,
    expected: &[Signature],
    found: &Signature,
) -> Result<(), Error> {
    signature::check(what, || format!("host function \"{name}\""), expected, found)
}
