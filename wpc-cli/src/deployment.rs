//! Brings a pool to what a manifest says, and tells what of it could not be done. What is as it was is
//! left alone; what is refused leaves what stood there.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::manifest::{self, Entry, Manifest, Pool, Source};
use crate::problem::{MACHINE, MANIFEST, Problem};
use crate::terminal;
use crate::words::in_our_words;
use crate::{constant, grant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use wpc_host::{Error, ErrorCode, Options, WasmModule, WorkerProcedureCall};

/// A table of the manifest that names things to define, in the order in which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Constant,
    Dependency,
    Module,
    Function,
}

/// What a line of the manifest defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    kind: Kind,
    name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Constant => "constant",
            Kind::Dependency => "dependency",
            Kind::Module => "module",
            Kind::Function => "function",
        };
        write!(f, "{kind} \"{}\"", self.name)
    }
}

/// What an item is to be.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    Constant(toml::Value),
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
    /// By function, the item that defined it.
    owners: BTreeMap<String, Item>,
    /// All that the manifest says now.
    named: Vec<Item>,
}

impl Deployment {
    /// A pool that is not up yet, with all that the manifest says; whatever is wrong with it is told.
    /// Guests' lines go to standard error.
    pub(crate) fn open(
        source: &Source,
        manifest: &Manifest,
        cache: &Cache,
        as_json: bool,
    ) -> Result<Self, Failure> {
        let (options, workers) = manifest.chosen(source)?;
        let options = Options { compile_cache: cache.folder()?, ..options };
        let wpc = WorkerProcedureCall::new(options.clone())?;
        wpc.on_worker_event(terminal::lines(as_json))
            .map_err(|error| Failure::machine(format!("no thread for events: {error}")))?;
        let mut deployment = Self {
            wpc,
            options,
            workers,
            pool_choices: manifest.pool(),
            standing: BTreeMap::new(),
            owners: BTreeMap::new(),
            named: Vec::new(),
        };
        let problems = deployment.bring_to(source, manifest).problems;
        if problems.is_empty() { Ok(deployment) } else { Err(Failure::Problems(problems)) }
    }

    pub(crate) fn pool(&self) -> &WorkerProcedureCall {
        &self.wpc
    }

    /// How many calls the pool takes in, running, queued and waiting: with more under way some would be
    /// refused.
    pub(crate) fn room(&self) -> usize {
        let queued = self.options.max_pending_calls_per_worker.saturating_mul(self.workers);
        queued.saturating_add(self.options.max_waiting_calls).max(1)
    }

    /// Defines what is new or another than it was, and forgets what is said no more.
    pub(crate) fn bring_to(&mut self, source: &Source, manifest: &Manifest) -> Report {
        let mut report = Report::default();
        let mut named = Vec::new();
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

    /// A new dependency that does not go with the functions there are, and new functions that do not go
    /// with the dependency there is: the functions are taken away for the moment in which both are
    /// defined. Where that does not help either, everything is put back as it was.
    fn define_together(
        &mut self,
        source: &Source,
        stuck: &[Wanted],
        refused: &[Problem],
        report: &mut Report,
    ) -> bool {
        // Only what does not link may link together; anything else is wrong by itself.
        let links = |problem: &Problem| problem.code == ErrorCode::DependencyExport.as_str();
        let has = |kinds: &[Kind]| stuck.iter().any(|wanted| kinds.contains(&wanted.item.kind));
        if !refused.iter().all(links)
            || !has(&[Kind::Dependency])
            || !has(&[Kind::Module, Kind::Function])
        {
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
            for wanted in stuck {
                deployment.disown(&wanted.item, |_| true);
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
                &format!("{}: {}", wanted.item, in_our_words(&error.to_string())),
            )
        };
        let (entry, bytes) = match &wanted.content {
            Content::Constant(value) => {
                let (ty, value) = manifest::constant(value);
                return constant::define(&self.wpc, name, ty, &value)
                    .map_err(|error| problem(&error));
            }
            Content::Module(entry, bytes) => (entry, bytes),
        };
        let module = self.module(entry, bytes).map_err(|why| {
            source.problem(wanted.at, MANIFEST, &format!("{}: {why}", wanted.item))
        })?;
        let functions = match kind {
            Kind::Constant | Kind::Dependency => {
                let defined = self.wpc.define_worker_dependency(name, module);
                return defined.map_err(|error| problem(&error));
            }
            Kind::Module => {
                let told = module.inspect_with(&self.options).map_err(|error| problem(&error))?;
                told.functions.into_iter().map(|function| function.name).collect()
            }
            Kind::Function => vec![name.clone()],
        };
        // One that is said no more gives its functions up.
        let other = |function: &&String| {
            self.owners
                .get(*function)
                .is_some_and(|owner| *owner != wanted.item && self.named.contains(owner))
        };
        if let Some(twice) = functions.iter().find(other) {
            let message = format!(
                "{}: function \"{twice}\" is defined by {} already",
                wanted.item, self.owners[twice]
            );
            return Err(source.problem(wanted.at, MANIFEST, &message));
        }
        if *kind == Kind::Module {
            self.wpc.define_worker_module(module).map_err(|error| problem(&error))?;
        } else {
            self.wpc.define_worker_function(name, module).map_err(|error| problem(&error))?;
        }
        self.disown(&wanted.item, |function| !functions.contains(function));
        self.owners.extend(functions.into_iter().map(|function| (function, wanted.item.clone())));
        Ok(())
    }

    fn module(&self, entry: &Entry, bytes: &Arc<[u8]>) -> Result<WasmModule, String> {
        let mut module = WasmModule::new(Arc::clone(bytes)).limits(entry.limits.chosen());
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
        if entry.grants.iter().any(|grant| grant == "stdin") {
            return Err("`stdin` cannot be granted: the calls come from there".to_owned());
        }
        grant::apply(module, &entry.grants, false).map_err(|failure| failure.message())
    }

    /// Forgets the item's functions that are meant.
    fn disown(&mut self, item: &Item, is_meant: impl Fn(&String) -> bool) {
        let wpc = &self.wpc;
        self.owners.retain(|function, owner| {
            let goes = owner == item && is_meant(function);
            if goes {
                wpc.undefine_worker_function(function);
            }
            !goes
        });
    }

    /// Forgets what is said no more, unless something that is said needs it.
    fn forget_unnamed(&mut self, source: &Source, report: &mut Report) {
        let gone: Vec<_> =
            self.standing.keys().filter(|item| !self.named.contains(item)).cloned().collect();
        // Functions first: what only they needed can go with them.
        for item in gone.into_iter().rev() {
            if let Some(function) = self.who_needs(&item) {
                let message =
                    format!("{item} is said no more, and function \"{function}\" needs it");
                report.problems.push(source.problem(0, MANIFEST, &message));
                continue;
            }
            self.standing.remove(&item);
            match item.kind {
                Kind::Constant => {
                    self.wpc.undefine_worker_constant(&item.name);
                }
                Kind::Dependency => {
                    self.wpc.undefine_worker_dependency(&item.name);
                }
                Kind::Module | Kind::Function => self.disown(&item, |_| true),
            }
            report.removed.push(item);
        }
    }

    fn who_needs(&self, item: &Item) -> Option<String> {
        let functions = self.wpc.get_remote_functions().into_iter();
        let mut needing = functions.filter(|function| match item.kind {
            Kind::Constant => function.required_constants.contains(&item.name),
            Kind::Dependency => function.required_dependencies.contains(&item.name),
            Kind::Module | Kind::Function => false,
        });
        needing.next().map(|function| function.name)
    }

    /// What functions need and nobody defined.
    fn find_unmet(&self, source: &Source, manifest: &Manifest, problems: &mut Vec<Problem>) {
        let aliases: Vec<_> = self
            .wpc
            .get_worker_dependencies()
            .into_iter()
            .map(|dependency| dependency.alias)
            .collect();
        let constants: Vec<_> =
            self.wpc.get_worker_constants().into_iter().map(|constant| constant.name).collect();
        for function in self.wpc.get_remote_functions() {
            let Some(owner) = self.owners.get(&function.name) else { continue };
            let table =
                if owner.kind == Kind::Module { &manifest.modules } else { &manifest.functions };
            let at = table.get(&owner.name).map_or(0, |entry| entry.span().start);
            let mut lacks = |kind: &str, code, needed: &[String], there: &[String]| {
                for name in needed.iter().filter(|name| !there.contains(name)) {
                    let message = format!(
                        "function \"{}\" needs {kind} \"{name}\", which is not defined; add it",
                        function.name
                    );
                    problems.push(source.problem(at, code, &message));
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

/// All that the manifest says, in the order in which it is defined. `named` gets also what cannot be
/// had, so that what stands there stays.
fn wanted(
    source: &Source,
    manifest: &Manifest,
    named: &mut Vec<Item>,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (name, value) in &manifest.constants {
        let item = Item { kind: Kind::Constant, name: name.clone() };
        named.push(item.clone());
        let content = Content::Constant(value.get_ref().clone());
        all.push(Wanted { item, content, at: value.span().start });
    }
    for (kind, entries) in [
        (Kind::Dependency, &manifest.dependencies),
        (Kind::Module, &manifest.modules),
        (Kind::Function, &manifest.functions),
    ] {
        for (name, entry) in entries {
            let item = Item { kind, name: name.clone() };
            named.push(item.clone());
            let path = source.folder().join(&entry.get_ref().file);
            let at = entry.span().start;
            match std::fs::read(&path) {
                Ok(bytes) => {
                    let content = Content::Module(Box::new(entry.get_ref().clone()), bytes.into());
                    all.push(Wanted { item, content, at });
                }
                Err(error) => {
                    let message = format!("{item}: {}: {error}; is it built?", path.display());
                    problems.push(source.problem(at, MACHINE, &message));
                }
            }
        }
    }
    all
}
