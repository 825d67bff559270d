//! Reports what a module declares, without a pool and without running it.
//!
//! The compiler decides whether the module could be defined. Everything else is read from the bytes, so that modules which
//! wpc cannot run are described as well.

mod component;
mod declarations;
mod description;
mod list;
mod report;
mod types;

use crate::definition::WasmModule;
use crate::definition::wasi::may_wait;
use crate::error::Error;
use crate::information::{ModuleInformation, SuspensionCause};
use crate::inspection::declarations::Declarations;
use crate::module::compiler::Compiler;
use crate::module::engine::Engines;
use crate::module::offered_exports;
use crate::module::suspending;
use crate::options::Options;
use std::collections::BTreeMap;
use std::sync::Arc;
use wpc_abi::names;

impl WasmModule {
    /// Reads what the module declares, and compiles it to check whether it could be defined. Grants and dependencies are
    /// not needed. Modules that could not be defined are read too, and so are the imports and exports of components:
    /// [`ModuleInformation::refused`] has the reason.
    ///
    /// # Errors
    ///
    /// [`Error::NotWasm`] if the bytes are neither a module nor a component.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    ///     local.get 0 f64.const 2 f64.div))"#)?;
    /// let information = wpc_host::WasmModule::new(wasm).inspect()?;
    /// let signature = information.functions[0].signature.as_ref().ok_or("its types are not declared")?;
    /// assert_eq!(signature.to_string(), "(argument1: f64) -> f64");
    /// # Ok(()) }
    /// ```
    pub fn inspect(&self) -> Result<ModuleInformation, Error> {
        self.inspect_with(&Options::default())
    }

    /// Like [`inspect`](Self::inspect), with the compiler of a pool with these options. With a compile cache, a module
    /// that a pool has compiled is not compiled again.
    ///
    /// # Errors
    ///
    /// [`Error::NotWasm`] as for [`inspect`](Self::inspect), [`Error::InvalidOptions`] for invalid options or limits of the
    /// module, or [`Error::StartFailed`], [`Error::OsLimit`] or [`Error::CompilerBusy`] if it could not be compiled on this
    /// machine at the moment.
    pub fn inspect_with(&self, options: &Options) -> Result<ModuleInformation, Error> {
        options.validate()?;
        // The engine reserves address space for each possible instance, and none is created here.
        let options = Options { max_live_instances: 1, ..options.clone() };
        let engines = Arc::new(Engines::new(&options, None)?);
        let profile = engines.profile(&self.limits, self.has_canonical_nans);
        let title = self.title(|| NAME.to_owned());
        let information = |refused: Option<&Error>| {
            let mut information = information(&self.bytes, refused);
            let granted = self.grants.wasi.as_ref();
            let imports = information.required_wasi_imports.iter();
            let waits = imports.filter(|import| may_wait(import, granted)).cloned();
            let items = suspending::yields_items(&self.bytes).then_some(SuspensionCause::Items);
            let slice = self.limits.time_slice.map(SuspensionCause::TimeSlice);
            let declared = &information.required_functions;
            let by_name = self
                .grants
                .functions
                .iter()
                .filter(|name| information.calls_functions_by_name && !declared.contains(name));
            let calls = declared.iter().chain(by_name).cloned().map(SuspensionCause::FunctionCall);
            let causes: Vec<_> = calls
                .chain(waits.map(SuspensionCause::WasiImport))
                .chain(items)
                .chain(slice)
                .collect();
            information.suspension_causes.extend(causes);
            information
        };
        // These bytes are not a module, so the title must not call them one.
        let what = || self.title(|| "this".to_owned());
        let compiled = Compiler::new(engines).compile_ungranted(&title, self, profile);
        match compiled.and_then(|module| module.check_sizes(&title, &self.limits)) {
            Ok(()) => Ok(information(None)),
            Err(
                error @ (Error::InvalidOptions { .. }
                | Error::StartFailed { .. }
                | Error::OsLimit { .. }
                | Error::CompilerBusy { .. }),
            ) => Err(error),
            Err(Error::NotWasm { reason, .. }) => Err(Error::NotWasm { what: what(), reason }),
            Err(Error::Component { .. }) => {
                let error = Error::Component { what: what() };
                let mut declarations = Declarations::default();
                // A component that cannot be read to the end is described as far as it was read.
                let _ = declarations.read_component(&self.bytes);
                Ok(declarations.information(&self.bytes, Some(&error)))
            }
            Err(error) => Ok(information(Some(&error))),
        }
    }
}

impl WasmModule {
    /// The names of the functions that [`define_module`](crate::Changes::define_module) defines. They are read from the
    /// bytes. The module is not compiled, so it may still be refused. `None` if the bytes cannot be read to the end.
    #[must_use]
    pub fn function_names(&self) -> Option<Vec<String>> {
        let mut declarations = Declarations::default();
        if !declarations.read(&self.bytes) {
            return None;
        }
        let callable = declarations.callable(BTreeMap::new());
        let names = offered_exports(&callable).into_iter().map(|(_, export)| export.name.clone());
        Some(names.filter(|name| names::is_export_name(name)).collect())
    }
}

/// How an inspected module is called in errors.
const NAME: &str = "this module";

fn information(bytes: &[u8], refused: Option<&Error>) -> ModuleInformation {
    let mut declarations = Declarations::default();
    // What precedes an error is described as well.
    let _ = declarations.read(bytes);
    declarations.information(bytes, refused)
}
