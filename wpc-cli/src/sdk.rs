//! Where a project in Rust takes its SDK from: sources that this command brings along, a folder, or a published
//! version.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// The SDK's sources by path, as they were when this command was built; none where it was built from a package.
const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_sources.rs"));

/// The folder of a project in which the sources lie.
pub(crate) const VENDOR: &str = "vendor";

/// The crates of the SDK, by path in the repository and in [`VENDOR`].
const CRATES: [&str; 4] = ["wpc-abi", "wpc-abi/macros", "wpc-guest-sdk", "wpc-guest-sdk/macros"];

/// What a project's `Cargo.toml` says of the SDK, and the files that the project has for it.
pub(crate) struct Sdk {
    /// A value of TOML.
    pub(crate) dependency: String,
    pub(crate) files: Vec<(PathBuf, String)>,
}

impl Sdk {
    /// The SDK that `--sdk` names: a folder or a version. Without it, the sources that this command brings along, or
    /// its own version where it has none.
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
                "--sdk \"{}\": a version, as in `0.1`, or the path of the folder `wpc-guest-sdk` is expected",
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

fn path_dependency(path: &str) -> String {
    // A literal of TOML, whatever the path has in it.
    format!("{{ path = {} }}", toml::Value::from(path))
}

/// Whether it is a version requirement, and not a path.
fn is_version(text: &str) -> bool {
    let number = text.trim_start_matches(['=', '^', '~', '>', '<', ' ']);
    number.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "=^~<>., *+-".contains(c))
}

/// The repository's workspace, cut down to the SDK: its crates inherit from it.
fn workspace(text: &str) -> Result<String, Failure> {
    let broken =
        |why: String| Failure::machine(format!("the SDK in this command is broken: {why}"));
    let whole: toml::Table =
        text.parse().map_err(|error: toml::de::Error| broken(error.to_string()))?;
    let Some(toml::Value::Table(mut workspace)) = whole.get("workspace").cloned() else {
        return Err(broken("it has no workspace".to_owned()));
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
    Ok(format!("# The SDK for Rust, as `wpc new` brought it along.\n{whole}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_from_a_path() {
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
