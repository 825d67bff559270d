//! The usage of the compile cache.

use super::WorkerProcedureCall;
use crate::module::compile_cache::CompileCacheUsage;

impl WorkerProcedureCall {
    /// Returns the hits and misses of the compile cache; `None` if the pool has no cache.
    /// Requires the feature `compile-cache`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join("wpc-documentation");
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let options = Options::default().compile_cache(folder);
    /// let wpc = WorkerProcedureCall::new(options)?;
    /// wpc.define_worker_module(wat::parse_str(r#"(module (func (export "nothing")))"#)?)?;
    /// let usage = wpc.get_compile_cache_usage().ok_or("the pool has no compile cache")?;
    /// assert_eq!(usage.hits + usage.misses, 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn get_compile_cache_usage(&self) -> Option<CompileCacheUsage> {
        self.0.pool.engines.cache().map(|cache| cache.usage())
    }
}
