//! Properties that must hold in every order of the threads' steps. Each check runs many times, each time with another order.
//! A check in which a thread waits forever is a deadlock and fails.

mod definitions;
mod failures;
mod nested;
mod parts;
mod pool;
mod streams;
mod suspended;

pub use definitions::*;
pub use failures::*;
pub use nested::*;
pub use parts::*;
pub use pool::*;
pub use streams::*;
pub use suspended::*;

use crate::call::pending::PendingCall;
use crate::definition::WasmModule;
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::id::FunctionHash;
use crate::options::{CallOptions, Options};
use crate::pool::intake;
use crate::pool::lifecycle::Lifecycle;
use crate::registry::types::ConstantType;
use crate::registry::{Change, OnRefusal};
use crate::sandbox::{LIVE, RELEASED};
use crate::system::background::Interest;
use serde::de::DeserializeOwned;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// A pool with running workers.
struct Pool(Arc<Lifecycle>);

impl Pool {
    fn new(workers: usize, options: Options) -> Self {
        LIVE.set(0);
        RELEASED.set(false);
        let options = options
            .max_live_instances(8)
            .call_timeout(Duration::from_secs(3600))
            .restart_jitter_seed(1)
            .restart_base_delay(Duration::from_nanos(1))
            .restart_max_delay(Duration::from_nanos(1))
            .restart_jitter(Duration::ZERO);
        let lifecycle = Lifecycle::new(options).unwrap();
        let pool = Self(Arc::new(lifecycle));
        pool.define("good", 1);
        pool.0.start(workers).expect("the workers start");
        pool
    }

    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Defines the function of this name with a module that differs for each `version`.
    fn define(&self, name: &str, version: u32) -> FunctionHash {
        self.define_with(name, version, Limits::default())
    }

    /// Like [`define`](Self::define), with a time limit of one millisecond.
    fn define_hasty(&self, name: &str) {
        let time = Some(Duration::from_millis(1));
        self.define_with(name, 1, Limits::default().timeout(time));
    }

    fn define_with(&self, name: &str, version: u32, limits: Limits) -> FunctionHash {
        self.apply(vec![Self::function(name, version, limits)])
    }

    /// Defines `good`, `reads` and the constant `word` in one step.
    fn define_together(&self, version: u8) -> FunctionHash {
        let function = |name| Self::function(name, version.into(), Limits::default());
        self.apply(vec![function("good"), Self::constant("word", version), function("reads")])
    }

    fn define_constant(&self, name: &str, value: u8) {
        let defined =
            self.0.pool.registry.apply_one(Self::constant(name, value), &Interest::default());
        defined.expect("the definition is valid");
    }

    /// Makes changes; returns the hash of the first function.
    fn apply(&self, changes: Vec<Change>) -> FunctionHash {
        let pool = &self.0.pool;
        let outcome = pool.registry.apply(changes, OnRefusal::RefuseAll, &Interest::default());
        pool.request_cleanup_of_workers();
        outcome.expect("the definitions are valid").defined[0].module.hash
    }

    fn function(name: &str, version: u32, limits: Limits) -> Change {
        Change::Function { name: name.to_owned(), source: Self::module(name, version, limits) }
    }

    fn module(name: &str, version: u32, limits: Limits) -> WasmModule {
        let text = format!(
            r#"(module (func (export "{name}")) (func (export "version") (result i32) i32.const {version}))"#
        );
        WasmModule::new(wat::parse_str(text).expect("the module is valid")).limits(limits)
    }

    /// A constant for which no module declares a type.
    fn constant(name: &str, value: u8) -> Change {
        let ty = ConstantType::Shown(wpc_abi::compare::unknown());
        Change::Constant { name: name.to_owned(), ty, value: vec![value] }
    }

    fn submit<R: DeserializeOwned>(&self, name: &str) -> Result<PendingCall<R>, Error> {
        self.submit_with(name, &CallOptions::new())
    }

    fn submit_with<R: DeserializeOwned>(
        &self,
        name: &str,
        options: &CallOptions,
    ) -> Result<PendingCall<R>, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        intake::submit(pool, function, &(), options)
    }

    fn call(&self, name: &str) -> Result<(), Error> {
        self.submit::<()>(name)?.wait()
    }

    /// Stops the pool, and checks that it has neither workers nor sandboxes left.
    fn stop(self) {
        self.0.stop(Duration::from_millis(5));
        let pool = &self.0.pool;
        assert_eq!(pool.workers.load().len(), 0);
        assert!(matches!(self.call("good"), Err(Error::NotRunning)));
        assert_eq!(LIVE.get(), 0, "every sandbox is dropped");
    }
}

fn in_parallel(tasks: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = tasks.into_iter().map(thread::spawn).collect();
    for thread in threads {
        thread.join().expect("the thread does not panic");
    }
}
