//! Counts and reports how the compile cache is used. The crate `wpc-code-cache` stores compiled code for other processes
//! and verifies it.

use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource, Events};
use crate::options::Options;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use wpc_code_cache::{CodeCache, EntryProblem};

/// Counters of the compile cache since the pool was created, see
/// [`Options::compile_cache`](crate::Options::compile_cache). Requires the feature `compile-cache`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompileCacheUsage {
    /// The cache's folder.
    pub folder: PathBuf,
    /// The number of modules whose code was loaded from the cache.
    pub hits: usize,
    /// The number of modules that were compiled.
    pub misses: usize,
    /// The number of misses whose entry did not verify and was replaced. Each is reported by
    /// [`EventDetails::CompileCacheEntryRejected`](crate::EventDetails::CompileCacheEntryRejected).
    pub rejected: usize,
    /// The number of misses whose code could not be stored. Each is reported by
    /// [`EventDetails::CompileCacheWriteFailed`](crate::EventDetails::CompileCacheWriteFailed).
    pub not_kept: usize,
}

impl CompileCacheUsage {
    /// A cache that was not used. The other fields can be set.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), hits: 0, misses: 0, rejected: 0, not_kept: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct CompileCache {
    code: CodeCache,
    /// `None` without a pool, because listeners belong to a pool.
    events: Option<Events>,
    hits: AtomicUsize,
    misses: AtomicUsize,
    rejected: AtomicUsize,
    not_kept: AtomicUsize,
}

impl CompileCache {
    /// The cache in the folder of the options, if they name one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] if the folder cannot be used or trusted.
    pub(crate) fn open(options: &Options, events: Option<&Events>) -> Result<Option<Self>, Error> {
        let Some(folder) = &options.compile_cache else { return Ok(None) };
        let code = CodeCache::open(folder).map_err(|error| Error::InvalidOptions {
            problems: vec![format!("`compile_cache` {} cannot be used: {error}", folder.display())],
        })?;
        Ok(Some(Self {
            code,
            events: events.cloned(),
            hits: AtomicUsize::default(),
            misses: AtomicUsize::default(),
            rejected: AtomicUsize::default(),
            not_kept: AtomicUsize::default(),
        }))
    }

    /// Loads or compiles a module.
    pub(crate) fn compile(
        &self,
        engine: &wasmtime::Engine,
        wasm: &[u8],
    ) -> wasmtime::Result<wasmtime::Module> {
        let compiled = self.code.compile(engine, wasm)?;
        let count = if compiled.is_hit { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(EntryProblem { entry, reason, .. }) = compiled.rejected {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            let entry = entry.display().to_string();
            self.report(EventDetails::CompileCacheEntryRejected { entry, reason });
        }
        if let Some(EntryProblem { entry, reason, .. }) = compiled.not_kept {
            self.not_kept.fetch_add(1, Ordering::Relaxed);
            let entry = entry.display().to_string();
            self.report(EventDetails::CompileCacheWriteFailed { entry, reason });
        }
        Ok(compiled.module)
    }

    fn report(&self, details: EventDetails) {
        if let Some(events) = &self.events {
            events.emit(Draft::by(EventSource::Parent, details));
        }
    }

    pub(crate) fn usage(&self) -> CompileCacheUsage {
        CompileCacheUsage {
            folder: self.code.folder().to_owned(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            not_kept: self.not_kept.load(Ordering::Relaxed),
        }
    }
}
