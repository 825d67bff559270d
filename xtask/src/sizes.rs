//! Measures the size of small guests and the SDK's share of it.
//!
//! Each measured guest has a handwritten counterpart `…_bare` with the same behaviour. The difference is the SDK's
//! share. Both have the allocator and the panic machinery, which no optimisation level removes.

use crate::guests::build_guest;
use anyhow::{Context as _, Result};
use std::path::Path;

const SOURCES: &str = "fixtures/guests";
const TARGET: &str = "wasm32-unknown-unknown";

/// The guests with their names in the table.
const GUESTS: [(&str, &str); 3] = [
    ("size_nothing", "`fn nothing()`"),
    ("size_echo", "`fn echo(text: &str) -> String`"),
    ("size_order", "a struct to a struct, with `Schema`"),
];

/// The string function without the standard library.
const NO_STD: (&str, &str) = ("size_echo_no_std", "`echo` without the standard library");

const LEVELS: [&str; 3] = ["3", "s", "z"];

/// Builds the guests at each level and prints the table of the SDK's documentation.
pub(crate) fn print_table(root: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for (name, title) in GUESTS {
        let bare = format!("{name}_bare");
        let line = row(title, |level| {
            let (whole, bare) = (measure(root, name, level)?, measure(root, &bare, level)?);
            Ok(format!("{}, {}", kilobytes(whole), kilobytes(whole.saturating_sub(bare))))
        });
        lines.push(line?);
    }
    let (name, title) = NO_STD;
    lines.push(row(title, |level| Ok(kilobytes(measure(root, name, level)?)))?);
    println!("| KB: the whole file, the SDK's share | `3` | `\"s\"` | `\"z\"` |");
    println!("|---|---|---|---|");
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn row(title: &str, cell: impl Fn(&str) -> Result<String>) -> Result<String> {
    let cells = LEVELS.into_iter().map(cell).collect::<Result<Vec<_>>>()?;
    Ok(format!("| {title} | {} |", cells.join(" | ")))
}

fn measure(root: &Path, name: &str, level: &str) -> Result<u64> {
    let level = [("CARGO_PROFILE_RELEASE_OPT_LEVEL", level)];
    let built = build_guest(root, &root.join(SOURCES), name, TARGET, &level)?;
    let size = std::fs::metadata(&built)
        .with_context(|| format!("failed to build `{}`", built.display()))?
        .len();
    Ok(size)
}

fn kilobytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1000, bytes % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The maximum share of the SDK in a small guest, in bytes. It is at most 9 KB; with `format!` in the SDK's errors
    /// it was between 13 and 16 KB.
    const MOST: u64 = 10_000;

    #[test]
    fn the_sdks_share_of_a_small_guest_is_bounded() {
        let committed = crate::root().unwrap().join("fixtures/wasm");
        let size =
            |name: &str| std::fs::metadata(committed.join(format!("{name}.wasm"))).unwrap().len();
        for (name, _) in GUESTS {
            let share = size(name).saturating_sub(size(&format!("{name}_bare")));
            assert!(share > 0, "`{name}` is smaller than its counterpart");
            assert!(
                share < MOST,
                "the SDK's share of `{name}` is {share} bytes; run `cargo xtask sizes`"
            );
        }
    }
}
