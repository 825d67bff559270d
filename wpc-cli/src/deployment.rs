//! Brings a pool to what a manifest says, and reports what of it could not be done. What is as it was is
//! left alone; what is refused leaves what stood there.

use crate::cache::Cache;
use crate::constant::{self, Declared};
use crate::failure::Failure;
use crate::item::{Item, Kind};
use crate::manifest::{self, Entry, Fake, Manifest, Pool, Source};
use crate::owners::Owners;
use crate::problem::{MANIFEST, Problem};
use crate::remedy::{Interface, full_text};
use crate::{grant, module_file};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use wpc_host::{
    DeclaredType, Error, ErrorCode, GuestError, Options, WasmModule, WorkerEvent,
    WorkerProcedureCall,
};

/// What an item is to be.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    /// Its value, and the type that a module declares for it, unless the manifest states one.
    Constant(toml::Value, Option<DeclaredType>),
    Module(Box<Entry>, Arc<[u8]>),
}

#[derive(Debug, Clone)]
struct Wanted {
    item: Item,
    content: Content,
    /// Where in the manifest it is said.
    at: usize,
}

/// What came of an attempt.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) defined: Vec<Item>,
    pub(crate) removed: Vec<Item>,
    pub(crate) problems: Vec<Problem>,
}

/// What a pool was brought to.
pub(crate) struct Deployment {
    wpc: WorkerProcedureCall,
    options: Options,
    /// How many there are to be.
    pub(crate) workers: usize,
    /// The manifest's choices for the pool, which are made once.
    pool_choices: Pool,
    standing: BTreeMap<Item, Content>,
    owners: Owners,
    /// The host functions that every module is granted.
    host_functions: Vec<String>,
    /// All that the manifest says now.
    named: BTreeSet<Item>,
}

impl Deployment {
    /// A pool that is not up yet, with all that the manifest says; everything that is wrong with it is reported.
    /// `listener` is called with its events.
    pub(crate) fn open(
        source: &Source,
        manifest: &Manifest,
        cache: &Cache,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        Self::open_with(source, manifest, cache, listener, &BTreeMap::new())
    }

    /// As [`Self::open`], with host functions that are granted to every module.
    pub(crate) fn open_with(
        source: &Source,
        manifest: &Manifest,
        cache: &Cache,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
        host_functions: &BTreeMap<String, Fake>,
    ) -> Result<Self, Failure> {
        let (options, workers) = manifest.chosen(source)?;
        let options = Options { compile_cache: cache.folder()?, ..options };
        let wpc = WorkerProcedureCall::new(options.clone())?;
        wpc.on_worker_event(listener)
            .map_err(|error| Failure::machine(format!("no thread for events: {error}")))?;
        for (name, fake) in host_functions {
            define_fake(&wpc, name, fake)?;
        }
        let mut deployment = Self::new(wpc, options, workers, manifest.pool());
        deployment.host_functions = host_functions.keys().cloned().collect();
        let problems = deployment.bring_to(source, manifest).problems;
        if problems.is_empty() { Ok(deployment) } else { Err(Failure::Problems(problems)) }
    }

    fn new(wpc: WorkerProcedureCall, options: Options, workers: usize, pool_choices: Pool) -> Self {
        Self {
            wpc,
            options,
            workers,
            pool_choices,
            standing: BTreeMap::new(),
            owners: Owners::default(),
            host_functions: Vec::new(),
            named: BTreeSet::new(),
        }
    }

    pub(crate) fn pool(&self) -> &WorkerProcedureCall {
        &self.wpc
    }

    /// The types that its modules declare for constants.
    pub(crate) fn declared_constants(&self) -> Declared {
        declared(self.standing.values())
    }

    /// How many calls the pool takes in, running, queued and waiting: with more under way some would be
    /// refused.
    pub(crate) fn room(&self) -> usize {
        let queued = self.options.max_pending_calls_per_worker.saturating_mul(self.workers);
        queued.saturating_add(self.options.max_waiting_calls).max(1)
    }

    /// How long a stop lets calls finish.
    pub(crate) fn stop_timeout(&self) -> Duration {
        self.options.stop_timeout
    }

    /// Defines what is new or another than it was, and forgets what is said no more.
    pub(crate) fn bring_to(&mut self, source: &Source, manifest: &Manifest) -> Report {
        let mut report = Report::default();
        let mut named = BTreeSet::new();
        let wanted = wanted(source, manifest, &mut named, &mut report.problems);
        let open: Vec<_> = wanted
            .into_iter()
            .filter(|wanted| self.standing.get(&wanted.item) != Some(&wanted.content))
            .collect();
        self.named = named;
        let (stuck, refused) = self.define_all(source, open, &mut report.defined);
        if refused.is_empty() || !self.define_together(source, &stuck, &refused, &mut report) {
            report.problems.extend(refused);
        }
        if self.pool_choices != manifest.pool() {
            let message = "[pool] is chosen once; start anew for what it says now";
            report.problems.push(source.problem(0, MANIFEST, message));
        }
        self.forget_unnamed(source, &mut report);
        self.find_unmet(source, manifest, &mut report.problems);
        report
    }

    /// Defines what can be, in whatever order works: each may need another to be there first. Gives what
    /// cannot, and why.
    fn define_all(
        &mut self,
        source: &Source,
        mut open: Vec<Wanted>,
        defined: &mut Vec<Item>,
    ) -> (Vec<Wanted>, Vec<Problem>) {
        loop {
            let before = open.len();
            let mut refused = Vec::new();
            open.retain(|wanted| match self.define(source, wanted) {
                Ok(()) => {
                    defined.push(wanted.item.clone());
                    self.standing.insert(wanted.item.clone(), wanted.content.clone());
                    false
                }
                Err(problem) => {
                    refused.push(problem);
                    true
                }
            });
            if open.is_empty() || open.len() == before {
                return (open, refused);
            }
        }
    }

    /// A new dependency or constant that does not fit the functions there are, and new functions that do not fit
    /// what is there: functions and constants are undefined for the moment in which all of them are
    /// defined. Where that does not help either, everything is put back as it was.
    fn define_together(
        &mut self,
        source: &Source,
        stuck: &[Wanted],
        refused: &[Problem],
        report: &mut Report,
    ) -> bool {
        // Only what does not link may link together; anything else is wrong by itself.
        let of_links =
            [ErrorCode::DependencyExport, ErrorCode::TypeMismatch].map(ErrorCode::as_str);
        let links = |problem: &Problem| of_links.contains(&problem.code);
        let has = |kinds: &[Kind]| stuck.iter().any(|wanted| kinds.contains(&wanted.item.kind));
        let sides = [&[Kind::Constant][..], &[Kind::Dependency], &[Kind::Module, Kind::Function]];
        if !refused.iter().all(links) || sides.into_iter().filter(|side| has(side)).count() < 2 {
            return false;
        }
        let old = stuck.iter().filter_map(|wanted| {
            let content = self.standing.get(&wanted.item)?.clone();
            Some(Wanted { item: wanted.item.clone(), content, at: wanted.at })
        });
        let old: Vec<_> = old.collect();
        // With a compile cache it takes but a moment then.
        stuck.iter().for_each(|wanted| self.compile(&wanted.content));
        let take_away = |deployment: &mut Self| {
            for Wanted { item, .. } in stuck {
                deployment.disown(item);
                if item.kind == Kind::Constant {
                    deployment.wpc.undefine_worker_constant(&item.name);
                }
            }
        };
        take_away(self);
        let mut now = Vec::new();
        let (left, _) = self.define_all(source, stuck.to_vec(), &mut now);
        if left.is_empty() {
            report.defined.append(&mut now);
            return true;
        }
        take_away(self);
        // These went together before.
        let (lost, why) = self.define_all(source, old, &mut Vec::new());
        for wanted in lost {
            self.standing.remove(&wanted.item);
        }
        report.problems.extend(why);
        false
    }

    /// Compiles a module for the cache. What is wrong with it is told where it is defined.
    fn compile(&self, content: &Content) {
        if let Content::Module(entry, bytes) = content
            && let Ok(module) = self.module(entry, bytes)
        {
            let _ = module.inspect_with(&self.options);
        }
    }

    fn define(&mut self, source: &Source, wanted: &Wanted) -> Result<(), Problem> {
        let Item { kind, name } = &wanted.item;
        let problem = |error: &Error| {
            source.problem(
                wanted.at,
                error.code().as_str(),
                &format!("{}: {}", wanted.item, full_text(error, Interface::Manifest)),
            )
        };
        let (entry, bytes) = match &wanted.content {
            Content::Constant(value, declared) => {
                let (ty, value) = manifest::constant(value);
                return constant::define(&self.wpc, name, ty, declared.as_ref(), &value)
                    .map_err(|error| problem(&error));
            }
            Content::Module(entry, bytes) => (entry, bytes),
        };
        let module = self.module(entry, bytes).map_err(|why| {
            source.problem(wanted.at, MANIFEST, &format!("{}: {why}", wanted.item))
        })?;
        let functions: BTreeSet<String> = match kind {
            Kind::Constant | Kind::Dependency => {
                let defined = self.wpc.define_worker_dependency(name, module);
                return defined.map_err(|error| problem(&error));
            }
            Kind::Module => {
                let told = module.inspect_with(&self.options).map_err(|error| problem(&error))?;
                told.functions.into_iter().map(|function| function.name).collect()
            }
            Kind::Function => BTreeSet::from([name.clone()]),
        };
        // One that is said no more gives its functions up.
        let other = |function: &String| {
            let owner = self.owners.of(function)?;
            (*owner != wanted.item && self.named.contains(owner)).then_some(owner)
        };
        let twice = functions.iter().find_map(|function| Some((function, other(function)?)));
        if let Some((twice, owner)) = twice {
            let message = format!(
                "{}: function \"{twice}\" is defined by {owner} already; give one of them another name, in Rust with `#[wpc::function(name = \"…\")]`",
                wanted.item
            );
            return Err(source.problem(wanted.at, MANIFEST, &message));
        }
        let defined = if *kind == Kind::Module {
            self.wpc.define_worker_module(module)
        } else {
            self.wpc.define_worker_function(name, module).map(|function| vec![function])
        };
        let defined = defined.map_err(|error| problem(&error))?;
        let defined = defined.into_iter().map(|function| function.name).collect();
        for lost in self.owners.replace(&wanted.item, defined) {
            self.wpc.undefine_worker_function(&lost);
        }
        Ok(())
    }

    fn module(&self, entry: &Entry, bytes: &Arc<[u8]>) -> Result<WasmModule, String> {
        let mut module = WasmModule::new(Arc::clone(bytes))
            .name(entry.file.display().to_string())
            .limits(entry.limits.chosen());
        for name in &self.host_functions {
            module = module.grant_host_function(name);
        }
        if let Some(export) = &entry.export {
            module = module.export(export);
        }
        if let Some(sha256) = &entry.sha256 {
            module = module.sha256(sha256.parse().map_err(|error| format!("`sha256`: {error}"))?);
        }
        if entry.isolated {
            module = module.isolate_calls();
        }
        if entry.canonical_nans {
            module = module.canonical_nans();
        }
        if entry.separate_sandboxes {
            module = module.separate_sandboxes();
        }
        if entry.grants.iter().any(|grant| grant == "stdin") {
            return Err("`stdin` cannot be granted: the calls come from there".to_owned());
        }
        grant::apply(module, &entry.grants, false)
            .map_err(|failure| failure.message(Interface::Manifest))
    }

    /// Forgets the item's functions.
    fn disown(&mut self, item: &Item) {
        for function in self.owners.release(item) {
            self.wpc.undefine_worker_function(&function);
        }
    }

    /// Forgets what is said no more, unless something that is said needs it.
    fn forget_unnamed(&mut self, source: &Source, report: &mut Report) {
        let is_gone = |item: &&Item| !self.named.contains(item);
        let gone: Vec<_> = self.standing.keys().filter(is_gone).cloned().collect();
        let (functions, needed): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|item| matches!(item.kind, Kind::Module | Kind::Function));
        // Functions first: what only they needed can go with them.
        for item in functions.into_iter().rev() {
            self.disown(&item);
            self.standing.remove(&item);
            report.removed.push(item);
        }
        if needed.is_empty() {
            return;
        }
        let needs = Needs::of(&self.wpc);
        for item in needed.into_iter().rev() {
            if let Some(function) = needs.who_needs(&item) {
                let message =
                    format!("{item} is said no more, and function \"{function}\" needs it");
                report.problems.push(source.problem(0, MANIFEST, &message));
                continue;
            }
            self.standing.remove(&item);
            if item.kind == Kind::Constant {
                self.wpc.undefine_worker_constant(&item.name);
            } else {
                self.wpc.undefine_worker_dependency(&item.name);
            }
            report.removed.push(item);
        }
    }

    /// Reports what functions need and the manifest does not define.
    fn find_unmet(&self, source: &Source, manifest: &Manifest, problems: &mut Vec<Problem>) {
        let dependencies = self.wpc.get_worker_dependencies().into_iter();
        let aliases: HashSet<_> = dependencies.map(|dependency| dependency.alias).collect();
        let constants = self.wpc.get_worker_constants().into_iter();
        let constants: HashSet<_> = constants.map(|constant| constant.name).collect();
        for function in self.wpc.get_remote_functions() {
            let Some(owner) = self.owners.of(&function.name) else { continue };
            let table =
                if owner.kind == Kind::Module { &manifest.modules } else { &manifest.functions };
            let at = table.get(&owner.name).map_or(0, |entry| entry.span().start);
            let mut lacks = |kind: &str, code, needed: &[String], there: &HashSet<String>| {
                for name in needed.iter().filter(|name| !there.contains(*name)) {
                    let message =
                        format!("{owner} needs {kind} \"{name}\", which is not defined; add it");
                    let problem = source.problem(at, code, &message);
                    // The functions of a module need the same.
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            };
            lacks(
                "dependency",
                "dependency_not_defined",
                &function.required_dependencies,
                &aliases,
            );
            lacks("constant", "constant_not_defined", &function.required_constants, &constants);
        }
    }
}

/// Defines a host function that gives one answer.
fn define_fake(wpc: &WorkerProcedureCall, name: &str, fake: &Fake) -> Result<(), Error> {
    let answer = match (&fake.error, &fake.value) {
        (Some(error), _) => Err(GuestError::new(error, "the test's host function returned it")),
        (None, value) => Ok(value.as_ref().map_or(Value::Null, manifest::json)),
    };
    wpc.define_host_function_json(name, &fake.signature, move |_, _| answer.clone())
}

/// What the functions there are need, each with one that needs it.
struct Needs {
    dependencies: HashMap<String, String>,
    constants: HashMap<String, String>,
}

impl Needs {
    fn of(wpc: &WorkerProcedureCall) -> Self {
        let (mut dependencies, mut constants) = (HashMap::new(), HashMap::new());
        for function in wpc.get_remote_functions() {
            for (needed, needs) in [
                (function.required_dependencies, &mut dependencies),
                (function.required_constants, &mut constants),
            ] {
                for name in needed {
                    needs.entry(name).or_insert_with(|| function.name.clone());
                }
            }
        }
        Self { dependencies, constants }
    }

    fn who_needs(&self, item: &Item) -> Option<&str> {
        let needs = match item.kind {
            Kind::Constant => &self.constants,
            Kind::Dependency => &self.dependencies,
            Kind::Module | Kind::Function => return None,
        };
        needs.get(&item.name).map(String::as_str)
    }
}

/// All that the manifest says, in the order in which it is defined. `named` gets also what cannot be
/// had, so that what stands there stays.
fn wanted(
    source: &Source,
    manifest: &Manifest,
    named: &mut BTreeSet<Item>,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted> {
    let mut modules = Vec::new();
    for (kind, entries) in [
        (Kind::Dependency, &manifest.dependencies),
        (Kind::Module, &manifest.modules),
        (Kind::Function, &manifest.functions),
    ] {
        for (name, entry) in entries {
            let item = Item { kind, name: name.clone() };
            named.insert(item.clone());
            let path = source.folder().join(&entry.get_ref().file);
            let at = entry.span().start;
            match module_file::bytes(&path, entry.get_ref().limits.chosen().module_size) {
                Ok(bytes) => {
                    let content = Content::Module(Box::new(entry.get_ref().clone()), bytes.into());
                    modules.push(Wanted { item, content, at });
                }
                Err(error) => {
                    let (code, why) = error.problem(Interface::Manifest);
                    let hint = if error.is_not_found() { "; is it built?" } else { "" };
                    problems.push(source.problem(at, code, &format!("{item}: {why}{hint}")));
                }
            }
        }
    }
    let declared = declared(modules.iter().map(|wanted| &wanted.content));
    let constants = manifest.constants.iter().map(|(name, value)| {
        let item = Item { kind: Kind::Constant, name: name.clone() };
        named.insert(item.clone());
        let (stated, _) = manifest::constant(value.get_ref());
        let ty = declared.get(name).filter(|_| stated.is_none()).cloned();
        let content = Content::Constant(value.get_ref().clone(), ty);
        Wanted { item, content, at: value.span().start }
    });
    constants.collect::<Vec<_>>().into_iter().chain(modules).collect()
}

/// The types that modules declare for constants.
fn declared<'a>(contents: impl Iterator<Item = &'a Content>) -> Declared {
    let mut declared = Declared::default();
    for content in contents {
        if let Content::Module(_, bytes) = content {
            declared.add(&WasmModule::new(Arc::clone(bytes)));
        }
    }
    declared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::COMPARISONS;

    /// How often items are compared while a pool is brought to a manifest of so many constants, and back to
    /// one of none.
    fn comparisons(constants: usize) -> u64 {
        let parse = |text: String| {
            let source = Source::new("wpc.toml".into(), text);
            let manifest = source.parse().unwrap();
            (source, manifest)
        };
        let options = Options::default();
        let wpc = WorkerProcedureCall::new(options.clone()).unwrap();
        let mut deployment = Deployment::new(wpc, options, 1, Pool::default());
        let lines: String = (0..constants).map(|at| format!("C{at} = \"v\"\n")).collect();
        COMPARISONS.set(0);
        let (source, manifest) = parse(format!("[constants]\n{lines}"));
        let report = deployment.bring_to(&source, &manifest);
        assert_eq!((report.defined.len(), report.problems.len()), (constants, 0));
        let (source, manifest) = parse(String::new());
        let report = deployment.bring_to(&source, &manifest);
        assert_eq!((report.removed.len(), report.problems.len()), (constants, 0));
        COMPARISONS.get()
    }

    /// A module with a function `f` that declares this type for the constant LIMIT.
    fn reads_limit(ty: &str) -> Vec<u8> {
        let ty = wpc_abi::text::parse_type(ty).unwrap();
        let mut module = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
        let record = wpc_abi::section::Constant::new("LIMIT", Some(ty)).record();
        module.extend(wpc_abi::section::custom_section(&record));
        module
    }

    #[test]
    fn a_constant_changes_its_type_together_with_the_modules_that_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::default();
        let wpc = WorkerProcedureCall::new(options.clone()).unwrap();
        let mut deployment = Deployment::new(wpc, options, 1, Pool::default());
        let mut bring_to = |function: &str, dependency: &str| {
            for (file, ty) in [("f.wasm", function), ("d.wasm", dependency)] {
                std::fs::write(folder.path().join(file), reads_limit(ty)).unwrap();
            }
            let text = "[constants]\nLIMIT = 3\n[dependencies.d]\nfile = \"d.wasm\"\n[functions.f]\nfile = \"f.wasm\"\n";
            let source = Source::new(folder.path().join("wpc.toml"), text.to_owned());
            let manifest = source.parse().unwrap();
            let report = deployment.bring_to(&source, &manifest);
            let codes: Vec<_> = report.problems.iter().map(|problem| problem.code).collect();
            (report.defined.len(), codes)
        };
        assert_eq!(bring_to("u32", "u32"), (3, vec![]));
        assert_eq!(bring_to("u64", "u64"), (3, vec![]));
        // The two do not agree: what was there stays.
        let (_, codes) = bring_to("i64", "i32");
        assert!(
            !codes.is_empty() && codes.iter().all(|code| *code == "type_mismatch"),
            "{codes:?}"
        );
        let wpc = deployment.pool();
        assert_eq!(wpc.get_remote_functions()[0].required_constants, ["LIMIT"]);
        assert_eq!(wpc.get_worker_constants().len(), 1);
    }

    #[test]
    fn work_grows_with_the_manifest_and_not_with_its_square() {
        let (few, many) = (comparisons(500), comparisons(4_000));
        // Eight times as many items, and a search among them takes a few steps more.
        assert!(many < few * 16, "{few} comparisons for 500 constants, {many} for 4,000");
    }
}
