//! Stores the compiled code of WebAssembly modules in a folder, so that processes do not compile the same module twice, and
//! verifies each entry before it is loaded.
//!
//! Compiled code is native code: an entry with one flipped bit may crash the process or compute wrong values, and one
//! that belongs to another module computes that module's values. Each entry therefore contains an HMAC-SHA-256 over its
//! code, its length, the SHA-256 of its module, and the compiler's settings and version. The random key is stored in the
//! folder, and only its owner can read it. An entry that fails verification is not loaded: its module is compiled, the
//! entry is replaced, and the reason is reported.
//!
//! * [`entry`]: the format of an entry.
//! * `folder`: which folders are trusted, and the key.
//! * `store`: reads, replaces and deletes files.
//!
//! The crate is separate from `wpc-host` because loading native code needs an `unsafe` block, and `wpc-host` forbids unsafe code.
#![deny(unsafe_code)]

pub mod entry;
mod folder;
mod store;

pub use folder::OpenError;

use entry::{Identity, Key};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use store::{Found, Store};
use wasmtime::{Engine, Module};

/// A folder of compiled code.
#[derive(Debug)]
pub struct CodeCache {
    folder: PathBuf,
    key: Key,
    store: Store,
}

/// A module that was loaded or compiled.
#[derive(Debug)]
#[non_exhaustive]
pub struct Compiled {
    /// The module.
    pub module: Module,
    /// Whether its code was loaded from the folder.
    pub is_hit: bool,
    /// Why the entry in the folder was rejected; `None` if there was no entry, or if it was loaded.
    pub rejected: Option<EntryProblem>,
    /// Why the code was not stored; `None` if it was stored, or was in the folder already.
    pub not_kept: Option<EntryProblem>,
}

/// A problem with an entry.
#[derive(Debug)]
#[non_exhaustive]
pub struct EntryProblem {
    /// The entry's file.
    pub entry: PathBuf,
    /// A description of the problem.
    pub reason: String,
}

impl CodeCache {
    /// Opens a folder, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the folder cannot be created, its key cannot be read or written, or another user can change the
    /// contents of the folder.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = folder::open(folder)?;
        let entries = store::FOLDER
            .iter()
            .try_fold(folder.clone(), |above, name| folder::create(&above.join(name)))?;
        let key = folder::key(&folder)?;
        Ok(Self { folder, key, store: Store::new(entries) })
    }

    /// The path of the folder, without symbolic links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Loads the code of `wasm` for `engine`, or compiles it and stores the code.
    ///
    /// # Errors
    ///
    /// The error of the compiler, if it refuses `wasm`. Problems with the folder are reported in [`Compiled`].
    pub fn compile(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Compiled> {
        let identity = Identity { module: Sha256::digest(wasm).into(), settings: settings(engine) };
        let name = identity.name();
        let problem = |reason: String| EntryProblem { entry: self.store.path(&name), reason };
        let rejected = match self.store.read(&name) {
            Ok(Found::Nothing) => None,
            Ok(Found::Entry(bytes)) => {
                match entry::open(&bytes, &identity, &self.key).map(|code| load(engine, &code)) {
                    Ok(Ok(module)) => {
                        self.store.mark_used(&name);
                        return Ok(Compiled {
                            module,
                            is_hit: true,
                            rejected: None,
                            not_kept: None,
                        });
                    }
                    Ok(Err(error)) => {
                        Some(problem(format!("its code cannot be loaded: {error:#}")))
                    }
                    Err(error) => Some(problem(error.to_string())),
                }
            }
            Err(error) => Some(problem(format!("it cannot be read: {error}"))),
        };
        let module = Module::from_binary(engine, wasm)?;
        let kept = module.serialize().map_err(|error| format!("{error:#}")).and_then(|code| {
            let sealed = entry::seal(&code, &identity, &self.key);
            self.store.write(&name, &sealed).map_err(|error: io::Error| error.to_string())
        });
        let not_kept = kept.err().map(problem);
        Ok(Compiled { module, is_hit: false, rejected, not_kept })
    }
}

/// Loads code that was compiled with the settings of this engine. It is safe because the code was verified: only
/// [`entry::open`] returns a [`Code`](entry::Code).
fn load(engine: &Engine, code: &entry::Code<'_>) -> wasmtime::Result<Module> {
    // SAFETY: `deserialize` requires the unchanged bytes that `Module::serialize` returned. A `Code` contains the bytes
    // that `CodeCache::compile` sealed: it was verified with a key that only this user's processes can read, over every
    // byte of the code, over the digest of its module, and over the engine's `precompile_compatibility_hash`, which covers
    // the compiler's settings and Wasmtime's version. The bytes are a copy in this process's memory, so nothing can change
    // them after the verification.
    #[expect(unsafe_code, reason = "loading native code; the only unsafe block of the host's side")]
    unsafe {
        Module::deserialize(engine, code.bytes())
    }
}

/// The digest of all settings that affect the compiled code.
fn settings(engine: &Engine) -> [u8; 32] {
    /// A hasher whose digest has enough bits to identify a file.
    struct Sha(Sha256);

    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            unreachable!("`settings` reads the digest instead")
        }
    }

    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}
