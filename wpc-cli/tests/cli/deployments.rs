//! `wpc serve --data` as a process that is killed, or whose disk is full.

use crate::process::{command, run, shell};
use crate::running::{Running, TIMEOUT};
use crate::signals::signal;
use crate::support::{err, fails_with, out};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use wpc_host::{FunctionHash, Sha256Hash};

/// A client of a server in another process, which may be killed at any moment.
struct Client {
    agent: ureq::Agent,
    url: String,
}

/// The response of a server; `None` if there was none.
type Answer = Option<(u16, Value)>;

impl Client {
    fn of(server: &Running) -> Self {
        let ready: Value = serde_json::from_str(&server.wait_for_line("ready", "")).unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .build();
        Self { agent: agent.into(), url: ready["url"].as_str().unwrap().to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        answer(self.agent.get(format!("{}{path}", self.url)).call())
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.url));
        answer(request.header("content-type", "application/json").send(body))
    }

    fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, body.to_string().as_bytes())
    }

    fn active(&self) -> Option<u64> {
        self.get("/v1/deployment").unwrap().1["active"].as_u64()
    }

    /// The result of a function, and the hash of the module that returned it.
    fn version(&self, function: &str) -> (Value, String) {
        let request = self.agent.post(format!("{}/v1/functions/{function}/call", self.url));
        let mut answer = request.send_empty().unwrap();
        let tag = answer.headers()["etag"].to_str().unwrap().trim_matches('"').to_owned();
        let body = answer.body_mut().read_to_string().unwrap();
        (serde_json::from_str(&body).unwrap(), tag)
    }
}

fn answer(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut answer = answer.ok()?;
    let body = answer.body_mut().read_to_string().ok()?;
    Some((answer.status().as_u16(), serde_json::from_str(&body).unwrap()))
}

/// A module whose function `version` returns a number.
fn version(number: u64) -> Vec<u8> {
    let text = format!("(module (func (export \"version\") (result i64) i64.const {number}))");
    wat::parse_str(text).unwrap()
}

/// A manifest of two functions that return this number.
fn manifest(number: u64) -> String {
    let file =
        format!("file = \"{}.wasm\"\nexport = \"version\"\n", Sha256Hash::of(&version(number)));
    format!("[pool]\nworkers = 1\n[functions.f]\n{file}[functions.g]\n{file}")
}

fn serve(data: &Path) -> Running {
    serve_with(data, &[])
}

fn serve_with(data: &Path, options: &[&str]) -> Running {
    let data = data.display().to_string();
    let arguments = ["--json", "serve", "--listen", "127.0.0.1:0", "--data", &data];
    Running::start(&[&arguments, options].concat())
}

/// How many revisions are kept while servers are killed.
const KEPT: usize = 5;

/// Makes the files of all modules so old that those that no revision needs are removed at the next start.
fn age(data: &Path) {
    let old = SystemTime::now() - Duration::from_secs(7200);
    for entry in std::fs::read_dir(data.join("modules")).into_iter().flatten() {
        let file = std::fs::OpenOptions::new().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(old).unwrap();
    }
}

/// Registers and activates revisions until the server no longer answers. A revision's number is the number that its functions
/// return. Returns the last revision that was acknowledged as active, and the next one.
fn deploy_until_killed(client: &Client, mut active: Option<u64>) -> (Option<u64>, u64, Vec<u64>) {
    let mut registered = Vec::new();
    let newest = client.get("/v1/revisions").map(|(_, listed)| listed);
    let newest = newest.and_then(|listed| listed["revisions"][0]["number"].as_u64());
    let mut number = newest.unwrap_or_default();
    loop {
        number += 1;
        let next = || -> Option<()> {
            let (status, module) = client.post("/v1/modules", &version(number))?;
            assert!(matches!(status, 200 | 201), "{module}");
            let body = json!({ "manifest": manifest(number) });
            let (status, registered) = client.post_json("/v1/revisions", &body)?;
            assert_eq!(
                (status, &registered["revision"]["number"]),
                (201, &json!(number)),
                "{registered}"
            );
            Some(())
        };
        if next().is_none() {
            return (active, number, registered);
        }
        registered.push(number);
        let body = json!({ "revision": number, "expected": active });
        match client.post_json("/v1/active", &body) {
            None => return (active, number, registered),
            Some((status, changed)) => assert_eq!(status, 200, "{changed}"),
        }
        active = Some(number);
    }
}

/// Kills servers at arbitrary moments while a client deploys.
fn kill_during_deployments(kills: u64) {
    let data = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut in_flight, mut registered) = (None, 0, Vec::new());
    let mut longest_life = LONGEST_LIFE;
    for kill in 0..=10 * kills {
        // On a busy machine, more servers are killed.
        if kill > kills && in_flight > kills / 2 {
            break;
        }
        let kept = KEPT.to_string();
        let mut server = serve_with(data.path(), &["--keep-revisions", &kept]);
        let client = Client::of(&server);
        let active = client.active();
        // The revision that was acknowledged last, or the one whose response has not been sent yet.
        assert!(
            active == acknowledged || active == Some(in_flight),
            "found {active:?}, acknowledged {acknowledged:?}, in flight {in_flight}"
        );
        if let Some(active) = active {
            let hash = FunctionHash::of(&version(active)).to_string();
            for function in ["f", "g"] {
                assert_eq!(client.version(function), (json!(active), hash.clone()));
            }
        }
        let (_, listed) = client.get("/v1/revisions?limit=1000").unwrap();
        let listed = listed["revisions"].as_array().unwrap().len();
        // The active one and the one before it are kept in addition.
        assert!(listed <= KEPT + 2, "{listed} revisions are kept");
        // One more may have been registered without an answer.
        for number in registered.into_iter().rev().take(KEPT - 1) {
            let (_, found) = client.get(&format!("/v1/revisions/{number}")).unwrap();
            assert_eq!(found["manifest"], json!(manifest(number)), "revision {number}");
        }
        (acknowledged, in_flight, registered) = std::thread::scope(|scope| {
            let deploying = scope.spawn(|| deploy_until_killed(&client, active));
            // Another moment each time: multiples of the golden ratio are spread evenly between 0 and 1.
            let moment = (kill as f64 * 0.618_034).fract();
            std::thread::sleep(longest_life.mul_f64(moment));
            server.child.kill().unwrap();
            server.child.wait().unwrap();
            deploying.join().unwrap()
        });
        age(data.path());
        if in_flight <= kill / 2 {
            longest_life = (longest_life * 2).min(Duration::from_secs(10));
        }
    }
    assert!(in_flight > kills / 2, "{in_flight} deployments are too few for a test");
}

/// The maximum life of a server: enough for several deployments, unless the machine is busy.
const LONGEST_LIFE: Duration = Duration::from_millis(150);

#[test]
fn a_killed_server_keeps_acknowledged_deployments_and_no_partial_ones() {
    // A long run sets a larger number.
    let kills = std::env::var("WPC_KILLS").ok().and_then(|count| count.parse().ok());
    kill_during_deployments(kills.unwrap_or(12));
}

#[test]
fn a_manifest_is_deployed_shown_and_rolled_back_from_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let client = Client::of(&server);
    let write = |number, more: &str| {
        std::fs::write(folder.path().join("f.wasm"), version(number)).unwrap();
        let text =
            format!("# Kept.\n[functions.f]\nfile = \"f.wasm\"\nexport = \"version\"\n{more}");
        std::fs::write(folder.path().join("wpc.toml"), text).unwrap();
    };
    let run = |arguments: &[&str]| {
        run(command(arguments).current_dir(folder.path()).env("WPC_SERVER", &client.url))
    };
    let prints = |arguments: &[&str], expected: &str| {
        let output = run(arguments);
        assert_eq!((out(&output).as_str(), err(&output).as_str()), (expected, ""), "{arguments:?}");
    };
    write(1, "");
    prints(
        &["deploy", "--dry-run"],
        "added function \"f\"\nnothing was changed, because of --dry-run\n",
    );
    assert_eq!(client.active(), None);
    prints(&["deploy", "--note", "The first"], "added function \"f\"\nrevision 1 is active\n");
    assert_eq!(client.version("f").0, json!(1));
    prints(&["deploy"], "nothing has changed; revision 1 is active\n");
    write(2, "grants = [\"clock\"]\n");
    let deployed = out(&run(&["deploy"]));
    assert!(deployed.contains("  grants: none -> [\"clock\"]\n"), "{deployed}");
    assert!(deployed.ends_with("revision 2 is active\n"), "{deployed}");
    let difference = out(&run(&["history", "--diff", "2"]));
    assert!(difference.starts_with("changed function \"f\"\n  file: "), "{difference}");
    let manifest = out(&run(&["history", "--show", "1"]));
    let file = format!("file = \"{}.wasm\"", Sha256Hash::of(&version(1)));
    assert!(manifest.starts_with("# Kept.\n") && manifest.contains(&file), "{manifest}");
    prints(&["rollback"], "defined function \"f\"\nrevision 3 is active\n");
    assert_eq!(client.version("f").0, json!(1));
    prints(
        &["rollback", "--to", "2", "--function", "f"],
        "defined function \"f\"\nrevision 4 is active\n",
    );
    let history = out(&run(&["history"]));
    let lines: Vec<_> = history.lines().collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert!(
        lines[0].starts_with("*    4  ") && lines[0].contains("function \"f\" rolled back"),
        "{history}"
    );
    assert!(lines[3].ends_with("The first"), "{history}");
    let hash = FunctionHash::of(&version(2)).to_string();
    let listed = out(&run(&["ls"]));
    assert!(listed.starts_with(&format!("{}  f() -> i64  on ", &hash[..12])), "{listed}");

    // An unchanged manifest is activated again if one of its items is not served.
    run(&["deploy"]);
    let active = client.active().unwrap();
    drop(server);
    let stored = format!("{}.wasm", Sha256Hash::of(&version(2)));
    std::fs::remove_file(data.path().join("modules").join(stored)).unwrap();
    let server = serve(data.path());
    server.wait_for_line("refused", "is missing; upload it again");
    let client = Client::of(&server);
    let run = |arguments: &[&str]| {
        crate::process::run(
            command(arguments).current_dir(folder.path()).env("WPC_SERVER", &client.url),
        )
    };
    let deployed = out(&run(&["deploy"]));
    let expected =
        format!("revision {active} is active; the items that were not served are defined again\n");
    assert_eq!((deployed, client.version("f").0), (expected, json!(2)));

    // A refused deployment changes nothing.
    write(3, "grants = [\"read=/etc\"]\n");
    let message = fails_with(3, &run(&["deploy"]));
    assert!(message.contains("is not allowed by the server"), "{message}");
    assert!(message.starts_with("error: wpc.toml:2: function \"f\": "), "{message}");
    let message = fails_with(3, &run(&["rollback", "99"]));
    assert!(message.contains("revision 99 does not exist"), "{message}");
    assert_eq!(client.version("f").0, json!(2));
    let message = fails_with(2, &run(&["deploy", "--server", ""]));
    assert!(message.contains("WPC_SERVER"), "{message}");
}

#[test]
fn problems_of_a_deployment_name_the_manifest_its_line_and_the_module() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut server = serve(data.path());
    let url = Client::of(&server).url;
    let module = version(1);
    let imports = "(module (import \"wpc\" \"wpc_random\" (func (param i32 i32))) (func (export \"version\") (result i64) i64.const 1))";
    let files: [(&str, &[u8]); 4] = [
        ("good.wasm", &module),
        ("cut.wasm", &module[..module.len() - 3]),
        ("text.wasm", b"not a module"),
        ("asks.wasm", &wat::parse_str(imports).unwrap()),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    for (name, code, refused) in [
        ("cut", 3, "error: wpc.toml:5: function \"g\": module \"cut.wasm\" "),
        ("text", 3, "error: wpc.toml:5: function \"g\": module \"text.wasm\" "),
        ("asks", 3, "error: wpc.toml:5: function \"g\": module \"asks.wasm\" "),
        ("none", 1, "error: wpc.toml:5: function \"g\": failed to read \"./none.wasm\""),
    ] {
        let entry = |name: &str| format!("file = \"{name}.wasm\"\nexport = \"version\"\n");
        let text =
            format!("# A comment.\n[functions.f]\n{}[functions.g]\n{}", entry("good"), entry(name));
        std::fs::write(folder.path().join("wpc.toml"), text).unwrap();
        let mut deploy = command(&["deploy", "--server", &url]);
        let message = fails_with(code, &run(deploy.current_dir(folder.path())));
        assert!(message.starts_with(refused), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    signal(&server, "TERM");
    assert_eq!(server.exit_code(), Some(0));
    let log = server.all_notices();
    assert!(log.iter().any(|line| line.contains("deployment_refused")), "{log:?}");
    // A request for the modules to upload does not count as a failed one.
    assert!(!log.iter().any(|line| line.contains("modules_missing")), "{log:?}");
}

#[test]
fn a_full_disk_refuses_deployments_and_calls_continue() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let client = Client::of(&server);
    assert_eq!(client.post("/v1/modules", &version(1)).unwrap().0, 201);
    let first = json!({ "manifest": manifest(1) });
    assert_eq!(client.post_json("/v1/revisions", &first).unwrap().0, 201);
    let first = json!({ "revision": 1, "expected": null });
    assert_eq!(client.post_json("/v1/active", &first).unwrap().0, 200);
    drop(server);

    // Files cannot become larger than 8 MiB, as on a disk that is full.
    let script = "trap '' XFSZ; ulimit -f 16384; exec \"$0\" --json serve --listen 127.0.0.1:0 --data \"$1\"";
    let wpc = env!("CARGO_BIN_EXE_wpc");
    let mut command = shell(script, &[wpc, &data.path().display().to_string()]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = Running::of(command.spawn().unwrap());
    let client = Client::of(&server);
    let mut acknowledged = Vec::new();
    let refused = (2..100).find_map(|number| {
        // Text that no other revision contains.
        let text = format!("{}# {}{number}\n", manifest(1), "x".repeat(1 << 20));
        let (status, answer) =
            client.post_json("/v1/revisions", &json!({ "manifest": text })).unwrap();
        if status == 201 {
            acknowledged.push((answer["revision"]["number"].as_u64().unwrap(), text));
            return None;
        }
        Some((status, answer))
    });
    let (status, problem) = refused.expect("the disk becomes full");
    assert_eq!((status, &problem["code"]), (507, &json!("disk_full")), "{problem}");
    assert_eq!((client.version("f").0, client.active()), (json!(1), Some(1)));
    // An activation needs little space, so it is either made or refused too.
    if let Some((number, _)) = acknowledged.last() {
        let body = json!({ "revision": number, "expected": 1 });
        let (status, answer) = client.post_json("/v1/active", &body).unwrap();
        assert!(matches!(status, 200 | 507), "{answer}");
        assert_eq!(client.active(), Some(if status == 200 { *number } else { 1 }));
    }
    let active = client.active();
    drop(server);

    let server = serve(data.path());
    let client = Client::of(&server);
    assert_eq!((client.version("f").0, client.active()), (json!(1), active));
    for (number, text) in acknowledged {
        let (_, found) = client.get(&format!("/v1/revisions/{number}")).unwrap();
        assert_eq!(found["manifest"], json!(text));
    }
    assert_eq!(client.post("/v1/modules", &version(2)).unwrap().0, 201);
    let (status, answer) =
        client.post_json("/v1/revisions", &json!({ "manifest": manifest(2) })).unwrap();
    assert_eq!(status, 201, "{answer}");
}

#[test]
#[cfg(unix)]
fn a_changed_pool_is_reported_and_applied_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.wasm"), version(1)).unwrap();
    let write = |workers: u64| {
        let text = format!(
            "[pool]\nworkers = {workers}\n[functions.f]\nfile = \"f.wasm\"\nexport = \"version\"\n"
        );
        crate::running::write(folder.path(), &text)
    };
    let manifest = write(3);
    let workers = |client: &Client| {
        let mut answer = client.agent.get(format!("{}/readyz?verbose", client.url)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let line = text.lines().find(|line| line.contains("workers:")).unwrap();
        line.split_once("of ").unwrap().1.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let server = serve_with(data.path(), &[&manifest]);
    let client = Client::of(&server);
    assert_eq!(workers(&client), 3);
    write(1);
    crate::signals::signal(&server, "HUP");
    let warning = server.wait_for_line("warning", "[pool] has changed; restart");
    let warning: Value = serde_json::from_str(&warning).unwrap();
    assert_eq!(warning["problem"]["file"], Value::Null, "{warning}");
    assert_eq!((client.active(), workers(&client)), (Some(2), 3));
    drop(server);

    let server = serve_with(data.path(), &[&manifest]);
    let client = Client::of(&server);
    assert_eq!((client.active(), workers(&client)), (Some(2), 1));
    write(2);
    let deploy = run(command(&["deploy", &manifest]).env("WPC_SERVER", &client.url));
    let expected =
        "[pool] has changed; it takes effect when the server restarts\nrevision 3 is active\n";
    assert_eq!(out(&deploy), expected, "{}", err(&deploy));
}
