//! Packs files into a `.tar.zst` and unpacks them, compatible with `tar --zstd`. The dependency `compression` compresses.

use std::io::Read as _;
use std::path::{Component, Path};
use tar::{Archive, Builder, EntryType, Header};
use wpc::GuestError;

wpc::import! {
    mod compression {
        fn compress(bytes: &[u8], level: i32) -> Vec<u8>;
        fn decompress(bytes: &[u8], max_size: u32) -> Vec<u8>;
    }
}

/// Zstandard's default level.
const LEVEL: i32 = 3;

/// Packs entries, each a name and the file's content. Equal entries give equal archives: files have no owner and are
/// dated 1970.
///
/// Errors: `BadName` for a name that leads out of the folder it is unpacked to, and those of the compression.
#[wpc::function]
fn pack(entries: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, GuestError> {
    compression::compress(&to_tar(&entries)?, LEVEL)
}

/// Unpacks the files of an archive, in their order. Folders are skipped, and so are links, which could lead anywhere.
///
/// Errors: `TooLarge` if the unpacked archive is larger than `max_size` bytes; `CorruptData` if the data is not an
/// archive; `BadName` as in `pack`.
#[wpc::function]
fn unpack(archive: &[u8], max_size: u32) -> Result<Vec<(String, Vec<u8>)>, GuestError> {
    from_tar(&compression::decompress(archive, max_size)?)
}

fn to_tar(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>, GuestError> {
    let failed = |error: std::io::Error| GuestError::new("PackingFailed", error.to_string());
    let mut tar = Builder::new(Vec::new());
    for (name, content) in entries {
        check_name(name)?;
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_slice()).map_err(failed)?;
    }
    tar.into_inner().map_err(failed)
}

fn from_tar(tar: &[u8]) -> Result<Vec<(String, Vec<u8>)>, GuestError> {
    let corrupt = |error: std::io::Error| GuestError::new("CorruptData", error.to_string());
    let mut files = Vec::new();
    for entry in Archive::new(tar).entries().map_err(corrupt)? {
        let mut entry = entry.map_err(corrupt)?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|error| bad_name(&String::from_utf8_lossy(error.as_bytes())))?;
        check_name(&name)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(corrupt)?;
        files.push((name, content));
    }
    Ok(files)
}

/// Rejects names that are unsafe to unpack as files.
fn check_name(name: &str) -> Result<(), GuestError> {
    // A backslash separates folders on some systems.
    let is_plain = !name.is_empty()
        && !name.contains(['\\', '\0'])
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain { Ok(()) } else { Err(bad_name(name)) }
}

fn bad_name(name: &str) -> GuestError {
    GuestError::new(
        "BadName",
        format!("`{}` is not a valid name for a file in an archive", name.escape_debug()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> (String, Vec<u8>) {
        (name.to_owned(), content.as_bytes().to_vec())
    }

    #[test]
    fn files_are_unpacked_in_their_order() {
        let long = format!("{}/name", "folder/".repeat(40));
        let files =
            [file("b/c.txt", "two"), file("a.txt", "one"), file("empty", ""), file(&long, "x")];
        let tar = to_tar(&files).unwrap();
        assert_eq!(from_tar(&tar).unwrap(), files);
        assert_eq!(to_tar(&files).unwrap(), tar);
        assert!(from_tar(&to_tar(&[]).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn unsafe_names_are_rejected() {
        for name in ["", "/etc/passwd", "../up", "a/../../up", "./a", "a\\b", "a\0b"] {
            assert_eq!(to_tar(&[file(name, "")]).unwrap_err().name, "BadName", "{name:?}");
        }
        let mut tar = to_tar(&[file("a.txt", "one")]).unwrap();
        assert_eq!(from_tar(&tar[..700]).unwrap_err().name, "CorruptData");
        tar[0] = b'/';
        assert_eq!(from_tar(&tar).unwrap_err().name, "CorruptData", "the checksum does not match");
    }
}
