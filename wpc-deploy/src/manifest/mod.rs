//! The contents of `wpc.toml`: how a project is built, and what a pool serves. This module does not use pools.

mod settings;
mod source;
mod value;

use crate::problem::{MANIFEST, Problem};
use crate::remedy::full_text;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;
use wpc_host::{Limits, Options};

pub(crate) use settings::{EntryLimits, Pool};
pub use source::Source;
pub use value::json;
pub(crate) use value::{constant, secret};

/// The default file name of a manifest.
pub const MANIFEST_NAME: &str = "wpc.toml";

/// A parsed manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// What `wpc build` needs.
    #[serde(default)]
    pub build: Build,
    pool: Option<Spanned<Pool>>,
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, Spanned<Entry>>,
    #[serde(default)]
    pub(crate) functions: BTreeMap<String, Spanned<Entry>>,
    #[serde(default)]
    pub(crate) modules: BTreeMap<String, Spanned<Entry>>,
    /// The options of `wpc serve`, by their names and with their positions. They are not validated.
    #[serde(default)]
    pub server: BTreeMap<String, Spanned<toml::Value>>,
    /// Calls with their expected outcomes, each with its position.
    #[serde(default)]
    pub tests: Vec<Spanned<Test>>,
}

impl Manifest {
    /// Whether it has a table `[pool]`.
    #[must_use]
    pub fn has_pool(&self) -> bool {
        self.pool.is_some()
    }

    pub(crate) fn pool(&self) -> Pool {
        self.pool.as_ref().map(|pool| pool.get_ref().clone()).unwrap_or_default()
    }

    /// The module files as the manifest names them, without duplicates: dependencies, modules, functions.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entries in [&self.dependencies, &self.modules, &self.functions] {
            for entry in entries.values() {
                let file = &entry.get_ref().file;
                if !files.contains(file) {
                    files.push(file.clone());
                }
            }
        }
        files
    }

    /// The module files with the limits of their entries, without duplicates, in the order of [`files`](Self::files). A file
    /// is listed once for each distinct set of limits of its entries.
    #[must_use]
    pub fn limited_files(&self) -> Vec<(PathBuf, Limits)> {
        let mut files = Vec::new();
        for entries in [&self.dependencies, &self.modules, &self.functions] {
            for entry in entries.values() {
                let Entry { file, limits, .. } = entry.get_ref();
                let found = (file.clone(), limits.chosen());
                if !files.contains(&found) {
                    files.push(found);
                }
            }
        }
        files
    }

    /// The options of the pool, which are not validated.
    #[must_use]
    pub fn options(&self) -> Options {
        self.pool().chosen()
    }

    /// Keeps only the entries that may define the function: its own entry, or all modules if it has
    /// none.
    pub fn keep_function(&mut self, name: &str) {
        let is_function = self.functions.contains_key(name);
        self.functions.retain(|other, _| other == name);
        if is_function {
            self.modules.clear();
        }
    }

    /// Removes the functions that are called only by tests with fakes, because they may require those fakes.
    pub fn drop_faked(&mut self) {
        let is_faked = |name: &String| {
            let mut tests = self.tests.iter().map(Spanned::get_ref);
            let mut own = tests.by_ref().filter(|test| test.function == *name).peekable();
            own.peek().is_some() && own.all(Test::has_fakes)
        };
        let faked: Vec<_> = self.functions.keys().filter(|name| is_faked(name)).cloned().collect();
        self.functions.retain(|name, _| !faked.contains(name));
    }

    /// Replaces constants with those of a test.
    pub fn fake_constants(&mut self, test: &Test) {
        for (name, value) in &test.constants {
            self.constants.insert(name.clone(), Spanned::new(0..0, value.clone()));
        }
    }

    /// Raises the pool's capacity to at least `outstanding` waiting calls.
    pub fn accept_outstanding(&mut self, outstanding: usize) {
        let mut pool = self.pool();
        pool.raise_max_waiting_calls(outstanding);
        self.pool = Some(Spanned::new(0..0, pool));
    }

    /// The pool's validated options and its number of workers.
    pub(crate) fn chosen(&self, source: &Source) -> Result<(Options, usize), Problem> {
        let pool = self.pool();
        let options = pool.chosen();
        let at = self.pool.as_ref().map_or(0, |pool| pool.span().start);
        options.validate().map_err(|error| {
            let message = full_text(&error);
            source.problem(at, MANIFEST, &message)
        })?;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = pool.workers.unwrap_or_else(cores);
        let max = options.max_live_instances as usize;
        if !(1..=max).contains(&workers) {
            let message = format!(
                "`workers` must be between 1 and `max_live_instances` ({max}), found {workers}"
            );
            return Err(source.problem(at, MANIFEST, &message));
        }
        Ok((options, workers))
    }
}

/// A call and its expected outcome.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Test {
    /// The function to call.
    pub function: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<toml::Value>,
    /// The expected result; without it, any result passes.
    pub value: Option<toml::Value>,
    /// The items that it is expected to yield; without them, a function that yields items fails.
    pub items: Option<Vec<toml::Value>>,
    /// The expected error: the name of a guest error, or the code of any other error.
    pub error: Option<String>,
    /// Constants that replace those of the manifest in this test.
    #[serde(default)]
    pub constants: BTreeMap<String, toml::Value>,
    /// The host functions of this test.
    #[serde(default)]
    pub host_functions: BTreeMap<String, Fake>,
}

impl Test {
    /// Whether the test needs its own pool.
    #[must_use]
    pub fn has_fakes(&self) -> bool {
        !self.constants.is_empty() || !self.host_functions.is_empty()
    }
}

/// A host function of a test: its types, and the answer that it always returns.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fake {
    /// Its types, such as `(item: String) -> u32`.
    pub signature: String,
    /// The value that it returns.
    pub value: Option<toml::Value>,
    /// The name of the error that it returns instead.
    pub error: Option<String>,
}

/// The `[build]` table: settings that differ from the defaults, and declared types.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Build {
    /// The target, if it differs from the default of the language.
    pub target: Option<String>,
    /// The types of functions whose language cannot record them in the module.
    #[serde(default)]
    pub signatures: BTreeMap<String, Spanned<String>>,
    /// The documentation of functions whose language cannot record it in the module.
    #[serde(default)]
    pub documentation: BTreeMap<String, Spanned<String>>,
    /// The types of the constants that the module requires.
    #[serde(default)]
    pub constants: BTreeMap<String, Spanned<String>>,
    /// The types of functions that the module imports from dependencies, by alias.
    #[serde(default)]
    pub dependencies: BTreeMap<String, BTreeMap<String, Spanned<String>>>,
    /// The types of host functions that the module imports.
    #[serde(default)]
    pub host_functions: BTreeMap<String, Spanned<String>>,
    /// The types of functions of the pool that the module calls.
    #[serde(default)]
    pub functions: BTreeMap<String, Spanned<String>>,
}

impl Build {
    /// Whether anything is declared that must be added to the module.
    #[must_use]
    pub fn declares_any(&self) -> bool {
        !(self.signatures.is_empty()
            && self.documentation.is_empty()
            && self.constants.is_empty()
            && self.dependencies.is_empty()
            && self.host_functions.is_empty()
            && self.functions.is_empty())
    }
}

/// A module to define, with its grants and limits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) file: PathBuf,
    pub(crate) export: Option<String>,
    pub(crate) sha256: Option<String>,
    #[serde(default)]
    pub(crate) grants: Vec<String>,
    #[serde(default)]
    pub(crate) limits: EntryLimits,
    /// Whether each call gets a fresh sandbox.
    #[serde(default)]
    pub(crate) isolated: bool,
    #[serde(default)]
    pub(crate) canonical_nans: bool,
    /// For a module: whether each of its functions has its own sandboxes.
    #[serde(default)]
    pub(crate) separate_sandboxes: bool,
    /// Whether a call to its functions may be run again if it is not known whether it ran.
    #[serde(default)]
    pub(crate) pure: bool,
}
