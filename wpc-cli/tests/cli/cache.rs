//! The compile cache of the command.

#[cfg(unix)]
use crate::process::{command, run};
use crate::support::{err, out, wat, wpc};

#[test]
fn clearing_the_cache_deletes_only_compiled_code() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("modules/mine.wasm");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "precious").unwrap();
    let cleared = wpc(&["cache", "--clear", "--cache", &folder.path().display().to_string()]);
    assert_eq!(cleared.status.code(), Some(0), "{}", err(&cleared));
    assert!(own.exists());
}

#[test]
#[cfg(unix)]
fn calls_succeed_without_a_cache_folder_that_other_users_can_change() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let module = wat(home.path(), "f.wasm", r#"(module (func (export "f")))"#);
    let called = || {
        let mut command = command(&["call", &module, "f"]);
        command.env_remove("WPC_CACHE").env_remove("XDG_CACHE_HOME");
        run(command.env("HOME", home.path()))
    };
    let ran = called();
    assert_eq!((out(&ran), err(&ran)), ("null\n".to_owned(), String::new()));
    let folder = home.path().join(".cache/wpc");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = called();
    assert_eq!(out(&ran), "null\n");
    assert!(err(&ran).starts_with("the compile cache is disabled: "), "{}", err(&ran));
    assert!(err(&ran).contains("chmod go-w") && err(&ran).contains("--no-cache"), "{}", err(&ran));
}

#[test]
fn compiled_modules_are_cached() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").display().to_string();
    let usage = || {
        let output = out(&wpc(&["--json", "cache", "--cache", &cache]));
        serde_json::from_str::<serde_json::Value>(&output).unwrap()
    };
    assert_eq!(usage()["files"], 0);
    let kept = |more: &[&str]| {
        let module = wat(folder.path(), "f.wasm", r#"(module (func (export "f")))"#);
        let ran = wpc(&[&["call", &module, "f"], more].concat());
        assert_eq!(out(&ran), "null\n", "{}", err(&ran));
    };
    kept(&["--no-cache"]);
    assert_eq!(usage()["files"], 0);
    kept(&["--cache", &cache]);
    let once = usage();
    assert!(once["files"].as_u64().unwrap() > 0 && once["folder"] == cache.as_str(), "{once}");
    kept(&["--cache", &cache]);
    assert!(out(&wpc(&["cache", "--cache", &cache, "--clear"])).contains("0 files"));
}
