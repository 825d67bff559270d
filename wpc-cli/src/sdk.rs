//! The source of a Rust project's SDK: the sources embedded in this command, a folder, or a published version.

use crate::failure::Failure;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

/// The SDK's sources by path, embedded at build time; empty if this command was built from a published package.
const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_sources.rs"));

/// The project's folder for the SDK's sources.
pub(crate) const VENDOR: &str = "vendor";

/// The crates of the SDK, by path in the repository and in [`VENDOR`].
const CRATES: [&str; 4] = ["wpc-abi", "wpc-abi/macros", "wpc-guest-sdk", "wpc-guest-sdk/macros"];

/// The SDK dependency of a project's `Cargo.toml`, and the files that it requires.
pub(crate) struct Sdk {
    /// A TOML value.
    pub(crate) dependency: String,
    pub(crate) files: Vec<(PathBuf, String)>,
}

impl Sdk {
    /// The SDK that `--sdk` names: a folder or a version. Without it, the embedded sources, or the published version
    /// of this command if it does not embed any.
    pub(crate) fn chosen(sdk: Option<&str>) -> Result<Self, Failure> {
        match sdk {
            Some(sdk) if is_version(sdk) => Ok(Self::of_version(sdk)),
            Some(sdk) => Self::in_folder(Path::new(sdk)),
            None if SOURCES.is_empty() => Ok(Self::of_version(env!("CARGO_PKG_VERSION"))),
            None => Self::vendored(),
        }
    }

    fn of_version(version: &str) -> Self {
        Self { dependency: toml::Value::from(version).to_string(), files: Vec::new() }
    }

    fn in_folder(folder: &Path) -> Result<Self, Failure> {
        let found = std::fs::canonicalize(folder).ok();
        let found = found.filter(|folder| folder.join("Cargo.toml").is_file());
        let found = found.ok_or_else(|| {
            Failure::usage(format!(
                "--sdk \"{}\": expected a version such as `0.1`, or the path of the folder `wpc-guest-sdk`",
                folder.display()
            ))
        })?;
        Ok(Self { dependency: path_dependency(&found.to_string_lossy()), files: Vec::new() })
    }

    fn vendored() -> Result<Self, Failure> {
        let mut files = Vec::new();
        for (path, text) in SOURCES {
            let text = if *path == "Cargo.toml" { workspace(text)? } else { (*text).to_owned() };
            files.push((Path::new(VENDOR).join(path), text));
        }
        Ok(Self { dependency: path_dependency(&format!("{VENDOR}/wpc-guest-sdk")), files })
    }
}

/// Identifies the embedded sources.
pub(crate) fn identifier() -> u64 {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    hasher.finish()
}

/// Whether a manifest is one of the SDK's in the project, whose copy of the SDK has the embedded sources.
pub(crate) fn is_unchanged_copy(project: &Path, manifest: &Path) -> bool {
    let Ok(Sdk { files, .. }) = Sdk::vendored() else { return false };
    let is_unchanged = |(path, text): &(PathBuf, String)| {
        std::fs::read(project.join(path)).is_ok_and(|found| found == text.as_bytes())
    };
    files.iter().any(|(path, _)| project.join(path) == manifest) && files.iter().all(is_unchanged)
}

fn path_dependency(path: &str) -> String {
    // Quoted as TOML, because the path may contain any character.
    format!("{{ path = {} }}", toml::Value::from(path))
}

/// Whether the text is a version requirement instead of a path.
fn is_version(text: &str) -> bool {
    let number = text.trim_start_matches(['=', '^', '~', '>', '<', ' ']);
    number.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "=^~<>., *+-".contains(c))
}

/// The repository's workspace manifest, reduced to what the SDK's crates inherit.
fn workspace(text: &str) -> Result<String, Failure> {
    let invalid =
        |why: String| Failure::environment(format!("invalid SDK embedded in this command: {why}"));
    let whole: toml::Table =
        text.parse().map_err(|error: toml::de::Error| invalid(error.to_string()))?;
    let Some(toml::Value::Table(mut workspace)) = whole.get("workspace").cloned() else {
        return Err(invalid("missing [workspace]".to_owned()));
    };
    workspace.remove("exclude");
    workspace
        .insert("members".to_owned(), toml::Value::from(CRATES.map(toml::Value::from).to_vec()));
    if let Some(toml::Value::Table(dependencies)) = workspace.get_mut("dependencies") {
        let manifests: Vec<_> =
            SOURCES.iter().filter(|(path, _)| path.ends_with("/Cargo.toml")).collect();
        let is_used = |name: &str| {
            let inherited = format!("{name}.workspace");
            let chosen = format!("{name} = {{ workspace");
            manifests.iter().any(|(_, text)| {
                text.lines().any(|line| line.starts_with(&inherited) || line.starts_with(&chosen))
            })
        };
        dependencies.retain(|name, _| is_used(name));
    }
    let whole = toml::Table::from_iter([("workspace".to_owned(), toml::Value::Table(workspace))]);
    Ok(format!("# The Rust SDK, copied by `wpc new`.\n{whole}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_paths_are_distinguished() {
        for version in ["0.1", "0.1.0", "=0.1.0", "^1", "~0.2.3", ">=0.1, <0.3", "1.0.0-beta.2"] {
            assert!(is_version(version), "{version}");
        }
        for path in ["sdk", "../wpc-guest-sdk", "/sdk", ".", "", "0.1/sdk"] {
            assert!(!is_version(path), "{path}");
        }
    }

    #[test]
    fn the_vendored_workspace_has_what_its_crates_inherit() {
        let sdk = Sdk::vendored().unwrap();
        let root =
            &sdk.files.iter().find(|(path, _)| path.ends_with("vendor/Cargo.toml")).unwrap().1;
        let root: toml::Table = root.parse().unwrap();
        let dependencies = root["workspace"]["dependencies"].as_table().unwrap();
        assert!(dependencies.contains_key("postcard") && dependencies.contains_key("wpc-abi"));
        assert!(!dependencies.contains_key("wasmtime") && !dependencies.contains_key("wpc-host"));
        assert!(
            sdk.files.iter().any(|(path, _)| path.ends_with("wpc-guest-sdk/macros/src/lib.rs"))
        );
    }
}
