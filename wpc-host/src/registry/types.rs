//! The types of constants and host functions, as they are defined and as modules declare them. Both sides are
//! compared whenever one of them is defined, so that a difference is refused before a call meets it.

use crate::error::Error;
use crate::module::Module;
use crate::module::signature;
use crate::registry::dependency::Importer;
use postcard_schema::schema::owned::OwnedNamedType;
use std::collections::BTreeMap;
use std::sync::Arc;
use wpc_abi::compare::{Difference, compare, compare_value};
use wpc_abi::section::Signature;

/// What is known of a constant's type.
#[derive(Debug, Clone)]
pub(crate) enum ConstantType {
    /// The type that it was defined with.
    Declared(OwnedNamedType),
    /// What its value shows.
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

/// Whose declaration it is, as errors name it, and its module.
type Declarers = BTreeMap<Importer, (Arc<str>, Arc<Module>)>;

/// Both sides, by name.
#[derive(Debug, Default)]
pub(crate) struct Types {
    constants: BTreeMap<Arc<str>, ConstantType>,
    host_functions: BTreeMap<Arc<str>, Signature>,
    /// The modules that declare a type for a constant.
    constant_declarers: BTreeMap<Arc<str>, Declarers>,
    /// The modules that declare types for a host function.
    host_function_declarers: BTreeMap<Arc<str>, Declarers>,
}

impl Types {
    /// Adds what a module declares.
    pub(crate) fn add(&mut self, importer: &Importer, what: &Arc<str>, module: &Arc<Module>) {
        let requirements = &module.requirements;
        for (names, declarers) in [
            (keys(&requirements.constant_types), &mut self.constant_declarers),
            (keys(&requirements.host_function_types), &mut self.host_function_declarers),
        ] {
            for name in names {
                let declarer = (Arc::clone(what), Arc::clone(module));
                declarers.entry(name.into()).or_default().insert(importer.clone(), declarer);
            }
        }
    }

    /// Removes what a module declared.
    pub(crate) fn remove(&mut self, importer: &Importer, module: &Module) {
        let requirements = &module.requirements;
        for (names, declarers) in [
            (keys(&requirements.constant_types), &mut self.constant_declarers),
            (keys(&requirements.host_function_types), &mut self.host_function_declarers),
        ] {
            for name in names {
                if let Some(of_name) = declarers.get_mut(name) {
                    of_name.remove(importer);
                    if of_name.is_empty() {
                        declarers.remove(name);
                    }
                }
            }
        }
    }

    /// Compares what a module declares with what is defined.
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

    /// Compares a constant with what the modules that read it declare, and keeps its type.
    pub(crate) fn define_constant(&mut self, name: &str, ty: ConstantType) -> Result<(), Error> {
        for (what, module) in
            self.constant_declarers.get(name).into_iter().flat_map(BTreeMap::values)
        {
            if let Some(expected) = module.requirements.constant_types.get(name) {
                check_constant(what, name, expected, &ty)?;
            }
        }
        self.constants.insert(name.into(), ty);
        Ok(())
    }

    pub(crate) fn undefine_constant(&mut self, name: &str) {
        self.constants.remove(name);
    }

    /// Compares a host function with what the modules that import it declare, and keeps its types; `None` if it has
    /// none.
    pub(crate) fn define_host_function(
        &mut self,
        name: &str,
        signature: Option<Signature>,
    ) -> Result<(), Error> {
        let Some(signature) = signature else {
            self.host_functions.remove(name);
            return Ok(());
        };
        for (what, module) in
            self.host_function_declarers.get(name).into_iter().flat_map(BTreeMap::values)
        {
            if let Some(expected) = module.requirements.host_function_types.get(name) {
                check_host_function(what, name, expected, &signature)?;
            }
        }
        self.host_functions.insert(name.into(), signature);
        Ok(())
    }

    pub(crate) fn undefine_host_function(&mut self, name: &str) {
        self.host_functions.remove(name);
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
