//! Which files of a node stay: those of the revisions that it runs, prepares or ran last.

use super::folder::{Folder, document_name, index_name};
use crate::registry::MAX_DOCUMENT;
use std::collections::HashSet;
use std::io;
use wpc_deploy::document::{module_name, named_content};
use wpc_deploy::file;
use wpc_host::Sha256Hash;

/// The file with the manifests of the revisions that the node ran last, newest first.
const KEPT: &str = "kept.json";

/// The maximum size of that file in bytes: enough for 15,000 manifests.
const MAX_KEPT: usize = 1 << 20;

/// Keeps the files of the last `count` revisions, of which `active` is the newest, and of those that are `used`; removes other
/// manifests, lists and modules. No revision may be fetched meanwhile.
pub(super) fn retain(
    folder: &Folder,
    active: Option<Sha256Hash>,
    used: impl IntoIterator<Item = Sha256Hash>,
    count: usize,
) -> Result<(), String> {
    let mut kept = read(folder);
    if let Some(active) = active.filter(|active| kept.first() != Some(active)) {
        kept.retain(|other| *other != active);
        kept.insert(0, active);
    }
    kept.truncate(count.max(1));
    let text = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
    folder.write(KEPT, &text)?;
    let mut names = HashSet::new();
    for document in kept.into_iter().chain(used) {
        names.extend(modules(folder, document)?.into_iter().map(module_name));
        names.extend([document_name(document), index_name(document)]);
    }
    let failed = |error: io::Error| format!("{}: {error}", folder.folder().display());
    for entry in std::fs::read_dir(folder.folder()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_ours(&name) && !names.contains(&name) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn read(folder: &Folder) -> Vec<Sha256Hash> {
    let text = file::read(&folder.path(KEPT), MAX_KEPT).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The modules of a manifest; none if it was not fetched.
fn modules(folder: &Folder, document: Sha256Hash) -> Result<Vec<Sha256Hash>, String> {
    let text = folder.read(&document_name(document), document, MAX_DOCUMENT);
    let Some(text) = text else { return Ok(Vec::new()) };
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    let Ok(manifest) = folder.source(text).parse() else { return Ok(Vec::new()) };
    Ok(manifest.files().iter().filter_map(|file| named_content(file)).collect())
}

/// Whether the name is that of a manifest, a list of functions or a module.
fn is_ours(name: &str) -> bool {
    let endings = [".toml", ".index.json", ".wasm"];
    let hash = endings.iter().find_map(|ending| name.strip_suffix(ending));
    hash.is_some_and(|hash| hash.len() == 64 && hash.parse::<Sha256Hash>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// Writes the files of a revision with this module, and returns the SHA-256 of its manifest.
    fn write(folder: &Folder, module: &[u8]) -> Sha256Hash {
        let name = module_name(Sha256Hash::of(module));
        folder.write(&name, module).unwrap();
        let text = format!("[functions.f]\nfile = \"{name}\"\n");
        let document = Sha256Hash::of(text.as_bytes());
        folder.write(&document_name(document), text.as_bytes()).unwrap();
        folder.write(&index_name(document), b"[]").unwrap();
        document
    }

    fn has(folder: &Folder, module: &[u8]) -> bool {
        folder.has_module(Sha256Hash::of(module), 100)
    }

    #[test]
    fn the_files_of_the_last_revisions_and_of_those_in_use_stay() {
        let path = TempDir::new().unwrap();
        let folder = Folder::open(path.path()).unwrap();
        for other in ["active.json", "notes.toml", "x.wasm"] {
            folder.write(other, b"x").unwrap();
        }
        let documents = [b"1", b"2", b"3", b"4"].map(|module| write(&folder, module));
        let [first, second, third, staged] = documents;
        retain(&folder, Some(first), documents, 2).unwrap();
        assert!([b"1", b"2", b"3", b"4"].iter().all(|module| has(&folder, *module)));
        retain(&folder, Some(second), [third, staged], 2).unwrap();
        retain(&folder, Some(third), [staged], 2).unwrap();
        assert_eq!([b"1", b"2", b"3", b"4"].map(|it| has(&folder, it)), [false, true, true, true]);
        assert!(!path.path().join(document_name(first)).exists());
        assert!(!path.path().join(index_name(first)).exists());
        // Back to the second one; the fourth one was refused.
        retain(&folder, Some(second), [], 2).unwrap();
        assert_eq!([b"1", b"2", b"3", b"4"].map(|it| has(&folder, it)), [false, true, true, false]);
        retain(&folder, Some(second), [], 1).unwrap();
        assert_eq!([b"2", b"3"].map(|it| has(&folder, it)), [true, false]);
        for other in ["active.json", "notes.toml", "x.wasm"] {
            assert!(path.path().join(other).exists(), "{other} is not of a revision");
        }
    }
}
