//! All libraries with their compiled guests.

use crate::contestant::Contestant;
use crate::guests::Guests;
use crate::node::{self, Node};
use crate::{extism, wapc, wpc};
use ::extism::CompiledPlugin;
use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;
use wasmtime_provider::WasmtimeEngineProviderPre;

pub(crate) type Contestants = Vec<Box<dyn Contestant>>;

pub(crate) struct Peers {
    guests: Guests,
    extism: CompiledPlugin,
    wapc: WasmtimeEngineProviderPre,
    node: Option<Rc<RefCell<Node>>>,
}

impl Peers {
    pub(crate) fn prepare(guests: Guests, with_node: bool) -> Result<Self> {
        let extism = extism::compile(&guests.extism)?;
        let wapc = wapc::compile(&guests.wapc)?;
        let node = with_node.then(Node::start).transpose()?.map(|node| Rc::new(RefCell::new(node)));
        Ok(Self { guests, extism, wapc, node })
    }

    /// The libraries that run on the caller's thread.
    pub(crate) fn local(&self) -> Result<Contestants> {
        Ok(vec![
            Box::new(wpc::Local::start(&self.guests.wpc)?),
            Box::new(extism::Local::start(&self.extism)?),
            Box::new(wapc::Local::start(&self.wapc)?),
        ])
    }

    /// Pools with this number of workers.
    pub(crate) fn pools(&self, workers: usize) -> Result<Contestants> {
        let mut pools: Contestants = vec![
            Box::new(wpc::Pool::start(&self.guests.wpc, workers)?),
            Box::new(extism::Pool::start(&self.extism, workers)?),
        ];
        for library in node::LIBRARIES {
            if let Some(node) = &self.node {
                pools.push(Box::new(node::Pool::start(node, library, workers)?));
            }
        }
        Ok(pools)
    }

    /// All libraries; pools have one worker.
    pub(crate) fn all(&self) -> Result<Contestants> {
        let mut all = self.pools(1)?;
        all.extend(self.local()?);
        Ok(all)
    }

    /// The libraries that can instantiate a sandbox for a call or replace one: WebAssembly without a pool that keeps
    /// instances.
    pub(crate) fn sandboxes(&self) -> Result<Contestants> {
        let mut sandboxes = self.local()?;
        sandboxes.push(Box::new(wpc::Pool::start(&self.guests.wpc, 1)?));
        Ok(sandboxes)
    }
}
