//! The target folder of cargo that Rust projects share, so that each crate of a registry is compiled once.
//!
//! Cargo identifies a package inside its project's folder by its path relative to that folder. In a
//! shared target folder it confuses such packages of different projects, and considers one compiled
//! because another one is. So a project shares the folder only if its own folder has no packages
//! except its library and an unchanged copy of the SDK, which is the same for all projects. The
//! library is compiled with an identifier of its project. Cargo compiles the library again if
//! another project of the same name was compiled since.

use super::process::output_of;
use crate::failure::Failure;
use crate::language::Sources;
use crate::sdk;
use serde_json::Value;
use std::fs::{File, TryLockError};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// A target folder for a project that is not the only one in it. No other command uses it meanwhile.
pub(super) struct SharedTarget {
    folder: PathBuf,
    project: u64,
    _lock: File,
}

impl SharedTarget {
    /// Waits until no other command uses the folder, which is created if it is missing.
    pub(super) fn open(folder: PathBuf, sources: &Sources) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::environment(format!(
                "failed to use the target folder {}: {error}",
                folder.display()
            ))
        };
        let mut builder = std::fs::DirBuilder::new();
        // The compile cache is above it, and rejects a folder that other users can write to.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&folder).map_err(cannot)?;
        let lock = File::create(folder.join(".wpc-lock")).map_err(cannot)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            // The reader of standard error may be gone.
            let _ =
                writeln!(std::io::stderr(), "waiting for another build in {}", folder.display());
        }
        lock.lock().map_err(cannot)?;
        let project = identifier(&sources.folder).map_err(cannot)?;
        Ok(Self { folder, project, _lock: lock })
    }

    /// The arguments of cargo to compile the library for a target.
    pub(super) fn compile(&self, cargo: &mut Command, options: &[&str]) {
        cargo.args(["rustc", "--lib", "--target-dir"]).arg(&self.folder).args(options);
        // An unused configuration option does not change the module.
        cargo.args(["--", "--cfg", &format!("wpc_project=\"{:x}\"", self.project)]);
    }
}

/// Identifies a project by its path, and by when its folder was created, because another project may be moved there.
fn identifier(project: &Path) -> std::io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    project.hash(&mut hasher);
    let created = std::fs::metadata(project)?.created().ok();
    created.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).hash(&mut hasher);
    Ok(hasher.finish())
}

/// The target folder below `shared` for the project, if the project can share one, and does not choose its own.
pub(super) fn for_project(
    shared: &Path,
    mut cargo: Command,
    target: &str,
    sources: &Sources,
) -> Option<PathBuf> {
    let project = sources.folder.as_path();
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("CARGO_TARGET_DIR") || is_set("CARGO_BUILD_TARGET_DIR") {
        return None;
    }
    // Without this time, a project that was moved to the path of another one could not be recognized.
    std::fs::metadata(project).ok()?.created().ok()?;
    let options = ["metadata", "--format-version", "1", "--filter-platform", target];
    let metadata = output_of(cargo.args(options).current_dir(project))?;
    can_share(project, &serde_json::from_str(&metadata).ok()?)
        .then(|| shared.join(format!("sdk-{:x}", sdk::identifier())))
}

/// Whether the project can share a target folder, by the output of `cargo metadata`.
fn can_share(project: &Path, metadata: &Value) -> bool {
    let path = |value: &Value| PathBuf::from(value.as_str().unwrap_or_default());
    let is_configured = path(&metadata["target_directory"]) != project.join("target")
        || ["config.toml", "config"].iter().any(|name| {
            let text = std::fs::read_to_string(project.join(".cargo").join(name));
            text.is_ok_and(|text| text.contains("target-dir"))
        });
    let members = metadata["workspace_members"].as_array().map_or(0, Vec::len);
    if is_configured || members != 1 || path(&metadata["workspace_root"]) != project {
        return false;
    }
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    packages.all(|package| {
        let manifest = path(&package["manifest_path"]);
        if manifest == project.join("Cargo.toml") {
            let has = |kinds: &[&str]| {
                let targets = package["targets"].as_array().into_iter().flatten();
                let mut kind = targets.flat_map(|target| target["kind"].as_array()).flatten();
                kind.any(|kind| kinds.iter().any(|name| kind == name))
            };
            // The identifier is only passed to the library.
            return has(&["lib", "rlib", "cdylib"]) && !has(&["custom-build"]);
        }
        !manifest.starts_with(project) || sdk::is_unchanged_copy(project, &manifest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_project_shares_unless_it_chooses_a_folder_or_has_packages_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path();
        let package = |path: &str, kinds: &[&str]| {
            let targets: Vec<_> = kinds.iter().map(|kind| json!({ "kind": [kind] })).collect();
            json!({ "manifest_path": project.join(path).join("Cargo.toml"), "targets": targets })
        };
        let metadata = |packages: &[Value]| {
            json!({
                "target_directory": project.join("target"),
                "workspace_root": project,
                "workspace_members": ["one"],
                "packages": packages,
            })
        };
        let library = package("", &["cdylib", "test"]);
        let elsewhere = package("/registry/serde", &["lib", "custom-build"]);
        let alone = metadata(&[library.clone(), elsewhere]);
        assert!(can_share(project, &alone));
        for (key, value) in [
            ("target_directory", json!(project.join("../target"))),
            ("workspace_root", json!(project.parent())),
            ("workspace_members", json!(["one", "other"])),
        ] {
            let mut other = alone.clone();
            other[key] = value;
            assert!(!can_share(project, &other), "{key}");
        }
        for packages in [
            &[package("", &["cdylib", "custom-build"])][..],
            &[package("", &["bin"])],
            &[library.clone(), package("part", &["lib"])],
            // Not the copy of the SDK that this command makes.
            &[library.clone(), package("vendor/wpc-guest-sdk", &["lib"])],
        ] {
            assert!(!can_share(project, &metadata(packages)), "{packages:?}");
        }
        std::fs::create_dir(project.join(".cargo")).unwrap();
        let config = "[build]\ntarget-dir = \"target\"\n";
        std::fs::write(project.join(".cargo/config.toml"), config).unwrap();
        assert!(!can_share(project, &alone));
    }
}
