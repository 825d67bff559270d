//! Runs the commands of the guides in `docs/` for authors and operators, from an empty folder.

use crate::process::cache;
use crate::readme::free_address;
use crate::support::root;
use crate::transcript::Reader;
use std::path::Path;

/// Commands that install something or fetch the repository, and are not run.
const INSTALLS: [&str; 3] = ["cargo install ", "git clone ", "rustup "];

/// Follows the guide in a folder of its name below the returned one.
pub(crate) fn follow(guide: &str) -> &'static Path {
    follow_with(guide, &[])
}

/// As [`follow`], with other replacements in addition.
fn follow_with(guide: &str, replaced: &[(&'static str, String)]) -> &'static Path {
    follow_document(guide, &root(&format!("docs/{guide}.md")), replaced)
}

/// Follows a document in the folder of this name.
fn follow_document(
    guide: &str,
    document: &Path,
    replaced: &[(&'static str, String)],
) -> &'static Path {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let repository = std::fs::canonicalize(root("")).unwrap();
    Reader {
        folder: here.join(guide),
        path: Path::new(env!("CARGO_BIN_EXE_wpc")).parent().unwrap(),
        environment: vec![
            ("WPC_CACHE", cache()),
            // Kept between runs, so that third-party crates are compiled once.
            ("CARGO_TARGET_DIR", here.join("guides-target")),
        ],
        skipped: &INSTALLS,
        replaced: ["../../wpc/", "../wpc/"]
            .map(|path| (path, format!("{}/", repository.display())))
            .into_iter()
            .chain(replaced.iter().cloned())
            .collect(),
        lock: &repository.join("Cargo.lock"),
    }
    .follow(document);
    here
}

#[test]
fn the_commands_of_the_authors_guide_work() {
    follow("author");
}

#[test]
fn the_commands_of_the_operators_guide_work() {
    follow("operator");
}

#[test]
fn the_commands_of_the_walk_through_work() {
    follow_with("walkthrough", &[("127.0.0.1:7071", free_address())]);
}

/// The first examples of the server's manual, with a server that runs in the background.
#[test]
fn the_commands_about_calls_in_the_manual_of_the_server_work() {
    let manual = std::fs::read_to_string(root("docs/server.md")).unwrap();
    let (calls, _) = manual.split_once("## Idempotency\n").unwrap();
    let (start, rest) = calls.split_once("$ wpc serve\n").unwrap();
    let background = "$ wpc serve --listen 127.0.0.1:7071 2> log & server=$!\n$ until grep -s ready: log; do kill -0 $server || break; sleep 0.1; done\n";
    let end = "```console\n$ kill $server\n```\n";
    // Without the progress that curl writes if its output is not a terminal.
    let text = format!("{start}{background}{rest}{end}").replace("$ curl ", "$ curl --silent ");
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("server.md");
    std::fs::write(&document, text).unwrap();
    follow_document("server", &document, &[("127.0.0.1:7071", free_address())]);
}

#[test]
fn the_operators_guide_lists_existing_error_codes() {
    let text = std::fs::read_to_string(root("docs/operator.md")).unwrap();
    let table = text.split("| code | what happened | what to do |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    let codes: Vec<_> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(codes.len() > 10);
    for code in codes {
        let is_code = wpc_host::ErrorCode::ALL.iter().any(|known| known.as_str() == code);
        assert!(is_code, "`{code}` is not an error code");
    }
}
