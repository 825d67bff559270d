//! What a module tells about itself, without a pool and without running any of it.
//!
//! Whether a definition would be refused, the compiler says. All else is read from the bytes, so that it is
//! declarations of every module, those among them that wpc cannot run.

mod component;
mod declarations;
mod description;
mod list;
mod report;
mod types;

use crate::definition::WasmModule;
use crate::error::Error;
use crate::information::ModuleInformation;
use crate::inspection::declarations::Declarations;
use crate::module::compiler::Compiler;
use crate::module::engine::Engines;
use crate::options::Options;
use std::sync::Arc;

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
    /// let declarations = wpc_host::WasmModule::new(wasm).inspect()?;
    /// assert_eq!(declarations.functions[0].signature.as_deref(), Some("(argument1: f64) -> f64"));
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
                let mut declarations = Declarations::default();
                // What could be read before the component breaks off is declarations.
                let _ = declarations.read_component(&self.bytes);
                Ok(declarations.information(&self.bytes, Some(&error)))
            }
            Err(error) => Ok(information(&self.bytes, Some(&error))),
        }
    }
}

/// What an inspected module is called where it would be refused.
const NAME: &str = "this module";

fn information(bytes: &[u8], refused: Option<&Error>) -> ModuleInformation {
    let mut declarations = Declarations::default();
    declarations.read(bytes);
    declarations.information(bytes, refused)
}
