//! What the sandboxes of a definition are created from: its module and those of its dependencies, linked as far as
//! possible without a store.

use super::failure::Failure;
use super::imports;
use super::invoke::initialise;
use super::nested;
use super::node::Node;
use super::state::{Buffer, Instance, State};
use super::wasi::{self, Context};
use crate::definition::limits::Limits;
use crate::definition::wasi::grant::Wasi;
use crate::definition::wasi::may_wait;
use crate::error::Error;
use crate::host_function::bindings::{Bindings, CurrentBindings, LastBindings};
use crate::metrics::SandboxGauge;
use crate::module::engine::{CountedSandbox, Profile, WithoutPool};
use crate::module::signature;
use crate::module::{Module, describe};
use std::collections::BTreeSet;
use std::sync::Arc;
use wasmtime::{Extern, ExternType, FuncType, InstancePre, Linker, Store, TypedFunc};
use wpc_abi::names;

/// The linked modules of a definition: dependencies first, the definition's own module last.
pub(crate) struct Blueprint {
    engine: wasmtime::Engine,
    profile: Profile,
    /// Counts its sandboxes if they have a GC heap, and so are outside of the instance pool.
    without_pool: Option<Arc<WithoutPool>>,
    /// A slice, because most blueprints have one part and there is one for each function.
    parts: Box<[Part]>,
    /// The constants that the modules declare, sorted.
    constants: Arc<[String]>,
    last_bindings: Arc<LastBindings>,
    gauge: Arc<SandboxGauge>,
}

pub(super) struct Part {
    what: Arc<str>,
    module: Arc<Module>,
    imports: Imports,
    /// Set if the module imports from WASI.
    wasi: Option<Arc<Wasi>>,
}

/// The sources of a module's imports.
enum Imports {
    /// All from the host, so the module is ready to be instantiated.
    Ready(InstancePre<State>),
    /// Some from other instances. Boxed because it is larger and rare.
    Mixed(Box<Mixed>),
}

struct Mixed {
    linker: Linker<State>,
    sources: Vec<Source>,
}

enum Source {
    Host { module: String, name: String },
    Instance { at: usize, name: String },
}

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blueprint").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl Blueprint {
    /// Links the modules and checks that every import exists and has the expected type.
    pub(crate) fn link(
        engine: &wasmtime::Engine,
        profile: Profile,
        without_pool: Option<Arc<WithoutPool>>,
        nodes: &[Node],
    ) -> Result<Self, Error> {
        let part = |at| link_part(engine, profile, nodes, at);
        let parts = (0..nodes.len()).map(part).collect::<Result<Box<[_]>, _>>()?;
        let constants = nodes.iter().flat_map(|node| node.module.requirements.constants.clone());
        let mut constants: Vec<_> = constants.collect();
        constants.sort();
        Ok(Self {
            engine: engine.clone(),
            profile,
            without_pool,
            parts,
            constants: constants.into(),
            last_bindings: Arc::default(),
            gauge: Arc::default(),
        })
    }

    /// Records the bindings that are used by calls that still run this definition after it was replaced, or with which a
    /// definition is checked.
    pub(crate) fn retire(&self, bindings: &Arc<Bindings>) {
        self.last_bindings.keep(bindings);
    }

    /// The bindings for its calls: the current ones until it is retired.
    pub(crate) fn bindings(&self, current: &dyn CurrentBindings) -> Arc<Bindings> {
        self.last_bindings.or_current(current)
    }

    pub(super) fn last_bindings(&self) -> &Arc<LastBindings> {
        &self.last_bindings
    }

    /// Whether one of its modules can yield items.
    pub(crate) fn yields_items(&self) -> bool {
        self.parts.iter().any(|part| part.module.requirements.yields_items)
    }

    /// The imports of WASI in which a guest may wait.
    pub(crate) fn waiting_imports(&self) -> impl Iterator<Item = String> {
        let of_part = |part: &Part| {
            let imports = part.module.requirements.wasi.iter();
            let waiting = imports.filter(|import| may_wait(import, part.wasi.as_deref()));
            waiting.cloned().collect::<Vec<_>>()
        };
        let imports: BTreeSet<_> = self.parts.iter().flat_map(of_part).collect();
        imports.into_iter()
    }

    /// Its sandboxes at the moment.
    pub(crate) fn gauge(&self) -> &Arc<SandboxGauge> {
        &self.gauge
    }

    /// The constants that the modules declare, sorted.
    pub(super) fn constants(&self) -> &Arc<[String]> {
        &self.constants
    }

    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// The stack size of guests, in bytes.
    pub(crate) fn stack(&self) -> usize {
        self.profile.stack
    }

    /// Creates the WASI contexts of a sandbox, in the order of the modules that use WASI.
    pub(super) fn wasi(&self, state: &State, limits: &Limits) -> Result<Vec<Context>, Failure> {
        let granted = self.parts.iter().filter_map(|part| part.wasi.as_ref());
        granted
            .map(|granted| {
                let files = limits.open_files;
                Context::new(granted, files, &state.environment, &state.volume)
            })
            .collect()
    }

    /// The number of instances in a sandbox.
    pub(crate) fn instances(&self) -> usize {
        self.parts.len()
    }

    /// Whether its sandboxes have a GC heap, and so are outside of the instance pool.
    pub(super) fn is_without_pool(&self) -> bool {
        self.without_pool.is_some()
    }

    /// Counts a new sandbox if it is outside of the instance pool.
    pub(super) fn count(&self) -> Option<CountedSandbox> {
        let counter = self.without_pool.as_ref()?;
        let memories = self.parts.iter().map(|part| part.module.wasm.resources_required());
        let memories: u64 = memories.map(|resources| u64::from(resources.num_memories)).sum();
        // The GC heap is one more memory.
        Some(counter.count(self.parts.len() as u64, memories + 1))
    }

    /// The number of directories that a sandbox opens.
    pub(super) fn directories(&self) -> usize {
        let granted = self.parts.iter().filter_map(|part| part.wasi.as_ref());
        granted.map(|granted| granted.directory_count()).sum()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter()
    }

    /// Creates every instance in `store`, and runs start functions and initialisers.
    pub(super) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<()> {
        for (at, part) in self.parts.iter().enumerate() {
            part.begin(store);
            let instance = part.instantiate(store)?;
            let Hooks { initialize, init } = part.register(store, instance)?;
            if let Some(initialize) = initialize {
                initialize.call(&mut *store, ())?;
            }
            if let Some(init) = init {
                initialise(&mut *store, at, &init)?;
            }
        }
        Ok(())
    }
}

/// The functions that initialise an instance.
pub(super) struct Hooks {
    /// The initialiser of a WASI reactor.
    pub(super) initialize: Option<TypedFunc<(), ()>>,
    pub(super) init: Option<TypedFunc<(), u64>>,
}

impl Part {
    /// Names the module that is being instantiated, for errors.
    pub(super) fn begin(&self, store: &mut Store<State>) {
        store.data_mut().instantiating = Some(Arc::clone(&self.what));
    }

    fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<wasmtime::Instance> {
        match &self.imports {
            Imports::Ready(pre) => pre.instantiate(store),
            Imports::Mixed(mixed) => {
                let imports = mixed.imports(store)?;
                wasmtime::Instance::new(store, &self.module.wasm, &imports)
            }
        }
    }

    pub(super) async fn instantiate_on_fiber(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<wasmtime::Instance> {
        match &self.imports {
            Imports::Ready(pre) => pre.instantiate_async(store).await,
            Imports::Mixed(mixed) => {
                let imports = mixed.imports(store)?;
                wasmtime::Instance::new_async(store, &self.module.wasm, &imports).await
            }
        }
    }

    /// Keeps an instance of the module in its store.
    pub(super) fn register(
        &self,
        store: &mut Store<State>,
        instance: wasmtime::Instance,
    ) -> wasmtime::Result<Hooks> {
        let memory = instance.get_memory(&mut *store, "memory");
        let buffer = if self.module.has_buffer {
            let function = instance.get_typed_func(&mut *store, names::BUFFER_EXPORT)?;
            Some(Buffer { function, ptr: 0, capacity: 0 })
        } else {
            None
        };
        store.data_mut().instances.push(Instance { instance, memory, buffer });
        let (has_initialize, has_init) = (self.module.has_initialize, self.module.has_init);
        let initialize = has_initialize
            .then(|| instance.get_typed_func(&mut *store, "_initialize"))
            .transpose()?;
        let init = has_init
            .then(|| instance.get_typed_func(&mut *store, names::INIT_EXPORT))
            .transpose()?;
        Ok(Hooks { initialize, init })
    }
}

impl Mixed {
    fn imports(&self, store: &mut Store<State>) -> wasmtime::Result<Vec<Extern>> {
        self.sources.iter().map(|source| self.import(store, source)).collect()
    }

    fn import(&self, store: &mut Store<State>, source: &Source) -> wasmtime::Result<Extern> {
        let (found, name) = match source {
            Source::Host { module, name } => {
                (self.linker.get(&mut *store, module, name).ok(), name)
            }
            Source::Instance { at, name } => {
                let instance = store.data().instances[*at].instance;
                (instance.get_export(&mut *store, name), name)
            }
        };
        found.ok_or_else(|| {
            wasmtime::Error::new(Failure::Link(format!("the import \"{name}\" no longer exists")))
        })
    }
}

/// The functions that the host links for a module: everything that it can call except items of other guests.
pub(super) struct HostSide {
    pub(super) linker: Linker<State>,
    /// Set if the module imports from WASI.
    wasi: Option<Arc<Wasi>>,
    /// Whether it imports items of its dependencies directly.
    links_directly: bool,
}

/// Links everything that the host offers the module. All linking of host functions belongs here, because a test walks this
/// linker.
pub(super) fn link_host_side(
    engine: &wasmtime::Engine,
    profile: Profile,
    nodes: &[Node],
    at: usize,
) -> Result<HostSide, Error> {
    let Node { what, module, dependencies, wasi: granted, .. } = &nodes[at];
    let internal = |error: wasmtime::Error| link_error(what, &error);
    let mut linker = imports::host_linker(engine, at).map_err(internal)?;
    if profile.has_fibers {
        imports::link_yield(&mut linker, at).map_err(internal)?;
    }
    for name in &module.requirements.host_functions {
        let link = if profile.has_fibers {
            imports::link_suspending_host_function
        } else {
            imports::link_host_function
        };
        link(&mut linker, at, name).map_err(internal)?;
    }
    // Every profile of a module that calls functions has fibers.
    if profile.has_fibers {
        nested::link(&mut linker, at, &nodes[at]).map_err(internal)?;
    }
    let uses_wasi = |node: &Node| !node.module.requirements.wasi.is_empty();
    let mut wasi = None;
    if uses_wasi(&nodes[at]) {
        let before = nodes[..at].iter().filter(|node| uses_wasi(node)).count();
        let (granted, has_fibers) = (granted.as_ref(), profile.has_fibers);
        let linked = wasi::link(&mut linker, at, before, granted, has_fibers);
        wasi = Some(linked.map_err(internal)?);
    }
    let mut links_directly = false;
    for (alias, imported) in &module.requirements.dependencies {
        let callee = dependencies[alias];
        let refuse = |export: &str, reason: String| Error::DependencyExport {
            importer: what.to_string(),
            alias: alias.clone(),
            export: export.to_owned(),
            reason,
        };
        let linked = imported.linked.iter().map(|(export, _)| export);
        if let Some(export) = imported.typed.keys().chain(linked).next()
            && nodes[callee].module.is_command()
        {
            let reason = "it is a WASI command, which only its `_start` initialises and which can only be defined as a function; build it as a reactor";
            return Err(refuse(export, reason.to_owned()));
        }
        for (export, declared) in &imported.typed {
            let found = nodes[callee]
                .module
                .export(export)
                .ok_or_else(|| refuse(export, missing(&nodes[callee].module, export)))?;
            if let Some(signature) = signature::known(found) {
                let function = || format!("function \"{export}\" of dependency \"{alias}\"");
                signature::check(what, function, declared, &signature)?;
            }
            let (item, convention) = (found.item().into_owned(), found.convention.clone());
            let target = imports::Target { callee, alias: alias.clone(), item, convention };
            let import = (&*format!("{}{alias}", names::TYPED_DEPENDENCY_PREFIX), &**export);
            let link = if profile.has_fibers {
                imports::link_suspending_typed
            } else {
                imports::link_typed
            };
            link(&mut linker, at, import, target).map_err(internal)?;
        }
        for (export, wanted) in &imported.linked {
            links_directly = true;
            let (_, found) = nodes[callee]
                .module
                .linked(export)
                .ok_or_else(|| refuse(export, missing(&nodes[callee].module, export)))?;
            if !fits(&found, wanted) {
                let (found, wanted) = (describe(&found), describe(wanted));
                return Err(refuse(export, format!("it must be {wanted}, but is {found}")));
            }
        }
    }
    Ok(HostSide { linker, wasi, links_directly })
}

fn link_part(
    engine: &wasmtime::Engine,
    profile: Profile,
    nodes: &[Node],
    at: usize,
) -> Result<Part, Error> {
    let Node { what, module, dependencies, .. } = &nodes[at];
    let HostSide { linker, wasi, links_directly } = link_host_side(engine, profile, nodes, at)?;
    let imports = if links_directly {
        let sources = module.wasm.imports().map(|import| {
            let name = import.name().to_owned();
            match dependencies.get(import.module()) {
                Some(&at) => {
                    let linked = nodes[at].module.linked(&name);
                    let name = linked.map_or(name.clone(), |(item, _)| item.into_owned());
                    Source::Instance { at, name }
                }
                None => Source::Host { module: import.module().to_owned(), name },
            }
        });
        let sources = sources.collect();
        Imports::Mixed(Box::new(Mixed { linker, sources }))
    } else {
        let pre = linker.instantiate_pre(&module.wasm);
        Imports::Ready(pre.map_err(|error| link_error(what, &error))?)
    };
    Ok(Part { what: Arc::clone(what), module: Arc::clone(module), imports, wasi })
}

fn link_error(what: &str, error: &wasmtime::Error) -> Error {
    Error::InvalidModule {
        what: what.to_owned(),
        reason: format!("it cannot be linked: {error:#}"),
    }
}

fn missing(module: &Module, export: &str) -> String {
    let offered = module.offered_names();
    let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
    match module.wasm.get_export(export) {
        Some(found) => format!("it cannot be called because it is {}", describe(&found)),
        None => format!("it has no such export; its exports: {offered}"),
    }
}

/// Whether an export can be linked to an import. The engine checks sizes of memories and tables when the sandbox is
/// created.
fn fits(found: &ExternType, wanted: &ExternType) -> bool {
    match (found, wanted) {
        (ExternType::Func(found), ExternType::Func(wanted)) => found.matches(wanted),
        (ExternType::Global(found), ExternType::Global(wanted)) => {
            found.mutability() == wanted.mutability() && found.content().matches(wanted.content())
        }
        (ExternType::Tag(found), ExternType::Tag(wanted)) => FuncType::eq(found.ty(), wanted.ty()),
        (ExternType::Memory(_), ExternType::Memory(_))
        | (ExternType::Table(_), ExternType::Table(_)) => true,
        _ => false,
    }
}
