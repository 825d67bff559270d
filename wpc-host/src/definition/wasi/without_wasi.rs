//! The WASI grant in a build without the feature `wasi`: an uninhabited type, because no definition can have one.

use super::Piece;
use crate::error::Error;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) enum Wasi {}

impl Wasi {
    pub(crate) fn open(self, _: &str) -> Result<Arc<Self>, Error> {
        match self {}
    }

    pub(crate) fn directory_count(&self) -> usize {
        match *self {}
    }

    pub(crate) fn may_wait(&self, _: &str) -> bool {
        match *self {}
    }

    pub(crate) fn has(&self, _: Piece) -> bool {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use crate::{Capability, Error, Options, Remedy, WasmModule, WorkerProcedureCall};

    fn module(text: &str) -> WasmModule {
        WasmModule::new(wat::parse_str(text).unwrap())
    }

    #[test]
    fn a_module_that_imports_wasi_is_refused_and_others_run() {
        let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
        for (import, ty) in [
            ("sched_yield", "(result i32)"),
            ("clock_time_get", "(param i32 i64 i32) (result i32)"),
        ] {
            let uses_wasi = module(&format!(
                r#"(module
                    (import "wasi_snapshot_preview1" "{import}" (func {ty}))
                    (memory (export "memory") 1)
                    (func (export "f")))"#
            ));
            let refused =
                wpc.define_worker_function("f", uses_wasi.grant(Capability::Clock)).unwrap_err();
            assert!(matches!(&refused, Error::NotGranted { name, .. } if name == import));
            assert_eq!(refused.remedy(), Some(Remedy::EnableFeature("wasi".into())));
        }
        let adds = r#"(module (func (export "add") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.add))"#;
        wpc.define_worker_function("add", module(adds)).unwrap();
        wpc.start_workers(1).unwrap();
        assert_eq!(wpc.call::<i32>("add", (40, 2)).unwrap(), 42);
        assert_eq!(wpc.local_worker().call::<i32>("add", (40, 2)).unwrap(), 42);
    }
}
