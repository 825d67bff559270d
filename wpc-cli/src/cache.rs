//! Where compiled code is kept between runs of the command.

use crate::failure::Failure;
use crate::terminal;
use etcetera::BaseStrategy as _;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Cache {
    /// The folder that keeps compiled code; `wpc cache` tells which it is.
    #[arg(long, global = true, value_name = "FOLDER", env = "WPC_CACHE")]
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
    /// The folder; `None` where nothing is to be kept.
    pub(crate) fn folder(&self) -> Result<Option<PathBuf>, Failure> {
        if self.no_cache {
            return Ok(None);
        }
        let folder = match &self.cache {
            Some(folder) => folder.clone(),
            None => match etcetera::choose_base_strategy() {
                Ok(strategy) => strategy.cache_dir().join("wpc"),
                // Nobody's home: a service, perhaps.
                Err(_) => return Ok(None),
            },
        };
        let absolute = std::path::absolute(&folder);
        absolute
            .map(Some)
            .map_err(|error| Failure::usage(format!("--cache {}: {error}", folder.display())))
    }
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let folder = cache.folder()?.ok_or_else(|| {
        Failure::usage("nothing is kept: --no-cache was given, or there is no home folder; --cache FOLDER chooses one")
    })?;
    // What wpc keeps lies in a folder of that, so that nothing else is deleted with it.
    let kept = folder.join("modules");
    if arguments.clear && kept.exists() {
        std::fs::remove_dir_all(&kept)
            .map_err(|error| Failure::machine(format!("{}: {error}", kept.display())))?;
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
