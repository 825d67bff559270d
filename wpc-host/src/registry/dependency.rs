//! Defined dependencies, and the order in which a module's dependencies are instantiated.

use crate::definition::WasmModule;
use crate::definition::wasi::grant::Wasi;
use crate::definition::wasi::may_wait;
use crate::error::Error;
use crate::module::Module;
use crate::module::compiler::Compiler;
use crate::module::engine::Profile;
use crate::sandbox::Node;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Every defined dependency, by alias. Cloning this persistent map takes constant time.
pub(crate) type Dependencies = RedBlackTreeMapSync<Arc<str>, Arc<Dependency>>;

/// Names of host functions.
pub(crate) type HostFunctionNames = RedBlackTreeSetSync<Arc<str>>;

#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) module: Arc<Module>,
    /// Kept to compile the module again for definitions of other profiles.
    pub(crate) source: WasmModule,
    pub(crate) wasi: Option<Arc<Wasi>>,
}

/// Every alias that `module` requires, directly or transitively. Cycles end the search.
pub(crate) fn reached<'a>(module: &'a Module, dependencies: &'a Dependencies) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = module.requirements.dependencies.keys().map(String::as_str).collect();
    while let Some(next) = open.pop() {
        if seen.insert(next)
            && let Some(dependency) = dependencies.get(next)
        {
            open.extend(dependency.module.requirements.dependencies.keys().map(String::as_str));
        }
    }
    seen
}

/// The profile in which `module` and its transitive dependencies can be linked: `profile`, with a GC heap and with fibers
/// if one of them needs these. `profile` is what the module itself needs for its WASI grant.
pub(crate) fn common_profile(
    profile: Profile,
    module: &Module,
    dependencies: &Dependencies,
    suspending: &HostFunctionNames,
) -> Profile {
    let reached = reached(module, dependencies).into_iter();
    let (mut has_gc_heap, mut can_suspend) = (false, false);
    let others = reached.filter_map(|alias| dependencies.get(alias)).map(|dependency| {
        let mut imports = dependency.module.requirements.wasi.iter();
        can_suspend |= imports.any(|import| may_wait(import, dependency.wasi.as_deref()));
        &*dependency.module
    });
    let others: Vec<_> = others.collect();
    for module in std::iter::once(module).chain(others) {
        has_gc_heap |= module.needs_gc_heap;
        let requirements = &module.requirements;
        can_suspend |= requirements.yields_items
            || requirements.calls_functions()
            || requirements.host_functions.iter().any(|name| suspending.contains(name.as_str()));
    }
    let profile = if has_gc_heap { profile.with_gc_heap() } else { profile };
    if can_suspend { profile.with_fibers() } else { profile }
}

/// The direct importers of each name, such as an alias, undefined names included. They make it unnecessary to search all
/// definitions for those that require a name.
#[derive(Debug, Default, Clone)]
struct Importers(RedBlackTreeMapSync<Arc<str>, RedBlackTreeSetSync<Importer>>);

/// The owner of an importing module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Importer {
    /// A dependency, by its alias.
    Dependency(Arc<str>),
    /// A group of functions, by its number.
    Group(u64),
}

impl Importers {
    fn add<'a>(&mut self, importer: &Importer, names: impl Iterator<Item = &'a String>) {
        for name in names {
            match self.0.get_mut(name.as_str()) {
                Some(of_name) => of_name.insert_mut(importer.clone()),
                None => {
                    let of_name = RedBlackTreeSetSync::new_sync().insert(importer.clone());
                    self.0.insert_mut(name.as_str().into(), of_name);
                }
            }
        }
    }

    fn remove<'a>(&mut self, importer: &Importer, names: impl Iterator<Item = &'a String>) {
        for name in names {
            let Some(of_name) = self.0.get_mut(name.as_str()) else { continue };
            of_name.remove_mut(importer);
            if of_name.is_empty() {
                self.0.remove_mut(name.as_str());
            }
        }
    }

    /// The owners of the modules that import `name` themselves.
    fn of(&self, name: &str) -> impl Iterator<Item = &Importer> {
        self.0.get(name).into_iter().flat_map(RedBlackTreeSetSync::iter)
    }
}

/// Which modules import which dependencies and host functions.
#[derive(Debug, Default, Clone)]
pub(crate) struct Imports {
    dependencies: Importers,
    host_functions: Importers,
}

impl Imports {
    pub(crate) fn add(&mut self, importer: &Importer, module: &Module) {
        self.dependencies.add(importer, module.requirements.dependencies.keys());
        self.host_functions.add(importer, module.requirements.host_functions.iter());
    }

    pub(crate) fn remove(&mut self, importer: &Importer, module: &Module) {
        self.dependencies.remove(importer, module.requirements.dependencies.keys());
        self.host_functions.remove(importer, module.requirements.host_functions.iter());
    }

    /// The groups whose modules require the dependency, directly or transitively.
    pub(crate) fn groups_above_dependency(&self, alias: &str) -> BTreeSet<u64> {
        self.groups_above(self.dependencies.of(alias), alias)
    }

    /// The groups whose modules, or dependencies of them, import the host function.
    pub(crate) fn groups_above_host_function(&self, name: &str) -> BTreeSet<u64> {
        // Host functions and dependencies have names of their own, so no alias was seen yet.
        self.groups_above(self.host_functions.of(name), "")
    }

    /// The groups among `importers` and above them. Cycles end the search.
    fn groups_above<'a>(
        &'a self,
        importers: impl Iterator<Item = &'a Importer>,
        alias: &'a str,
    ) -> BTreeSet<u64> {
        let (mut groups, mut seen) = (BTreeSet::new(), BTreeSet::from([alias]));
        let mut open: Vec<_> = importers.collect();
        while let Some(next) = open.pop() {
            match next {
                Importer::Group(id) => drop(groups.insert(*id)),
                Importer::Dependency(other) if seen.insert(other) => {
                    open.extend(self.dependencies.of(other));
                }
                Importer::Dependency(_) => {}
            }
        }
        groups
    }
}

/// The maximum length of a chain of dependencies. Each link takes an instance, and host stack while it is resolved.
const MAX_CHAIN: usize = 256;

/// Sorts a module's dependencies into the order in which they are instantiated.
pub(crate) struct Resolver<'a> {
    dependencies: &'a Dependencies,
    compiler: &'a Compiler,
    profile: Profile,
    nodes: Vec<Node>,
    /// The index of each visited alias; `None` if it or one of its dependencies is missing.
    at: HashMap<String, Option<usize>>,
    /// The aliases being visited, outermost first.
    path: Vec<String>,
    missing: Option<Arc<str>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        dependencies: &'a Dependencies,
        compiler: &'a Compiler,
        profile: Profile,
    ) -> Self {
        Self {
            dependencies,
            compiler,
            profile,
            nodes: Vec::new(),
            at: HashMap::new(),
            path: Vec::new(),
            missing: None,
        }
    }

    /// The nodes that a module requires, its own last; or the first missing alias.
    pub(crate) fn resolve(
        mut self,
        what: &Arc<str>,
        module: &Arc<Module>,
        wasi: &Option<Arc<Wasi>>,
        functions: &Arc<BTreeSet<String>>,
    ) -> Result<Result<Vec<Node>, Arc<str>>, Error> {
        // Nothing is compiled for a module whose dependencies are incomplete.
        if self.profile != self.compiler.plain() {
            let needed = reached(module, self.dependencies);
            let missing = needed.into_iter().find(|alias| !self.dependencies.contains_key(*alias));
            if let Some(missing) = missing {
                return Ok(Err(missing.into()));
            }
        }
        let dependencies = self.visit_all(module)?;
        if let Some(missing) = self.missing {
            return Ok(Err(missing));
        }
        let (what, module, wasi) = (Arc::clone(what), Arc::clone(module), wasi.clone());
        let functions = Arc::clone(functions);
        self.nodes.push(Node { what, module, dependencies, wasi, functions });
        Ok(Ok(self.nodes))
    }

    /// The nodes of a dependency, its own last; `None` if an alias is missing.
    pub(crate) fn resolve_alias(mut self, alias: &str) -> Result<Option<Vec<Node>>, Error> {
        Ok(self.visit_alias(alias)?.map(|_| self.nodes))
    }

    fn visit_all(&mut self, module: &Module) -> Result<HashMap<String, usize>, Error> {
        let mut found = HashMap::new();
        for alias in module.requirements.dependencies.keys() {
            if let Some(at) = self.visit_alias(alias)? {
                found.insert(alias.clone(), at);
            }
        }
        Ok(found)
    }

    /// The index of the alias's node; `None` if it or one of its dependencies is missing.
    fn visit_alias(&mut self, alias: &str) -> Result<Option<usize>, Error> {
        if let Some(at) = self.at.get(alias) {
            return Ok(*at);
        }
        if self.path.len() >= MAX_CHAIN {
            return Err(Error::DependencyChain { alias: self.path[0].clone(), limit: MAX_CHAIN });
        }
        if let Some(start) = self.path.iter().position(|other| other == alias) {
            let mut path = self.path.split_off(start);
            path.push(alias.to_owned());
            return Err(Error::DependencyCycle { path });
        }
        let Some(dependency) = self.dependencies.get(alias) else {
            self.missing.get_or_insert_with(|| alias.into());
            self.at.insert(alias.to_owned(), None);
            return Ok(None);
        };
        let what = format!("dependency \"{alias}\"");
        let module = if dependency.module.profile == self.profile {
            Arc::clone(&dependency.module)
        } else {
            self.compiler.compile(&what, &dependency.source, self.profile)?
        };
        self.path.push(alias.to_owned());
        let dependencies = self.visit_all(&module)?;
        self.path.pop();
        let is_complete = dependencies.len() == module.requirements.dependencies.len();
        let at = is_complete.then_some(self.nodes.len());
        if is_complete {
            let (what, wasi) = (what.into(), dependency.wasi.clone());
            let functions = Arc::clone(&dependency.source.grants.functions);
            self.nodes.push(Node { what, module, dependencies, wasi, functions });
        }
        self.at.insert(alias.to_owned(), at);
        Ok(at)
    }
}
