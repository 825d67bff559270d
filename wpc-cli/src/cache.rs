//! The compile cache: the folder that keeps compiled code between runs of the command, and compiled crates of projects.

use crate::failure::Failure;
use crate::terminal;
use crate::text::count;
use etcetera::BaseStrategy as _;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wpc_deploy::Setup;
use wpc_host::{Options, WorkerProcedureCall};

/// The folder in the cache's with the target folders that Rust projects share.
pub(crate) const BUILD: &str = "build";

#[derive(clap::Args)]
pub(crate) struct Cache {
    /// Folder of the compile cache; `wpc cache` shows it.
    /// The environment variable WPC_CACHE sets it as well.
    #[arg(long, global = true, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Compile without reading or writing the cache.
    #[arg(long, global = true)]
    no_cache: bool,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Delete the cached code, and the crates that Rust projects share.
    #[arg(long)]
    clear: bool,
}

impl Cache {
    /// The setup of a deployment, with this compile cache.
    pub(crate) fn setup(&self) -> Result<Setup, Failure> {
        Ok(Setup::new().compile_cache(self.folder()?))
    }

    /// The default options of a pool, with this compile cache.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options::default().compile_cache(self.folder()?))
    }

    /// The folder, or `other` if none is known; `None` if caching is disabled.
    pub(crate) fn folder_or(
        &self,
        other: impl FnOnce() -> PathBuf,
    ) -> Result<Option<PathBuf>, Failure> {
        let folder = self.folder()?;
        Ok(if self.no_cache { None } else { folder.or_else(|| Some(other())) })
    }

    /// The folder; `None` if caching is disabled.
    pub(crate) fn folder(&self) -> Result<Option<PathBuf>, Failure> {
        if self.no_cache {
            return Ok(None);
        }
        let chosen = || std::env::var_os("WPC_CACHE").filter(|folder| !folder.is_empty());
        let Some(folder) = self.cache.clone().or_else(|| chosen().map(PathBuf::from)) else {
            return Ok(default_folder());
        };
        let absolute = std::path::absolute(&folder);
        absolute
            .map(Some)
            .map_err(|error| Failure::usage(format!("--cache {}: {error}", folder.display())))
    }
}

/// The default folder. If it cannot be used, caching is disabled with a message.
fn default_folder() -> Option<PathBuf> {
    // Without a home folder the command probably runs as a service, and does not cache.
    let folder = etcetera::choose_base_strategy().ok()?.cache_dir().join("wpc");
    // A pool creates the folder and checks that it can be trusted. A pool that is not started has no threads.
    let options = Options::default().compile_cache(folder.clone());
    match WorkerProcedureCall::new(options) {
        Ok(_) => Some(folder),
        Err(error) => {
            // The reader of standard error may be gone.
            let _ = writeln!(
                std::io::stderr(),
                "the compile cache is disabled: {error} (choose another folder with --cache FOLDER, or silence this message with --no-cache)"
            );
            None
        }
    }
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let folder = cache.folder()?.ok_or_else(|| {
        Failure::usage("the compile cache is disabled, by --no-cache or for lack of a home folder; set one with --cache FOLDER")
    })?;
    let kept = ["modules", BUILD].map(|name| folder.join(name));
    if arguments.clear {
        for kept in &kept {
            clear(kept)
                .map_err(|error| Failure::environment(format!("{}: {error}", kept.display())))?;
        }
    }
    let [(modules, in_modules), (crates, in_crates)] = kept.map(|folder| usage(&folder));
    let (files, bytes) = (modules + crates, in_modules + in_crates);
    let text = if as_json {
        json!({ "folder": folder, "files": files, "bytes": bytes }).to_string()
    } else {
        let (files, size) = (count(files, "file"), bytesize::ByteSize(bytes));
        format!("{}\n{files}, {size}", folder.display())
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Deletes the folders with compiled code, one for each version of the compiler or of the SDK. Other files beside them are kept.
fn clear(kept: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(kept) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = |start| name.to_string_lossy().starts_with(start);
        // Builds before the first release used Wasmtime's own cache, in folders `wasmtime-…`.
        if is_ours("wpc-") || is_ours("wasmtime-") || is_ours("sdk-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The number of files and their total size in bytes. Unreadable entries are not counted.
fn usage(folder: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let (more_files, more_bytes) = usage(&entry.path());
            (files + more_files, bytes + more_bytes)
        }
        Ok(metadata) => (files + 1, bytes + metadata.len()),
        Err(_) => (files, bytes),
    })
}
