//! The compile cache in a build without the feature `compile-cache`: an uninhabited type.

use crate::error::Error;
use crate::event::Events;
use crate::options::Options;

#[derive(Debug)]
pub(crate) enum CompileCache {}

impl CompileCache {
    pub(crate) fn open(_: &Options, _: Option<&Events>) -> Result<Option<Self>, Error> {
        Ok(None)
    }

    pub(crate) fn compile(
        &self,
        _: &wasmtime::Engine,
        _: &[u8],
    ) -> wasmtime::Result<wasmtime::Module> {
        match *self {}
    }
}
