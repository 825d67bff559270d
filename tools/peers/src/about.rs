//! The date, the machine and the versions of a run, without which figures cannot be compared.

use crate::guests::here;
use crate::node::{LIBRARIES, folder};
use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::SystemTime;

/// The first line of the JSON. `node` and `wasmtime` are the versions of Node and of the command `wasmtime` if they are included.
pub(crate) fn line(node: Option<&str>, wasmtime: Option<&str>) -> Result<Value> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date = now.split('T').next().unwrap_or_default();
    Ok(json!({
        "figure": "about",
        "date": date,
        "machine": machine()?,
        "versions": versions(node, wasmtime)?,
    }))
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let text = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} cores, {model}, Linux {}", kernel.trim()))
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lock {
    fn package(&self, name: &str) -> Result<&Package> {
        let found = self.package.iter().find(|package| package.name == name);
        found.with_context(|| format!("{name} is missing in the lock file"))
    }

    /// The version of Wasmtime that a package depends on. The lock file names it only if there are several.
    fn wasmtime_of(&self, name: &str) -> Result<&str> {
        let mut dependencies = self.package(name)?.dependencies.iter();
        match dependencies.find_map(|dependency| dependency.strip_prefix("wasmtime ")) {
            Some(version) => Ok(version),
            None => Ok(&self.package("wasmtime")?.version),
        }
    }
}

fn versions(node: Option<&str>, wasmtime: Option<&str>) -> Result<Map<String, Value>> {
    let lock: Lock = toml::from_str(&std::fs::read_to_string(here().join("Cargo.lock"))?)?;
    let mut versions = Map::new();
    let mut add = |name: &str, version: &str| versions.insert(name.to_owned(), version.into());
    add("wpc", &lock.package("wpc-host")?.version);
    add("wasmtime", lock.wasmtime_of("wpc-host")?);
    for name in ["extism", "wapc", "wasmtime-provider"] {
        add(name, &lock.package(name)?.version);
    }
    add("wasmtime of extism", lock.wasmtime_of("extism")?);
    add("wasmtime of wapc", lock.wasmtime_of("wasmtime-provider")?);
    if let Some(version) = wasmtime {
        add("wasmtime serve", version);
    }
    if let Some(version) = node {
        add("node", version);
        for library in LIBRARIES {
            add(library, &installed(&folder().join("node_modules").join(library))?);
        }
    }
    Ok(versions)
}

fn installed(library: &Path) -> Result<String> {
    let package: Value = serde_json::from_slice(&std::fs::read(library.join("package.json"))?)?;
    Ok(package["version"].as_str().context("a library has no version")?.to_owned())
}
