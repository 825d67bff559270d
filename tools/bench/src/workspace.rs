//! Where the repository lies.

use anyhow::{Context as _, Result};
use std::path::Path;

/// Its folder.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("it lies in the workspace")
}
