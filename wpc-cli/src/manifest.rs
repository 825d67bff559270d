//! `wpc.toml` as it is written: what a project builds, what a pool serves. It knows nothing of pools.

use crate::file;
use crate::problem::{MANIFEST, Problem};
use crate::remedy::{Interface, full_text};
use bytesize::ByteSize;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use wpc_host::{Limits, Options};

/// The file's name where none is given.
pub(crate) const NAME: &str = "wpc.toml";

/// What a manifest says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) build: Build,
    pool: Option<Spanned<Pool>>,
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, Spanned<Entry>>,
    #[serde(default)]
    pub(crate) functions: BTreeMap<String, Spanned<Entry>>,
    #[serde(default)]
    pub(crate) modules: BTreeMap<String, Spanned<Entry>>,
    #[serde(default)]
    pub(crate) tests: Vec<Spanned<Test>>,
}

impl Manifest {
    pub(crate) fn pool(&self) -> Pool {
        self.pool.as_ref().map(|pool| pool.get_ref().clone()).unwrap_or_default()
    }

    /// The modules' files as the manifest names them, each once: dependencies, modules, functions.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
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

    /// Leaves out what does not define the function; without an entry of its own, a module may define it.
    pub(crate) fn keep_function(&mut self, name: &str) {
        let is_function = self.functions.contains_key(name);
        self.functions.retain(|other, _| other == name);
        if is_function {
            self.modules.clear();
        }
    }

    /// Leaves out the functions that only tests with fakes call: they may need what only those have.
    pub(crate) fn drop_faked(&mut self) {
        let is_faked = |name: &String| {
            let mut tests = self.tests.iter().map(Spanned::get_ref);
            let mut own = tests.by_ref().filter(|test| test.function == *name).peekable();
            own.peek().is_some() && own.all(Test::has_fakes)
        };
        let faked: Vec<_> = self.functions.keys().filter(|name| is_faked(name)).cloned().collect();
        self.functions.retain(|name, _| !faked.contains(name));
    }

    /// Replaces constants by those of a test.
    pub(crate) fn fake_constants(&mut self, test: &Test) {
        for (name, value) in &test.constants {
            self.constants.insert(name.clone(), Spanned::new(0..0, value.clone()));
        }
    }

    /// Makes the pool take so many calls at once.
    pub(crate) fn take_calls(&mut self, outstanding: usize) {
        let mut pool = self.pool();
        let usual = pool.max_waiting_calls.unwrap_or(Options::default().max_waiting_calls);
        pool.max_waiting_calls = Some(usual.max(outstanding));
        self.pool = Some(Spanned::new(0..0, pool));
    }

    /// The pool's options and how many workers it has, if they can be used.
    pub(crate) fn chosen(&self, source: &Source) -> Result<(Options, usize), Problem> {
        let pool = self.pool();
        let options = pool.chosen();
        let at = self.pool.as_ref().map_or(0, |pool| pool.span().start);
        options.validate().map_err(|error| {
            let message = full_text(&error, Interface::Manifest);
            source.problem(at, MANIFEST, &message)
        })?;
        let usual = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = pool.workers.unwrap_or_else(usual);
        let most = options.max_live_instances as usize;
        if !(1..=most).contains(&workers) {
            let message = format!("`workers` must be from 1 to `max_live_instances`, {most}");
            return Err(source.problem(at, MANIFEST, &message));
        }
        Ok((options, workers))
    }
}

/// A call, and what is to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) arguments: Vec<toml::Value>,
    /// The result; without one any will do.
    pub(crate) value: Option<toml::Value>,
    /// The guest error's name, or the code of any other.
    pub(crate) error: Option<String>,
    /// Constants of this test, in the place of those of the manifest.
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, toml::Value>,
    /// What the host functions of this test answer.
    #[serde(default)]
    pub(crate) host_functions: BTreeMap<String, Fake>,
}

impl Test {
    /// Whether it needs a pool of its own.
    pub(crate) fn has_fakes(&self) -> bool {
        !self.constants.is_empty() || !self.host_functions.is_empty()
    }
}

/// A host function of a test: its types, and the one answer that it gives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fake {
    pub(crate) signature: String,
    pub(crate) value: Option<toml::Value>,
    /// The name of the error that it returns instead.
    pub(crate) error: Option<String>,
}

/// How a project is built, where the usual is not meant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    pub(crate) target: Option<String>,
    /// The types of functions whose language cannot tell them.
    #[serde(default)]
    pub(crate) signatures: BTreeMap<String, Spanned<String>>,
    /// The types of the constants that the module cannot do without.
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, Spanned<String>>,
    /// The types of functions that it imports from dependencies, by alias.
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, BTreeMap<String, Spanned<String>>>,
    /// The types of host functions that it imports.
    #[serde(default)]
    pub(crate) host_functions: BTreeMap<String, Spanned<String>>,
}

impl Build {
    /// Whether it declares types, which are added to the module.
    pub(crate) fn declares_types(&self) -> bool {
        !(self.signatures.is_empty()
            && self.constants.is_empty()
            && self.dependencies.is_empty()
            && self.host_functions.is_empty())
    }
}

/// A module to define, and what it may use.
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
    /// A sandbox of its own for each call.
    #[serde(default)]
    pub(crate) isolated: bool,
    #[serde(default)]
    pub(crate) canonical_nans: bool,
    /// For a module: sandboxes of its own for each function.
    #[serde(default)]
    pub(crate) separate_sandboxes: bool,
}

macro_rules! durations_and_sizes {
    ($(#[$meta:meta])* $name:ident for $target:ident {
        durations { $($duration:ident),* $(,)? }
        optional_durations { $($optional:ident),* $(,)? }
        sizes { $($size:ident),* $(,)? }
        optional_sizes { $($optional_size:ident),* $(,)? }
        plain { $($plain:ident: $type:ty),* $(,)? }
        optional { $($optional_plain:ident: $optional_type:ty),* $(,)? }
        beside { $($beside:ident: $beside_type:ty),* $(,)? }
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $(#[serde(with = "humantime_serde")] $duration: Option<Duration>,)*
            $(#[serde(with = "humantime_serde")] $optional: Option<Duration>,)*
            $($size: Option<ByteSize>,)*
            $($optional_size: Option<ByteSize>,)*
            $($plain: Option<$type>,)*
            $($optional_plain: Option<$optional_type>,)*
            $(pub(crate) $beside: Option<$beside_type>,)*
        }

        impl $name {
            /// The choices that are made, and the usual ones for the rest.
            #[allow(clippy::needless_update, reason = "one of the two has choices that are made elsewhere")]
            pub(crate) fn chosen(&self) -> $target {
                let usual = $target::default();
                $target {
                    $($duration: self.$duration.unwrap_or(usual.$duration),)*
                    $($optional: self.$optional.or(usual.$optional),)*
                    $($size: self.$size.map_or(usual.$size, bytes),)*
                    $($optional_size: self.$optional_size.map(bytes).or(usual.$optional_size),)*
                    $($plain: self.$plain.unwrap_or(usual.$plain),)*
                    $($optional_plain: self.$optional_plain.or(usual.$optional_plain),)*
                    ..usual
                }
            }
        }
    };
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

durations_and_sizes! {
    /// The pool's options by their names, and how many workers there are.
    Pool for Options {
        durations {
            call_timeout, start_timeout, stop_timeout, lost_worker_grace, restart_base_delay,
            restart_max_delay, restart_jitter, hold_cool_down,
        }
        optional_durations {}
        sizes { max_wasm_stack }
        optional_sizes {}
        plain {
            restart_on_failure: bool, max_restarts_per_worker: u32,
            max_pending_calls_per_worker: usize, max_waiting_calls: usize, max_live_instances: u32,
            max_waiting_events: usize,
        }
        optional { restart_jitter_seed: u64 }
        beside { workers: usize }
    }
}

durations_and_sizes! {
    /// A definition's limits by their names.
    EntryLimits for Limits {
        durations { compile_time }
        optional_durations { time }
        sizes { memory, arguments, result, module_size, log }
        optional_sizes { stack, recycle_past_memory }
        plain { table_elements: usize, instances: usize, open_files: usize }
        optional { fuel: u64, recycle_after_calls: u64 }
        beside {}
    }
}

/// A manifest and where it lies.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    text: String,
    /// Where each line ends in the text.
    line_ends: Vec<usize>,
}

/// The most bytes a manifest may have: a few hundred thousand entries.
const MAX_MANIFEST: usize = 64 << 20;

impl Source {
    /// Reads a manifest's file; `path` may be the folder that has it.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let path = Self::path(path);
        let bytes =
            file::read(&path, MAX_MANIFEST).map_err(|error| Problem::machine(error.to_string()))?;
        let bytes = file::without_byte_order_mark(&bytes).to_vec();
        let text = String::from_utf8(bytes).map_err(|error| {
            Problem::machine(format!(
                "cannot read \"{}\": it is not UTF-8: {error}",
                path.display()
            ))
        })?;
        Ok(Self::new(path, text))
    }

    /// Whether a path leads to a manifest, and not to a module: a folder, or a file of TOML.
    pub(crate) fn is_at(path: &Path) -> bool {
        path.is_dir() || path.extension().is_some_and(|found| found == "toml")
    }

    /// The manifest's file; `path` may be the folder that has it.
    pub(crate) fn path(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(NAME) } else { path.to_owned() }
    }

    pub(crate) fn new(path: PathBuf, text: String) -> Self {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { path, text, line_ends }
    }

    pub(crate) fn parse(&self) -> Result<Manifest, Problem> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.problem(at, MANIFEST, error.message())
        })
    }

    /// The folder that the manifest's paths start from.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Something that is wrong at this place in the text.
    pub(crate) fn problem(&self, at: usize, code: &'static str, message: &str) -> Problem {
        let line = self.line_ends.partition_point(|end| *end < at) + 1;
        Problem {
            file: Some(self.path.clone()),
            line: Some(line),
            code,
            message: message.to_owned(),
        }
    }
}

/// A constant's type and value: `"text"`, or `{ type = "u32", value = 3 }`.
pub(crate) fn constant(value: &toml::Value) -> (Option<&str>, Value) {
    if let Some(table) = value.as_table()
        && let (2, Some(ty), Some(value)) =
            (table.len(), table.get("type").and_then(toml::Value::as_str), table.get("value"))
    {
        return (Some(ty), json(value));
    }
    (None, json(value))
}

/// A value of the manifest as JSON.
pub(crate) fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        // JSON has no name for these; the host takes them as text.
        toml::Value::Float(number) if number.is_nan() => Value::from("NaN"),
        toml::Value::Float(number) if number.is_infinite() => {
            Value::from(if *number > 0.0 { "Infinity" } else { "-Infinity" })
        }
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(moment) => Value::from(moment.to_string()),
        toml::Value::Array(items) => items.iter().map(json).collect(),
        toml::Value::Table(entries) => {
            entries.iter().map(|(name, value)| (name.clone(), json(value))).collect()
        }
    }
}
