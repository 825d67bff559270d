//! Tools of others read the document, and call the server by it. A developer need not have them; CI requires them.

use super::running;
use crate::harness::Running;
use std::path::Path;
use std::process::Command;

/// The command of an installed Python package; `None` if it is not installed, and not required.
fn tool(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH")?;
    let mut folders = std::env::split_paths(&path);
    let found = folders.any(|folder| folder.join(name).is_file());
    let required = std::env::var_os("WPC_EVERY_COMPILER").is_some();
    assert!(found || !required, "`{name}` is not installed, see .ci/run");
    found.then(|| Command::new(name))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

fn save(server: &Running, folder: &Path) -> std::path::PathBuf {
    let path = folder.join("openapi.json");
    std::fs::write(&path, server.get("/openapi.json", &[]).body).unwrap();
    path
}

#[test]
fn a_validator_accepts_the_document() {
    let Some(mut validator) = tool("openapi-spec-validator") else { return };
    let folder = tempfile::tempdir().unwrap();
    run(validator.arg(save(&running(), folder.path())));
}

#[test]
fn a_generated_python_client_calls_functions() {
    let Some(mut generator) = tool("openapi-python-client") else { return };
    let (server, folder) = (running(), tempfile::tempdir().unwrap());
    let document = save(&server, folder.path());
    let generated = generator.args(["generate", "--meta", "none", "--output-path"]);
    let text = run(generated.arg(folder.path().join("generated")).arg("--path").arg(document));
    // Only the function without declared types has no endpoint, because the generator cannot encode its arguments.
    let problems =
        text.lines().filter(|line| line.starts_with("WARNING") || line.contains("Unable"));
    let problems: Vec<_> = problems.collect();
    assert!(matches!(*problems, [only] if only.contains("/opaque/")), "{text}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/client.py");
    run(Command::new("python3").env("PYTHONPATH", folder.path()).arg(script).arg(&server.url));
}

#[test]
fn generated_types_for_typescript_have_the_functions_arguments_and_results() {
    let Some(mut generator) = tool("openapi-typescript") else { return };
    let folder = tempfile::tempdir().unwrap();
    let document = save(&running(), folder.path());
    run(generator.arg(document).arg("-o").arg(folder.path().join("generated.ts")));
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/typescript/client.ts");
    let copy = folder.path().join("client.ts");
    std::fs::copy(client, &copy).unwrap();
    let Some(mut compiler) = tool("tsc") else { return };
    run(compiler.args(["--strict", "--noEmit"]).arg(copy));
}

/// Sends requests that the document describes, and others, to the operations that `selection` selects. No answer may be a server
/// error, or one other than the document describes.
fn examine(server: &Running, selection: [&str; 2]) {
    let Some(mut schemathesis) = tool("schemathesis") else { return };
    let folder = tempfile::tempdir().unwrap();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    run(schemathesis
        .current_dir(folder.path())
        .env("PYTHONPATH", &python)
        .env("SCHEMATHESIS_HOOKS", "checks")
        .arg("--config-file")
        .arg(python.join("schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", server.url)])
        .args(selection)
        // Its response does not end.
        .args(["--exclude-path", "/v1/live"])
        .args(["--seed", "1", "--max-examples", "10", "--no-color", "--request-timeout", "20"])
        .args(["--phases", "examples,coverage,fuzzing", "--checks", "all"]));
}

#[test]
fn calls_are_answered_as_the_document_describes() {
    let server = running();
    // Functions that never return, or fail on purpose, would be found.
    for failing in ["spins", "panics"] {
        server.wpc.undefine_worker_function(failing);
    }
    examine(&server, ["--exclude-tag", "administration"]);
}

#[test]
fn the_administration_answers_as_the_document_describes() {
    let data = tempfile::tempdir().unwrap();
    let server = crate::deployed::serve(data.path());
    examine(&server, ["--include-tag", "administration"]);
}
