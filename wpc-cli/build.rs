//! Embeds the sources of the Rust SDK, which `wpc new` writes into projects. A build from a published package has no
//! SDK beside it: it embeds nothing, and new projects depend on the published version.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The files that a project needs, by path from the repository's root.
const FOLDERS: [&str; 4] =
    ["wpc-abi/src", "wpc-abi/macros/src", "wpc-guest-sdk/src", "wpc-guest-sdk/macros/src"];
const FILES: [&str; 7] = [
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "wpc-abi/Cargo.toml",
    "wpc-abi/macros/Cargo.toml",
    "wpc-guest-sdk/Cargo.toml",
    "wpc-guest-sdk/macros/Cargo.toml",
];

fn main() {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = package.parent().expect("a package has a parent folder").to_owned();
    let mut files = Vec::new();
    if FILES.iter().all(|file| root.join(file).is_file()) {
        files.extend(FILES.iter().map(PathBuf::from));
        for folder in FOLDERS {
            println!("cargo::rerun-if-changed={}", root.join(folder).display());
            add_files(&root, Path::new(folder), &mut files);
        }
        files.sort();
    }
    let mut list = String::from("&[\n");
    for file in files {
        let path = root.join(&file);
        println!("cargo::rerun-if-changed={}", path.display());
        let name = file.to_string_lossy().replace('\\', "/");
        writeln!(list, "    ({name:?}, include_str!({path:?})),")
            .expect("writing to a string succeeds");
    }
    list.push(']');
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("sdk_sources.rs"), list).expect("the build folder is writable");
}

fn add_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root.join(folder)).expect("the folder exists") {
        let entry = entry.expect("the folder is readable");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            add_files(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
