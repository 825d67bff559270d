//! Where compiled code is kept between runs of the command.

use crate::failure::Failure;
use crate::terminal;
use etcetera::BaseStrategy as _;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wpc_host::{Options, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Cache {
    /// The folder that keeps compiled code; `wpc cache` tells which it is.
    /// The environment's WPC_CACHE chooses it as well.
    #[arg(long, global = true, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Compiles anew, and keeps nothing.
    #[arg(long, global = true)]
    no_cache: bool,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Deletes what is kept.
    #[arg(long)]
    clear: bool,
}

impl Cache {
    /// The usual options of a pool, with what is compiled kept there.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options { compile_cache: self.folder()?, ..Options::default() })
    }

    /// The folder; `None` where nothing is to be kept.
    pub(crate) fn folder(&self) -> Result<Option<PathBuf>, Failure> {
        if self.no_cache {
            return Ok(None);
        }
        let chosen = || std::env::var_os("WPC_CACHE").filter(|folder| !folder.is_empty());
        let Some(folder) = self.cache.clone().or_else(|| chosen().map(PathBuf::from)) else {
            return Ok(usual_folder());
        };
        let absolute = std::path::absolute(&folder);
        absolute
            .map(Some)
            .map_err(|error| Failure::usage(format!("--cache {}: {error}", folder.display())))
    }
}

/// Where nobody chose. What cannot be kept there is compiled anew each time.
fn usual_folder() -> Option<PathBuf> {
    // Without a home it is a service, perhaps.
    let folder = etcetera::choose_base_strategy().ok()?.cache_dir().join("wpc");
    // A pool creates it, and sees whether it can be trusted. One that is not started costs next to nothing.
    let options = Options { compile_cache: Some(folder.clone()), ..Options::default() };
    match WorkerProcedureCall::new(options) {
        Ok(_) => Some(folder),
        Err(error) => {
            // The reader of standard error may be gone.
            let _ = writeln!(
                std::io::stderr(),
                "compiled code is not kept: {error} (choose another folder with --cache FOLDER, or none with --no-cache)"
            );
            None
        }
    }
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let folder = cache.folder()?.ok_or_else(|| {
        Failure::usage("nothing is kept: --no-cache was given, or there is no home folder; --cache FOLDER chooses one")
    })?;
    let kept = folder.join("modules");
    if arguments.clear {
        clear(&kept).map_err(|error| Failure::machine(format!("{}: {error}", kept.display())))?;
    }
    let (files, bytes) = usage(&kept);
    let text = if as_json {
        json!({ "folder": folder, "files": files, "bytes": bytes }).to_string()
    } else {
        let bytes = bytesize::ByteSize(bytes);
        format!("{}\n{files} files, {bytes}", folder.display())
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Deletes the folders that the compiler keeps its code in, one for each version of it, and nothing else that
/// may lie beside them.
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
        // Versions before 0.2 had Wasmtime keep the code.
        if is_ours("wpc-") || is_ours("wasmtime-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// How many files there are, and their bytes together. What cannot be read does not count.
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
