//! Links groups of functions with their dependencies.

use super::Registry;
use super::circuit_breaker::CircuitBreaker;
use super::dependency::Resolver;
use super::function::{Definition, Function};
use super::sources::{Group, Sources};
use crate::codec::type_check::TypeCheck;
use crate::definition::limits::Limits;
use crate::error::{Error, Setting};
use crate::id::Generation;
use crate::module::engine::Profile;
use crate::sandbox::{Blueprint, Node};
use crate::sync::atomic::AtomicUsize;
use std::sync::Arc;

impl Registry {
    /// The group's functions. They are not linked if a dependency is missing.
    pub(super) fn link(
        &self,
        group: &Group,
        sources: &Sources,
    ) -> Result<Vec<Arc<Function>>, Error> {
        let profile = sources.common_profile(group.profile, &group.module);
        let definition = match self.resolve(group, sources)? {
            Err(missing) => Err(missing),
            Ok(nodes) => {
                let blueprint =
                    self.blueprint(&group.what, profile, group.limits.instances, &nodes)?;
                let limits = self.limits(group, profile);
                let mut constants: Vec<_> = nodes
                    .iter()
                    .flat_map(|node| node.module.requirements.constants.clone())
                    .collect();
                constants.sort();
                constants.dedup();
                Ok(Arc::new(Definition {
                    generation: Generation(self.generations.next()),
                    can_suspend: profile.has_fibers,
                    blueprint: Arc::new(blueprint),
                    limits,
                    constants,
                    host_functions: nodes
                        .iter()
                        .flat_map(|node| node.module.requirements.host_functions.clone())
                        .collect(),
                    called_functions: nodes.iter().flat_map(Node::called_functions).collect(),
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
                meter: self.meter_of(name),
                types: TypeCheck::default(),
            })
        };
        Ok(group.functions.iter().map(function).collect())
    }

    /// The limits of a group in this profile.
    fn limits(&self, group: &Group, profile: Profile) -> Arc<Limits> {
        let mut limits = Arc::clone(&group.limits);
        if profile.has_fibers && limits.time_slice.is_none() && self.time_slice.is_some() {
            Arc::make_mut(&mut limits).time_slice = self.time_slice;
        }
        limits
    }

    /// The modules that a group requires, or the alias of a missing dependency.
    pub(super) fn resolve(
        &self,
        group: &Group,
        sources: &Sources,
    ) -> Result<Result<Vec<Node>, Arc<str>>, Error> {
        let profile = sources.common_profile(group.profile, &group.module);
        let module = match &group.source {
            Some(source) if group.module.profile != profile => {
                &self.compiler.compile(&group.what, source, profile)?
            }
            _ => &group.module,
        };
        let resolver = Resolver::new(&sources.dependencies, &self.compiler, profile);
        resolver.resolve(&group.what, module, &group.wasi, &group.called)
    }

    pub(super) fn blueprint(
        &self,
        what: &str,
        profile: Profile,
        max_instances: usize,
        nodes: &[Node],
    ) -> Result<Blueprint, Error> {
        let suspended =
            if profile.has_fibers { self.max_suspended_instances } else { self.max_instances };
        for (limit, option) in [
            (self.max_instances, Setting::Options("max_live_instances".into())),
            (suspended, Setting::Options("max_suspended_instances".into())),
            (max_instances, Setting::Limits("instances".into())),
        ] {
            if nodes.len() > limit {
                let (what, needed) = (what.to_owned(), nodes.len());
                return Err(Error::TooManyInstances { what, needed, limit, option });
            }
        }
        let counter = self.engines.without_pool(profile);
        Blueprint::link(&self.engines.get(profile)?, profile, counter, nodes)
    }
}
