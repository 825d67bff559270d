//! What a server finds in its data folder when it starts.

use crate::deployed::{file_of, manifest, serve, serve_with, version};
use crate::harness::{Running, guest_bytes};
use serde_json::{Value, json};
use std::path::Path;
use wpc_deploy::{Apply as _, Policy, Setup, Source};
use wpc_server::{Deployments, Store};

fn not_served(deployment: &Value) -> Vec<(String, String)> {
    let entries = deployment["not_served"].as_array().unwrap().iter();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    entries.map(|entry| (text(entry, "entry"), text(entry, "reason"))).collect()
}

#[test]
fn an_item_whose_module_is_missing_or_damaged_is_not_served_and_the_others_serve() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("damaged", 1), ("missing", 2), ("well", 3)]);
    drop(server);
    let modules = data.path().join("modules");
    let damaged = modules.join(file_of(&version(1)));
    std::fs::write(&damaged, version(4)).unwrap();
    std::fs::remove_file(modules.join(file_of(&version(2)))).unwrap();
    let server = serve(data.path());
    assert_eq!(server.version_of("well"), json!(3));
    let found = not_served(&server.get("/v1/deployment", &[]).json());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].0.contains("damaged") && found[0].1.contains("upload it again"), "{found:?}");
    assert!(found[1].0.contains("missing"), "{found:?}");
    for (function, reason) in [("damaged", "is damaged: "), ("missing", "is missing; upload it")] {
        let answer = server.call(function, &json!([]));
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (503, &json!("function_not_served")));
        let detail = problem["detail"].as_str().unwrap();
        let expected = format!("function \"{function}\" is not served: the module \"");
        assert!(detail.starts_with(&expected) && detail.contains(reason), "{detail}");
        assert!(!detail.contains(&*data.path().to_string_lossy()), "{detail}");
        let described = server.get(&format!("/v1/functions/{function}"), &[]);
        assert_eq!(
            (described.status, described.json()["code"].clone()),
            (503, problem["code"].clone())
        );
    }
    assert_eq!(server.call("neither", &json!([])).status, 404);
    let ready = server.get("/readyz?verbose", &[]);
    assert!(String::from_utf8_lossy(&ready.body).contains("damaged"), "{ready:?}");
    // The modules are uploaded again, and the same revision is activated again.
    for number in [1, 2] {
        assert_eq!(server.upload(&version(number)).status, 201);
    }
    let answer = server.activate(1, Some(1));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((server.version_of("damaged"), server.version_of("missing")), (json!(1), json!(2)));
    assert_eq!(not_served(&server.get("/v1/deployment", &[]).json()), []);
}

#[test]
fn an_item_whose_grant_is_no_longer_allowed_is_not_served() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let allowed = format!("read={}", folder.path().display());
    let server = serve_with(data.path(), Policy::of([&allowed]).unwrap());
    server.upload(&version(1));
    let text = format!("{}grants = [\"{allowed}:data\"]\n", manifest(&[("well", 1), ("f", 1)]));
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": text }));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.activate(1, None).status, 200);
    drop(server);
    let server = serve(data.path());
    assert_eq!(server.version_of("well"), json!(1));
    let found = not_served(&server.get("/v1/deployment", &[]).json());
    assert_eq!(found[0].0, "function \"f\"");
    assert!(found[0].1.contains("is not allowed by the server"), "{found:?}");
}

#[test]
fn a_secret_is_never_shown_or_stored() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "hunter2\n").unwrap();
    let policy = Policy::of([format!("secret=file:{}", folder.path().display())]).unwrap();
    let server = serve_with(data.path(), policy);
    assert_eq!(server.upload(&guest_bytes("sdk")).status, 201);
    let text = format!(
        "[constants]\nSERVICE_PREFIX = {{ secret = \"file:{}\" }}\n[functions.add]\nfile = \"{}\"\n",
        file.display(),
        file_of(&guest_bytes("sdk"))
    );
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": text }));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.activate(1, None).status, 200);
    for path in ["/v1/deployment", "/v1/revisions", "/v1/revisions/1", "/v1/revisions/1/diff"] {
        let body = server.get(path, &[]).body;
        assert!(!String::from_utf8_lossy(&body).contains("hunter2"), "{path}");
    }
    drop(server);
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let is_shown = bytes.windows(7).any(|part| part == b"hunter2");
            assert!(!is_shown, "{} contains the secret", path.display());
        }
    }
}

#[test]
fn a_manifest_of_the_operator_is_deployed_when_it_has_changed() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = |data: &Path| {
        let store = Store::open(data).unwrap();
        Deployments::open(store, Setup::new(), Some(data.join("cache"))).unwrap()
    };
    let path = folder.path().join("wpc.toml");
    let write = |number| {
        std::fs::write(folder.path().join("f.wasm"), version(number)).unwrap();
        std::fs::write(&path, "[functions.f]\nfile = \"f.wasm\"\nexport = \"version\"\n").unwrap();
    };
    let active = |deployments: &mut Deployments| {
        let source = Source::read(&path).unwrap();
        let report = deployments.apply(&source, &source.parse().unwrap());
        assert_eq!(report.problems, []);
        deployments.state().active
    };
    write(1);
    let mut deployments = open(data.path());
    assert_eq!(active(&mut deployments), Some(1));
    assert_eq!(active(&mut deployments), Some(1), "nothing has changed");
    // The module has changed, the manifest has not.
    write(2);
    assert_eq!(active(&mut deployments), Some(2));
    drop(deployments);
    // A client returns to the first revision, which a restart does not undo.
    let server = serve(data.path());
    assert_eq!(server.activate(1, Some(2)).status, 200);
    drop(server);
    let mut deployments = open(data.path());
    assert_eq!(active(&mut deployments), Some(1));
    write(3);
    assert_eq!(active(&mut deployments), Some(3));
}

#[test]
fn the_pool_has_the_options_of_the_manifest_that_is_active_after_the_start() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.wasm"), version(1)).unwrap();
    let path = folder.path().join("wpc.toml");
    let open = |text: &str| {
        let function = "[functions.f]\nfile = \"f.wasm\"\nexport = \"version\"\n";
        let source = Source::new(path.clone(), format!("{text}\n{function}"));
        let store = Store::open(data.path()).unwrap();
        let (deployments, refused) =
            Deployments::open_with_file(store, Setup::new(), None, &source).unwrap();
        let functions = deployments.pool().get_remote_functions().len();
        let state = deployments.state();
        assert_eq!((functions, state.is_pool_outdated), (1, false), "{text}");
        (state.active, deployments.workers(), deployments.stop_timeout().as_secs(), refused)
    };
    let (active, workers, stop_timeout, refused) =
        open("[pool]\nworkers = 3\nstop_timeout = \"7s\"");
    assert_eq!((active, workers, stop_timeout), (Some(1), 3, 7));
    assert!(refused.is_none());
    let (active, workers, ..) = open("[pool]\nworkers = 1");
    assert_eq!((active, workers), (Some(2), 1), "a changed manifest");
    let (active, workers, ..) = open("[pool]\nworkers = 1");
    assert_eq!((active, workers), (Some(2), 1), "the same manifest");
    let (active, workers, _, refused) =
        open("[pool]\nworkers = 4\n[modules.missing]\nfile = \"missing.wasm\"");
    assert_eq!((active, workers), (Some(2), 1), "a manifest that is refused");
    assert!(refused.unwrap().to_string().contains("missing.wasm"));
    // It is refused when it is linked, and the problem names the operator's file.
    let (active, workers, _, refused) =
        open("[pool]\nworkers = 4\n[functions.g]\nfile = \"f.wasm\"\nexport = \"absent\"");
    assert_eq!((active, workers), (Some(2), 1), "a manifest that cannot be linked");
    let refused = refused.unwrap().to_string();
    assert!(refused.starts_with(&format!("{}:3: function \"g\"", path.display())), "{refused}");
}

#[test]
fn a_pool_that_takes_effect_at_the_next_start_is_reported() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1)]);
    let text = format!("[pool]\ncall_timeout = \"5s\"\n{}", manifest(&[("f", 1)]));
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": text }));
    assert_eq!((answer.status, &answer.json()["pool_outdated"]), (201, &json!(true)), "{answer:?}");
    let answer = server.activate(2, Some(1));
    assert_eq!((answer.status, &answer.json()["pool_outdated"]), (200, &json!(true)), "{answer:?}");
    let outdated =
        |server: &Running| server.get("/v1/deployment", &[]).json()["pool_outdated"].clone();
    assert_eq!(outdated(&server), json!(true));
    drop(server);
    let server = serve(data.path());
    assert_eq!(outdated(&server), json!(false));
    let answer = server.activate(1, Some(2));
    assert_eq!(answer.json()["pool_outdated"], json!(true), "{answer:?}");
}

#[test]
fn a_thousand_functions_start_from_a_warm_cache() {
    let data = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..1000).map(|at| format!("f{at}")).collect();
    // Ten modules, each for a hundred functions.
    let functions: Vec<_> =
        names.iter().zip(0..).map(|(name, at)| (name.as_str(), at % 10)).collect();
    let server = serve(data.path());
    for number in 0..10 {
        server.upload(&version(number));
    }
    let text = manifest(&functions);
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": text }));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.activate(1, None).status, 200);
    drop(server);
    let server = serve(data.path());
    assert_eq!((server.version_of("f0"), server.version_of("f999")), (json!(0), json!(9)));
    assert_eq!(not_served(&server.get("/v1/deployment", &[]).json()), []);
    let mut changed = functions.clone();
    changed[0].1 = 5;
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": manifest(&changed) }));
    let number = answer.json()["revision"]["number"].as_u64().unwrap();
    assert_eq!(server.activate(number, Some(1)).status, 200);
    assert_eq!(server.version_of("f0"), json!(5));
    assert_eq!(server.post_json("/v1/rollback", &json!({})).status, 200);
    assert_eq!(server.version_of("f0"), json!(0));
}

#[test]
fn secrets_are_read_again_at_a_reload() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "first").unwrap();
    let text = format!("[constants]\nKEY = {{ secret = \"file:{}\" }}\n", key.display());
    let source = Source::new(folder.path().join("wpc.toml"), text);
    let store = Store::open(data.path()).unwrap();
    let deployments = Deployments::open(store, Setup::new(), None).unwrap();
    assert_eq!(deployments.deploy_file(&source).unwrap().defined.len(), 1);
    assert_eq!(deployments.reload().unwrap().defined.len(), 0, "nothing has changed");
    std::fs::write(&key, "second").unwrap();
    assert_eq!(deployments.reload().unwrap().defined[0].to_string(), "constant \"KEY\"");
    std::fs::remove_file(&key).unwrap();
    let report = deployments.reload().unwrap();
    assert!(report.problems[0].message.contains("key"), "{report:?}");
    assert_eq!(deployments.pool().get_worker_constants().len(), 1, "the value stays");
    assert_eq!(deployments.state().active, Some(1));
}
