//! Names and what is defined under them. Calls take immutable snapshots without a lock; writers take
//! turns.
//!
//! A definition is linked completely before it is published, so a refused one changes nothing. When
//! a dependency changes, every definition that reaches it is linked anew and published under a new
//! generation; calls that were accepted keep the generation they were accepted with.

pub(crate) mod circuit_breaker;
pub(crate) mod dependency;
pub(crate) mod restart_policy;
pub(crate) mod types;

use crate::call::reply::Callee;
use crate::codec::type_check::TypeCheck;
use crate::definition::WasmModule;
use crate::definition::limits::Limits;
use crate::definition::wasi::Wasi;
use crate::error::Error;
use crate::error::remedy::Setting;
use crate::host_function::HostFunction;
use crate::id::{Counter, FunctionHash, Generation, WorkerId};
use crate::module::compiler::Compiler;
use crate::module::engine::{Engines, Profile};
use crate::module::{Convention, Export, Module};
use crate::name_map::NameMap;
use crate::registry::circuit_breaker::CircuitBreaker;
use crate::registry::dependency::{
    Dependencies, Dependency, Importer, Importers, Resolver, common_profile, reached,
};
use crate::registry::types::{ConstantType, Types};
use crate::sandbox::{Blueprint, Constants, HostFunctions, Node};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{ArcSwap, ArcSwapOption, Mutex, MutexGuard};
use crate::system::background::Interest;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use wpc_abi::section::Signature;

/// One generation of a definition: what a sandbox is made from, and how it fared.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) generation: Generation,
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) limits: Arc<Limits>,
    /// Every constant that the module or a dependency declares.
    pub(crate) constants: Vec<String>,
    /// Every host function that the module or a dependency needs.
    pub(crate) host_functions: BTreeSet<String>,
    pub(crate) circuit_breaker: CircuitBreaker,
    /// How many published functions use it.
    users: AtomicUsize,
}

impl Definition {
    /// Whether another generation took its place, so that its sandboxes can go.
    #[inline]
    pub(crate) fn is_retired(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0
    }
}

/// A function as a call finds it.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) module: Arc<Module>,
    /// Which export of the module.
    pub(crate) export: usize,
    /// `Err` with the alias that is missing.
    pub(crate) definition: Result<Arc<Definition>, Arc<str>>,
    /// Which types it was called with by name.
    pub(crate) types: TypeCheck,
}

impl Function {
    pub(crate) fn export(&self) -> &Export {
        &self.module.exports[self.export]
    }

    /// As errors report it.
    #[inline]
    pub(crate) fn callee(&self) -> Callee<'_> {
        Callee { name: &self.name, payload_type: self.export().payload_type.as_ref() }
    }
}

/// Where a name's current function stands; handles keep it across redefinitions.
pub(crate) type Slot = ArcSwapOption<Function>;

#[derive(Debug)]
pub(crate) struct Registry {
    engines: Arc<Engines>,
    /// How many instances there may be at once.
    max_instances: usize,
    compiler: Compiler,
    functions: ArcSwap<NameMap<Slot>>,
    constants: Arc<ArcSwap<Constants>>,
    host_functions: Arc<ArcSwap<HostFunctions>>,
    sources: Mutex<Sources>,
    generations: Counter,
}

/// What was defined, as it was given. Writers look here, and whoever wants to know what is defined;
/// calls never do.
#[derive(Debug, Default)]
struct Sources {
    groups: BTreeMap<u64, Arc<Group>>,
    /// Which group defines a function.
    functions: BTreeMap<Arc<str>, u64>,
    dependencies: Dependencies,
    importers: Importers,
    types: Types,
}

/// A writer's turn. What it replaces is dropped when the turn is over: what the embedder's closures and
/// writers hold may use the pool as it goes.
struct Turn<'a> {
    // Dropped in this order.
    sources: MutexGuard<'a, Sources>,
    replaced: Vec<Box<dyn Any + Send + Sync>>,
}

impl Turn<'_> {
    fn replace(&mut self, what: impl Any + Send + Sync) {
        self.replaced.push(Box::new(what));
    }
}

/// Functions defined together, which share their sandboxes.
#[derive(Debug, Clone)]
struct Group {
    what: Arc<str>,
    module: Arc<Module>,
    profile: Profile,
    /// To compile it again where a dependency needs a heap for exceptions; `None` where it has no dependencies.
    source: Option<WasmModule>,
    limits: Arc<Limits>,
    wasi: Option<Arc<Wasi>>,
    /// Each with the index of its export.
    functions: Vec<(Arc<str>, usize)>,
}

/// What is told of a defined dependency.
#[derive(Debug, Clone)]
pub(crate) struct DependencyEntry {
    pub(crate) alias: Arc<str>,
    pub(crate) module: Arc<Module>,
    /// Every alias it needs, itself and through others.
    pub(crate) needs: Vec<String>,
    /// Whether all of those are there.
    pub(crate) is_whole: bool,
}

impl Group {
    fn new(
        what: String,
        module: Arc<Module>,
        source: &WasmModule,
        profile: Profile,
        functions: Vec<(Arc<str>, usize)>,
    ) -> Result<Self, Error> {
        let mut limits = Arc::clone(&source.limits);
        // A program runs once.
        if functions.iter().any(|(_, at)| module.exports[*at].convention == Convention::Command) {
            Arc::make_mut(&mut limits).recycle_after_calls = Some(1);
        }
        let wasi = source.grants.open_wasi(&what)?;
        let has_dependencies = !module.requirements.dependencies.is_empty();
        let source = has_dependencies.then(|| source.clone());
        Ok(Self { what: what.into(), module, profile, source, limits, wasi, functions })
    }
}

impl Registry {
    pub(crate) fn new(engines: Arc<Engines>, max_instances: usize) -> Self {
        Self {
            max_instances,
            compiler: Compiler::new(Arc::clone(&engines)),
            engines,
            functions: ArcSwap::default(),
            constants: Arc::default(),
            host_functions: Arc::default(),
            sources: Mutex::default(),
            generations: Counter::default(),
        }
    }

    // Readers.

    pub(crate) fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.functions.load().get(name).cloned()
    }

    pub(crate) fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.functions.load().get(name)?.load_full()
    }

    /// Every function, by name.
    pub(crate) fn functions(&self) -> Vec<Arc<Function>> {
        let functions = self.functions.load();
        let mut functions: Vec<_> =
            functions.values().filter_map(|slot| slot.load_full()).collect();
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        functions
    }

    /// Forgets how every definition fared on a worker that is no more.
    pub(crate) fn forget_worker(&self, worker: WorkerId) {
        for function in self.functions() {
            if let Ok(definition) = &function.definition {
                definition.circuit_breaker.retain(|id| id != worker);
            }
        }
    }

    pub(crate) fn dependencies(&self) -> Vec<DependencyEntry> {
        let sources = self.lock();
        let entry = |(alias, dependency): (&Arc<str>, &Arc<Dependency>)| {
            let needs = reached(&dependency.module, &sources.dependencies);
            DependencyEntry {
                alias: Arc::clone(alias),
                module: Arc::clone(&dependency.module),
                is_whole: needs.iter().all(|alias| sources.dependencies.contains_key(*alias)),
                needs: needs.into_iter().map(str::to_owned).collect(),
            }
        };
        sources.dependencies.iter().map(entry).collect()
    }

    /// Every alias `module` needs, itself and through others, in order.
    pub(crate) fn required_aliases(&self, module: &Module) -> Vec<String> {
        let sources = self.lock();
        reached(module, &sources.dependencies).into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn constants(&self) -> &Arc<ArcSwap<Constants>> {
        &self.constants
    }

    /// Whether host functions of all these names are defined.
    pub(crate) fn has_host_functions(&self, names: &BTreeSet<String>) -> bool {
        let defined = self.host_functions.load();
        names.iter().all(|name| defined.contains_key(name.as_str()))
    }

    // Writers.

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Turn<'_> {
        Turn { sources: self.lock(), replaced: Vec::new() }
    }

    /// The turn of a definition, unless its caller has withdrawn it. What is defined after the withdrawal has a later turn,
    /// so that it is never replaced by what was withdrawn.
    fn turn_to_define(&self, what: &str, interest: &Interest) -> Result<Turn<'_>, Error> {
        let turn = self.turn();
        if interest.has_ended() {
            return Err(Error::Cancelled { function: what.to_owned(), ran: false });
        }
        Ok(turn)
    }

    /// Defines one function.
    pub(crate) fn define_function(
        &self,
        name: &str,
        source: &WasmModule,
        interest: &Interest,
    ) -> Result<Arc<Function>, Error> {
        check_name("function", name)?;
        let what = format!("function \"{name}\"");
        let title = source.title(|| format!("the module of {what}"));
        let profile = self.profile(source);
        let module = self.compiler.compile(&title, source, profile)?;
        let export = module.export_for(&title, name, source.export.as_deref())?.name.clone();
        let export = position(&module, &export);
        let functions = vec![(name.into(), export)];
        let mut functions =
            self.define_group(Group::new(what, module, source, profile, functions)?, interest)?;
        // One function was defined.
        Ok(functions.remove(0))
    }

    /// Defines every function a module offers, under its export's name. An export whose name could forge a line
    /// of a log is left out; by [`WasmModule::export`] it can be defined under another.
    pub(crate) fn define_module(
        &self,
        source: &WasmModule,
        interest: &Interest,
    ) -> Result<Vec<Arc<Function>>, Error> {
        if let Some(export) = &source.export {
            return Err(Error::InvalidOptions {
                problems: vec![format!(
                    "`export` (\"{export}\") has no use where every function of a module is defined"
                )],
            });
        }
        let profile = self.profile(source);
        let title = source
            .title(|| format!("the module with the SHA-1 {}", FunctionHash::of(&source.bytes)));
        let module = self.compiler.compile(&title, source, profile)?;
        let what = source.title(|| format!("functions {}", module.offered_names().join(", ")));
        if module.offers().is_empty() {
            return Err(Error::MissingExport {
                what: title,
                wanted: "any".to_owned(),
                offered: Vec::new(),
            });
        }
        let (offered, left_out): (Vec<_>, Vec<_>) = module
            .offers()
            .into_iter()
            .partition(|(_, export)| wpc_abi::names::is_export_name(&export.name));
        if let ([], [(_, export), ..]) = (offered.as_slice(), left_out.as_slice()) {
            return Err(Error::InvalidName {
                what: "function",
                name: export.name.clone(),
                rule: wpc_abi::names::EXPORT_NAME_RULE,
            });
        }
        let functions = offered.iter().map(|(at, export)| (Arc::from(export.name.as_str()), *at));
        if !source.has_separate_sandboxes {
            let functions = functions.collect();
            let group = Group::new(what, module, source, profile, functions)?;
            return self.define_group(group, interest);
        }
        let groups = functions.map(|(name, at)| {
            let what = format!("function \"{name}\"");
            Group::new(what, Arc::clone(&module), source, profile, vec![(name, at)])
        });
        self.define_groups(groups.collect::<Result<_, _>>()?, interest)
    }

    fn profile(&self, source: &WasmModule) -> Profile {
        self.engines.profile(&source.limits, source.has_canonical_nans)
    }

    fn define_group(&self, group: Group, interest: &Interest) -> Result<Vec<Arc<Function>>, Error> {
        self.define_groups(vec![group], interest)
    }

    /// Defines all groups or none.
    fn define_groups(
        &self,
        groups: Vec<Group>,
        interest: &Interest,
    ) -> Result<Vec<Arc<Function>>, Error> {
        // Compiling takes its time, and others may define meanwhile: what the turn needs is made
        // before it, and kept until it is over.
        let dependencies = self.lock().dependencies.clone();
        let resolved = groups.iter().map(|group| self.resolve(group, &dependencies));
        let _made = resolved.collect::<Result<Vec<_>, _>>()?;
        let what = groups.first().map_or("no function", |group| &group.what);
        let mut turn = self.turn_to_define(what, interest)?;
        for group in &groups {
            turn.sources.types.check_module(&group.what, &group.module)?;
        }
        let linked = groups.iter().map(|group| self.link(group, &turn.sources.dependencies));
        let linked = linked.collect::<Result<Vec<_>, _>>()?;
        for (group, defined) in groups.into_iter().zip(&linked) {
            let id = self.generations.next();
            let names = group.functions.iter().map(|(name, _)| Arc::clone(name));
            let forgotten = turn.sources.forget_functions(names);
            turn.replace(forgotten);
            for (name, _) in &group.functions {
                turn.sources.functions.insert(Arc::clone(name), id);
            }
            let importer = Importer::Group(id);
            turn.sources.importers.add(&importer, &group.module);
            turn.sources.types.add(&importer, &group.what, &group.module);
            turn.sources.groups.insert(id, Arc::new(group));
            self.publish(defined, &mut turn);
        }
        Ok(linked.into_iter().flatten().collect())
    }

    /// Forgets a function; false where there was none.
    pub(crate) fn undefine_function(&self, name: &str) -> bool {
        let mut turn = self.turn();
        let forgotten = turn.sources.forget_functions(std::iter::once(Arc::from(name)));
        if forgotten.is_empty() {
            return false;
        }
        turn.replace(forgotten);
        let names = self.functions.load_full();
        self.functions.store(Arc::new(names.remove(name)));
        if let Some(function) = names.get(name).and_then(|slot| slot.swap(None)) {
            take_away(&function);
            turn.replace(function);
        }
        true
    }

    /// Defines a dependency and links everything anew that reaches it.
    pub(crate) fn define_dependency(
        &self,
        alias: &str,
        source: &WasmModule,
        interest: &Interest,
    ) -> Result<(), Error> {
        check_name("dependency", alias)?;
        if alias == wpc_abi::names::HOST_MODULE {
            let (what, name) = ("dependency", alias.to_owned());
            return Err(Error::InvalidName {
                what,
                name,
                rule: "another: this is the host's own import module",
            });
        }
        let what = format!("dependency \"{alias}\"");
        if source.export.is_some() {
            return Err(Error::InvalidOptions {
                problems: vec![format!(
                    "`export` of {what} has no use: all its exports can be linked"
                )],
            });
        }
        // How its code is made is up to the functions that use it. As with functions, what the turn
        // needs is made before it.
        let plain = self.engines.plain();
        let title = source.title(|| format!("the module of {what}"));
        let module = self.compiler.compile(&title, source, plain)?;
        let wasi = source.grants.open_wasi(&what)?;
        let dependency = Arc::new(Dependency { module, source: source.clone(), wasi });
        let (groups, dependencies) = {
            let sources = self.lock();
            let dependencies = sources.dependencies.insert(alias.into(), Arc::clone(&dependency));
            (sources.groups_above(alias), dependencies)
        };
        let _made = groups
            .iter()
            .map(|group| self.resolve(group, &dependencies))
            .collect::<Result<Vec<_>, _>>()?;
        let mut turn = self.turn_to_define(&what, interest)?;
        turn.sources.types.check_module(&what, &dependency.module)?;
        let dependencies = turn.sources.dependencies.insert(alias.into(), dependency);
        // Circles and links that do not fit are refused even where no function reaches them yet.
        let profile = match dependencies.get(alias) {
            Some(dependency) => common_profile(plain, &dependency.module, &dependencies),
            None => plain,
        };
        let resolver = Resolver::new(&dependencies, &self.compiler, profile);
        if let Some(nodes) = resolver.resolve_alias(alias)? {
            self.blueprint(&what, profile, self.max_instances, &nodes)?;
        }
        self.relink(&mut turn, dependencies, alias)
    }

    /// Forgets a dependency; false where there was none.
    pub(crate) fn undefine_dependency(&self, alias: &str) -> Result<bool, Error> {
        let mut turn = self.turn();
        if !turn.sources.dependencies.contains_key(alias) {
            return Ok(false);
        }
        let dependencies = turn.sources.dependencies.remove(alias);
        self.relink(&mut turn, dependencies, alias)?;
        Ok(true)
    }

    /// Links every group that reaches `alias` with `dependencies`, and publishes all or nothing.
    fn relink(
        &self,
        turn: &mut Turn<'_>,
        dependencies: Dependencies,
        alias: &str,
    ) -> Result<(), Error> {
        let mut defined = Vec::new();
        // What is above the alias does not change with it.
        for group in turn.sources.groups_above(alias) {
            defined.extend(self.link(&group, &dependencies)?);
        }
        let sources = &mut *turn.sources;
        let importer = Importer::Dependency(alias.into());
        if let Some(dependency) = sources.dependencies.get(alias) {
            sources.importers.remove(&importer, &dependency.module);
            sources.types.remove(&importer, &dependency.module);
        }
        if let Some(dependency) = dependencies.get(alias) {
            sources.importers.add(&importer, &dependency.module);
            let what = format!("dependency \"{alias}\"").into();
            sources.types.add(&importer, &what, &dependency.module);
        }
        let replaced = std::mem::replace(&mut sources.dependencies, dependencies);
        turn.replace(replaced);
        self.publish(&defined, turn);
        Ok(())
    }

    /// Defines a constant, if its type is the one that defined modules declare.
    pub(crate) fn define_constant(
        &self,
        name: &str,
        ty: ConstantType,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        check_name("constant", name)?;
        let mut sources = self.lock();
        sources.types.define_constant(name, ty)?;
        let constants = self.constants.load().insert(name.into(), value.into());
        self.constants.store(Arc::new(constants));
        Ok(())
    }

    /// Forgets a constant; false where there was none.
    pub(crate) fn undefine_constant(&self, name: &str) -> bool {
        let mut sources = self.lock();
        sources.types.undefine_constant(name);
        let constants = self.constants.load_full();
        self.constants.store(Arc::new(constants.remove(name)));
        constants.contains_key(name)
    }

    pub(crate) fn host_functions(&self) -> &Arc<ArcSwap<HostFunctions>> {
        &self.host_functions
    }

    /// Defines a host function, if its types are those that defined modules declare.
    pub(crate) fn define_host_function(
        &self,
        name: &str,
        signature: Option<Signature>,
        function: HostFunction,
    ) -> Result<(), Error> {
        check_name("host function", name)?;
        let mut turn = self.lock();
        turn.types.define_host_function(name, signature)?;
        let functions = self.host_functions.load().insert(name.into(), Arc::new(function));
        let replaced = self.host_functions.swap(Arc::new(functions));
        // What a closure holds may use the pool when it is dropped.
        drop(turn);
        drop(replaced);
        Ok(())
    }

    /// Forgets a host function; false where there was none.
    pub(crate) fn undefine_host_function(&self, name: &str) -> bool {
        let mut turn = self.lock();
        turn.types.undefine_host_function(name);
        let functions = self.host_functions.load().remove(name);
        let replaced = self.host_functions.swap(Arc::new(functions));
        drop(turn);
        replaced.contains_key(name)
    }

    /// The group's functions, linked as far as its dependencies are there.
    fn link(
        &self,
        group: &Group,
        dependencies: &Dependencies,
    ) -> Result<Vec<Arc<Function>>, Error> {
        let profile = common_profile(group.profile, &group.module, dependencies);
        let definition = match self.resolve(group, dependencies)? {
            Err(missing) => Err(missing),
            Ok(nodes) => {
                let blueprint =
                    self.blueprint(&group.what, profile, group.limits.instances, &nodes)?;
                let mut constants: Vec<_> = nodes
                    .iter()
                    .flat_map(|node| node.module.requirements.constants.clone())
                    .collect();
                constants.sort();
                constants.dedup();
                Ok(Arc::new(Definition {
                    generation: Generation(self.generations.next()),
                    blueprint: Arc::new(blueprint),
                    limits: Arc::clone(&group.limits),
                    constants,
                    host_functions: nodes
                        .iter()
                        .flat_map(|node| node.module.requirements.host_functions.clone())
                        .collect(),
                    circuit_breaker: CircuitBreaker::default(),
                    users: AtomicUsize::new(group.functions.len()),
                }))
            }
        };
        let function = |(name, export): &(Arc<str>, usize)| {
            Arc::new(Function {
                name: Arc::clone(name),
                module: Arc::clone(&group.module),
                export: *export,
                definition: definition.clone(),
                types: TypeCheck::default(),
            })
        };
        Ok(group.functions.iter().map(function).collect())
    }

    /// The modules a group needs, or the alias that is missing.
    fn resolve(
        &self,
        group: &Group,
        dependencies: &Dependencies,
    ) -> Result<Result<Vec<Node>, Arc<str>>, Error> {
        let profile = common_profile(group.profile, &group.module, dependencies);
        let module = match &group.source {
            Some(source) if group.module.profile != profile => {
                &self.compiler.compile(&group.what, source, profile)?
            }
            _ => &group.module,
        };
        let resolver = Resolver::new(dependencies, &self.compiler, profile);
        resolver.resolve(&group.what, module, &group.wasi)
    }

    fn blueprint(
        &self,
        what: &str,
        profile: Profile,
        most: usize,
        nodes: &[Node],
    ) -> Result<Blueprint, Error> {
        for (limit, option) in [
            (self.max_instances, Setting::Options("max_live_instances")),
            (most, Setting::Limits("instances")),
        ] {
            if nodes.len() > limit {
                let (what, needed) = (what.to_owned(), nodes.len());
                return Err(Error::TooManyInstances { what, needed, limit, option });
            }
        }
        let counter = self.engines.without_pool(profile);
        Blueprint::link(&self.engines.get(profile)?, profile.stack, counter, nodes)
    }

    /// Puts functions in the place of what was under their names.
    fn publish(&self, defined: &[Arc<Function>], turn: &mut Turn<'_>) {
        let before = self.functions.load_full();
        let mut names = NameMap::clone(&before);
        for function in defined {
            if let Some(slot) = before.get(&function.name) {
                if let Some(replaced) = slot.swap(Some(Arc::clone(function))) {
                    take_away(&replaced);
                    turn.replace(replaced);
                }
            } else {
                let slot = Arc::<Slot>::default();
                slot.store(Some(Arc::clone(function)));
                names.insert_mut(Arc::clone(&function.name), slot);
            }
        }
        // New names are all there at once.
        if names.size() > before.size() {
            self.functions.store(Arc::new(names));
        }
    }
}

/// Tells a definition that one function less uses it; with the last one it is retired.
fn take_away(function: &Function) {
    if let Ok(definition) = &function.definition {
        definition.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Sources {
    /// The groups that reach a dependency, in the order in which they were defined.
    fn groups_above(&self, alias: &str) -> Vec<Arc<Group>> {
        let groups = self.importers.groups_above(alias);
        groups.iter().filter_map(|id| self.groups.get(id).cloned()).collect()
    }

    /// Takes functions out of the groups that defined them; gives those groups back.
    fn forget_functions(&mut self, names: impl Iterator<Item = Arc<str>>) -> Vec<Arc<Group>> {
        let mut forgotten: BTreeMap<u64, BTreeSet<Arc<str>>> = BTreeMap::new();
        for name in names {
            if let Some(id) = self.functions.remove(&name) {
                forgotten.entry(id).or_default().insert(name);
            }
        }
        let mut replaced = Vec::new();
        for (id, names) in &forgotten {
            let Some(group) = self.groups.remove(id) else { continue };
            let left = group.functions.iter().filter(|(name, _)| !names.contains(name));
            let left = left.cloned().collect::<Vec<_>>();
            if left.is_empty() {
                let importer = Importer::Group(*id);
                self.importers.remove(&importer, &group.module);
                self.types.remove(&importer, &group.module);
            } else {
                let group = Group { functions: left, ..Group::clone(&group) };
                self.groups.insert(*id, Arc::new(group));
            }
            replaced.push(group);
        }
        replaced
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    if wpc_abi::names::is_valid(name) {
        Ok(())
    } else {
        Err(Error::InvalidName { what, name: name.to_owned(), rule: wpc_abi::names::NAME_RULE })
    }
}

fn position(module: &Module, export: &str) -> usize {
    module.exports.iter().position(|other| other.name == export).unwrap_or_default()
}
