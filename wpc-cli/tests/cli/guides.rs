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
    .follow(&repository.join("docs").join(format!("{guide}.md")));
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
