//! The sandbox's side of WASI in a build without the feature `wasi`. Modules that import WASI are refused when they are
//! defined, so no sandbox has a context: it is an uninhabited type.

use super::environment::Environment;
use super::failure::Failure;
use super::log_line::LogVolume;
use super::state::State;
use crate::call::Call;
use crate::definition::wasi::grant::Wasi;
use std::sync::Arc;
use wasmtime::Linker;

pub(super) enum Context {}

impl Context {
    pub(super) fn new(
        granted: &Wasi,
        _: usize,
        _: &Arc<Environment>,
        _: &Arc<LogVolume>,
    ) -> Result<Self, Failure> {
        match *granted {}
    }

    pub(super) fn begin_call(&self, _: &Arc<Call>) {
        match *self {}
    }

    pub(super) fn end_call(&self) {
        match *self {}
    }
}

pub(super) fn link(
    _: &mut Linker<State>,
    _: usize,
    _: usize,
    _: Option<&Arc<Wasi>>,
    _: bool,
) -> wasmtime::Result<Arc<Wasi>> {
    Err(wasmtime::Error::msg("this build has no WASI"))
}

pub(super) fn has_too_many_files(_: &wasmtime::Error) -> bool {
    false
}
