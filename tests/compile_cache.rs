//! The compile cache: keyed by content and settings, verified before an entry is loaded, and kept only in folders that
//! no other user can change.

use crate::support::{Recorder, code, stopped, wat};
use std::path::{Path, PathBuf};
use wpc_host::{EventDetails, Limits, Options, WasmModule, WorkerProcedureCall};

fn options(folder: &Path) -> Options {
    Options::default().compile_cache(folder.to_owned()).max_live_instances(4)
}

/// A module whose function `f` returns this number.
fn returns(number: i32) -> WasmModule {
    wat(&format!(r#"(module (func (export "f") (result i32) i32.const {number}))"#))
}

/// Defines and calls the function in a new pool and returns the pool's cache hits, misses and rejected entries.
#[track_caller]
fn cache_counts(folder: &Path, module: WasmModule, expected: i32) -> (usize, usize, usize) {
    let wpc = stopped(options(folder));
    wpc.define_worker_function("f", module).unwrap();
    wpc.start_workers(1).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), expected);
    let usage = wpc.get_compile_cache_usage().unwrap();
    assert_eq!(usage.not_kept, 0);
    (usage.hits, usage.misses, usage.rejected)
}

/// The files of complete entries.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("modules/wpc-1")).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn only_entry(folder: &Path) -> PathBuf {
    let entries = entries(folder);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

#[test]
fn cached_code_is_keyed_by_content_and_settings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("created/when/missing");
    assert_eq!(cache_counts(&folder, returns(7), 7), (0, 1, 0));
    assert_eq!(cache_counts(&folder, returns(7), 7), (1, 0, 0));
    let metered = Limits::default().fuel(1_000_000);
    assert_eq!(cache_counts(&folder, returns(7).limits(metered), 7), (0, 1, 0));
    assert_eq!(cache_counts(&folder, returns(8), 8), (0, 1, 0));
    returns(7).inspect_with(&options(&folder)).unwrap();
    assert_eq!(stopped(Options::default()).get_compile_cache_usage(), None);
}

#[test]
fn a_flipped_bit_is_detected_before_the_entry_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(cache_counts(folder, returns(7), 7), (0, 1, 0));
    let entry = only_entry(folder);
    let sound = std::fs::read(&entry).unwrap();
    // The unit tests flip every bit of a small entry. This test samples the bits of real code.
    for at in (0..32).map(|step| step * (sound.len() - 1) / 31) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&entry, damaged).unwrap();
        assert_eq!(cache_counts(folder, returns(7), 7), (0, 1, 1), "byte {at}");
        assert_eq!(std::fs::read(&entry).unwrap().len(), sound.len(), "the entry is replaced");
    }
    assert_eq!(cache_counts(folder, returns(7), 7), (1, 0, 0));
}

#[test]
fn swapped_entries_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cache_counts(folder, returns(1), 1);
    cache_counts(folder, returns(2), 2);
    let [one, two] = <[PathBuf; 2]>::try_from(entries(folder)).unwrap();
    let aside = folder.join("aside");
    std::fs::rename(&one, &aside).unwrap();
    std::fs::rename(&two, &one).unwrap();
    std::fs::rename(&aside, &two).unwrap();
    assert_eq!(cache_counts(folder, returns(1), 1), (0, 1, 1));
    assert_eq!(cache_counts(folder, returns(2), 2), (0, 1, 1));
    assert_eq!(cache_counts(folder, returns(1), 1), (1, 0, 0));
}

#[test]
fn an_entry_left_incomplete_by_a_crash_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cache_counts(folder, returns(7), 7);
    let entry = only_entry(folder);
    let sound = std::fs::read(&entry).unwrap();
    for length in [0, 1, 8, 40, 111, 112, sound.len() / 2, sound.len() - 1] {
        std::fs::write(&entry, &sound[..length]).unwrap();
        assert_eq!(cache_counts(folder, returns(7), 7), (0, 1, 1), "{length} bytes");
    }
    // The file was extended but its end was not written.
    let mut sparse = sound.clone();
    sparse[sound.len() / 2..].fill(0);
    std::fs::write(&entry, sparse).unwrap();
    assert_eq!(cache_counts(folder, returns(7), 7), (0, 1, 1));
    std::fs::write(folder.join("modules/wpc-1/writing-abandoned"), "half").unwrap();
    assert_eq!(cache_counts(folder, returns(7), 7), (1, 0, 0));
}

#[test]
fn an_entry_that_is_not_a_regular_file_is_neither_read_nor_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cache_counts(folder, returns(7), 7);
    let entry = only_entry(folder);
    std::fs::remove_file(&entry).unwrap();
    std::fs::create_dir(&entry).unwrap();
    assert_eq!(cache_counts(folder, returns(7), 7), (0, 1, 1));
    assert_eq!(cache_counts(folder, returns(7), 7), (1, 0, 0));
    #[cfg(unix)]
    {
        std::fs::remove_file(&entry).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&entry).status().unwrap();
        assert!(made.success());
        assert_eq!(cache_counts(folder, returns(7), 7), (0, 1, 1));
        assert_eq!(cache_counts(folder, returns(7), 7), (1, 0, 0));
    }
}

#[test]
fn entries_sealed_with_another_key_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    cache_counts(folder.path(), returns(7), 7);
    cache_counts(other.path(), returns(7), 7);
    std::fs::copy(only_entry(other.path()), only_entry(folder.path())).unwrap();
    assert_eq!(cache_counts(folder.path(), returns(7), 7), (0, 1, 1));
    // A truncated key is replaced.
    std::fs::write(folder.path().join("key"), "short").unwrap();
    assert_eq!(cache_counts(folder.path(), returns(7), 7), (0, 1, 1));
    assert_eq!(cache_counts(folder.path(), returns(7), 7), (1, 0, 0));
}

#[test]
fn a_rejected_entry_is_reported_with_its_file_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    cache_counts(folder.path(), returns(7), 7);
    let file = only_entry(folder.path());
    std::fs::write(&file, "broken").unwrap();
    let wpc = stopped(options(folder.path()));
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", returns(7)).unwrap();
    let event = events.wait_for_name("compile_cache_entry_rejected");
    let EventDetails::CompileCacheEntryRejected { entry, reason } = event.details else {
        panic!("{event:?}")
    };
    assert_eq!(entry, file.canonicalize().unwrap().display().to_string());
    assert!(reason.contains("but it has 6"), "{reason}");
}

#[test]
fn many_pools_share_a_folder_while_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..8 {
                    cache_counts(folder, returns(round), round);
                    for entry in entries(folder) {
                        // Another pool may have replaced the entry.
                        let _ = std::fs::write(entry, "broken");
                    }
                }
            });
        }
    });
    cache_counts(folder, returns(1), 1);
    assert_eq!(cache_counts(folder, returns(1), 1), (1, 0, 0));
}

#[test]
fn an_unusable_folder_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = |folder: &Path| {
        let error = WorkerProcedureCall::new(options(folder)).unwrap_err();
        assert_eq!(error.code().as_str(), "invalid_options");
        error.to_string()
    };
    assert!(refused("relative".as_ref()).contains("absolute"));
    assert!(refused(&file).contains("`compile_cache`"));
    assert!(refused(&file.join("below")).contains("`compile_cache`"));
}

#[test]
#[cfg(unix)]
fn a_folder_that_other_users_can_change_is_rejected_anywhere_on_its_path() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let folder = root.join("above/cache");
    cache_counts(&folder, returns(7), 7);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let entries = folder.join("modules/wpc-1");
    for changed in [&root.join("above"), &folder, &folder.join("modules"), &entries] {
        for bad in [0o770, 0o720, 0o702, 0o777] {
            mode(changed, bad);
            let error = WorkerProcedureCall::new(options(&folder)).unwrap_err().to_string();
            assert!(error.contains("chmod g"), "{error}");
            assert!(error.contains(&changed.display().to_string()), "{error}");
        }
        mode(changed, 0o755);
        assert_eq!(cache_counts(&folder, returns(7), 7), (1, 0, 0));
    }
    // With the sticky bit, as in /tmp, users cannot replace files of others.
    mode(&root.join("above"), 0o1777);
    assert_eq!(cache_counts(&folder, returns(7), 7), (1, 0, 0));
    mode(&folder, 0o1777);
    assert_eq!(code(WorkerProcedureCall::new(options(&folder))), "invalid_options");
    mode(&folder, 0o700);
    // A link in the path is resolved once, and the resolved path is checked.
    std::os::unix::fs::symlink(root.join("above"), root.join("link")).unwrap();
    assert_eq!(cache_counts(&root.join("link/cache"), returns(7), 7), (1, 0, 0));
    // A key that other users could read is replaced.
    mode(&folder.join("key"), 0o644);
    assert_eq!(cache_counts(&folder, returns(7), 7), (0, 1, 1));
    let key = std::fs::metadata(folder.join("key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
#[cfg(unix)]
fn a_folder_of_another_user_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let above = folder.path().join("theirs");
    std::fs::create_dir(&above).unwrap();
    // Only root can change an owner.
    if std::os::unix::fs::chown(&above, Some(65_534), None).is_err() {
        return;
    }
    for folder in [above.clone(), above.join("ours")] {
        let error = WorkerProcedureCall::new(options(&folder)).unwrap_err().to_string();
        assert!(error.contains("belongs to user 65534"), "{error}");
    }
}
