//! Compiles modules in bounded time: checks their bytes, reuses modules that are already compiled, and abandons
//! compilations that exceed their limit.

use crate::definition::WasmModule;
use crate::error::Error;
use crate::id::Sha256Hash;
use crate::module::engine::{Engines, Profile};
use crate::module::{Module, compile};
use crate::module::{gc_heap, suspending};
use crate::system::os_limits;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Compiles modules. While a module is used, its content is not compiled again.
#[derive(Debug)]
pub(crate) struct Compiler {
    engines: Arc<Engines>,
    compiled: Mutex<Compiled>,
    /// The number of running compilations, abandoned ones included.
    busy: Arc<AtomicUsize>,
    counts: CompileCounts,
}

/// What was compiled so far.
#[derive(Debug, Default)]
struct CompileCounts {
    modules: AtomicU64,
    nanos: AtomicU64,
}

/// Compiled modules that are still used.
#[derive(Debug, Default)]
struct Compiled {
    /// Keyed by SHA-256, because two modules can be constructed that share a SHA-1.
    modules: HashMap<(Sha256Hash, Profile), Weak<Module>>,
    /// At which number of entries unused ones are removed: twice as many as were used the last time, so that the cost per
    /// compilation is amortized.
    threshold: usize,
}

impl Compiled {
    fn add(&mut self, key: (Sha256Hash, Profile), module: &Arc<Module>) {
        if self.modules.len() >= self.threshold {
            self.modules.retain(|_, module| module.strong_count() > 0);
            self.threshold = self.modules.len() * 2;
        }
        self.modules.insert(key, Arc::downgrade(module));
    }
}

/// The maximum number of running compilations. A caller waits for its compilation, so more compilations than callers run only
/// if some have exceeded their time limit and were abandoned.
const MAX_COMPILATIONS: usize = 64;

/// A running compilation.
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Compiler {
    pub(crate) fn new(engines: Arc<Engines>) -> Self {
        Self {
            engines,
            compiled: Mutex::default(),
            busy: Arc::default(),
            counts: CompileCounts::default(),
        }
    }

    /// How many modules were compiled or loaded from the cache, and the time that callers waited for it.
    pub(crate) fn counts(&self) -> (u64, Duration) {
        let nanos = self.counts.nanos.load(Ordering::Relaxed);
        (self.counts.modules.load(Ordering::Relaxed), Duration::from_nanos(nanos))
    }

    /// The profile of definitions without special settings.
    pub(crate) fn plain(&self) -> Profile {
        self.engines.plain()
    }

    /// Compiles and reads `source`, and checks that it requires only what it was granted. Errors name it by `what`. A
    /// module that uses exceptions is compiled for the corresponding profile with a GC heap; a module that imports a function
    /// that can suspend it, for the profile with fibers.
    pub(crate) fn compile(
        &self,
        what: &str,
        source: &WasmModule,
        profile: Profile,
    ) -> Result<Arc<Module>, Error> {
        let module = self.compile_ungranted(what, source, profile)?;
        module.permit(what, &source.grants, &source.limits)?;
        Ok(module)
    }

    /// Compiles and reads `source` without checking its grants.
    pub(crate) fn compile_ungranted(
        &self,
        what: &str,
        source: &WasmModule,
        profile: Profile,
    ) -> Result<Arc<Module>, Error> {
        let problems = source.limits.problems(what, self.engines.max_wasm_stack());
        if !problems.is_empty() {
            return Err(Error::InvalidOptions { problems });
        }
        let bytes = &*source.bytes;
        check_header(what, bytes)?;
        if bytes.len() > source.limits.module_size {
            return Err(Error::ModuleTooLarge {
                what: what.to_owned(),
                limit: source.limits.module_size,
                found: bytes.len(),
            });
        }
        let found = Sha256Hash::of(bytes);
        if let Some(expected) = source.sha256.filter(|expected| *expected != found) {
            return Err(Error::Sha256Mismatch { what: what.to_owned(), expected, found });
        }
        let profile = if suspending::is_declared(bytes) { profile.with_fibers() } else { profile };
        let with_gc_heap = profile.with_gc_heap();
        let known = self
            .known((found, profile))
            .or_else(|| self.known((found, with_gc_heap)).filter(|module| module.needs_gc_heap));
        if let Some(module) = known {
            return Ok(module);
        }
        let profile = if gc_heap::is_declared(bytes) { with_gc_heap } else { profile };
        let began = Instant::now();
        let compiled = self.compile_in_time(what, source, profile);
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counts.modules.fetch_add(1, Ordering::Relaxed);
        self.counts.nanos.fetch_add(nanos, Ordering::Relaxed);
        let module = match compiled {
            // Exceptions may occur only in the code, which is too long to be searched in every module.
            Err(Error::InvalidModule { .. })
                if !profile.has_gc_heap && gc_heap::is_needed(bytes) =>
            {
                self.compile_in_time(what, source, with_gc_heap)?
            }
            compiled => compiled?,
        };
        let module = Arc::new(module);
        self.compiled().add((found, module.profile), &module);
        Ok(module)
    }

    /// Compiles on a separate thread, which is abandoned when it takes too long because a compilation cannot be
    /// interrupted. [`MAX_COMPILATIONS`] bounds the number of abandoned threads.
    fn compile_in_time(
        &self,
        what: &str,
        source: &WasmModule,
        profile: Profile,
    ) -> Result<Module, Error> {
        let busy = self.busy.fetch_add(1, Ordering::AcqRel);
        let permit = Permit(Arc::clone(&self.busy));
        if busy >= MAX_COMPILATIONS {
            return Err(Error::CompilerBusy { what: what.to_owned(), busy });
        }
        os_limits::check_code(format_args!("a memory mapping for the compiled code of {what}"))?;
        let engine = self.engines.get(profile)?;
        let cache = self.engines.cache();
        let (name, bytes) = (what.to_owned(), Arc::clone(&source.bytes));
        let (send, receive) = sync_channel(1);
        os_limits::start_thread("the compiler's thread", os_limits::USUAL_STACK, || {
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the compilation; bounded by permits"
            )]
            std::thread::Builder::new().name("wpc-compiler".to_owned()).spawn(move || {
                let _permit = permit;
                // The caller may have stopped waiting.
                let _ = send.send(compile(&name, &bytes, &engine, cache.as_deref(), profile));
            })
        })?;
        let limit = source.limits.compile_time;
        match receive.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::CompileTimeout { what: what.to_owned(), limit })
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::InvalidModule {
                what: what.to_owned(),
                reason: "the compiler panicked".to_owned(),
            }),
        }
    }

    fn known(&self, key: (Sha256Hash, Profile)) -> Option<Arc<Module>> {
        self.compiled().modules.get(&key).and_then(Weak::upgrade)
    }

    fn compiled(&self) -> MutexGuard<'_, Compiled> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_header(what: &str, bytes: &[u8]) -> Result<(), Error> {
    let not_wasm = |reason| Err(Error::NotWasm { what: what.to_owned(), reason });
    match bytes {
        [] => not_wasm("it is empty"),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, 0, 1, 0, ..] => {
            Err(Error::Component { what: what.to_owned() })
        }
        [b'\0', b'a', b's', b'm', _, _, _, _, ..] => {
            not_wasm("unsupported WebAssembly binary version")
        }
        [b'\0', b'a', b's', b'm', ..] | [b'\0'] | [b'\0', b'a'] | [b'\0', b'a', b's'] => {
            not_wasm("it ends inside its header")
        }
        _ => not_wasm("it does not begin with the bytes \"\\0asm\""),
    }
}
