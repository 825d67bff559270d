//! The location of the repository.

use anyhow::{Context as _, Result};
use std::path::Path;

/// The root folder.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("the package is in the workspace")
}
